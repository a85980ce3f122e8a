//! Why an attempt stops before its end.

use schemas::pod::FailureKind;
use thiserror::Error;

use crate::control_plane::CallError;

/// An attempt stops.
#[derive(Debug, Error)]
pub(crate) enum Stop {
    /// It failed, and that is its result.
    #[error("{reason}")]
    Failed {
        kind: FailureKind,
        /// For people.
        reason: String,
        /// The end of the output that shows it; without one, the log's end is shown.
        output: Option<String>,
    },
    /// It is over: nothing more is to be done, not even a report.
    #[error("the attempt is over: {0}")]
    Over(String),
}

impl Stop {
    pub(crate) fn failed(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self::Failed { kind, reason: reason.into(), output: None }
    }

    pub(crate) fn internal(reason: impl Into<String>) -> Self {
        Self::failed(FailureKind::Internal, reason)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::internal(format!("the pod's own files or processes failed: {error}"))
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Over(_) => Self::Over(error.to_string()),
            other => Self::internal(other.to_string()),
        }
    }
}
