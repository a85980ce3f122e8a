//! Why an environment says no.

use crate::{Refusal, RefusalKind};

/// One variant a broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentRefusal {
    /// There is no such environment.
    #[error("there is no such environment")]
    NotFound,
    /// The environment exists already.
    #[error("the environment exists already")]
    AlreadyExists,
    /// The environment is gone.
    #[error("the environment is gone")]
    Gone,
    /// The environment is being taken down.
    #[error("the environment is being taken down")]
    Stopping,
}

impl Refusal for EnvironmentRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "environment_already_exists",
            Self::Gone => "environment_gone",
            Self::Stopping => "environment_stopping",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            _ => RefusalKind::Rule,
        }
    }
}
