//! Why a run says no.

use crate::{Refusal, RefusalKind};

/// One variant a broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunRefusal {
    /// There is no such run.
    #[error("there is no such run")]
    NotFound,
    /// The run exists already.
    #[error("the run exists already")]
    AlreadyExists,
    /// It has ended.
    #[error("the run has already ended: it {0}")]
    Ended(&'static str),
    /// The attempt is not the current one.
    #[error("attempt {given} is over, or it is not its turn yet: the run is at attempt {current}")]
    NotTheCurrentAttempt {
        /// What the caller believed.
        given: u32,
        /// What is so.
        current: u32,
    },
    /// An attempt is under way.
    #[error("attempt {0} is under way")]
    AttemptUnderWay(u32),
    /// The pod has not taken the job yet.
    #[error("attempt {0} has not started yet")]
    NotStarted(u32),
    /// A step is missing before this one.
    #[error("step {given} does not follow step {last}")]
    StepOutOfOrder {
        /// What was sent.
        given: u32,
        /// The last one recorded.
        last: u32,
    },
    /// The branch is not the run's.
    #[error("the run's branch is `{0}`")]
    ForeignBranch(String),
}

impl Refusal for RunRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "run_already_exists",
            Self::Ended(_) => "run_already_ended",
            Self::NotTheCurrentAttempt { .. } => "run_attempt_not_current",
            Self::AttemptUnderWay(_) => "run_attempt_under_way",
            Self::NotStarted(_) => "run_attempt_not_started",
            Self::StepOutOfOrder { .. } => "run_step_out_of_order",
            Self::ForeignBranch(_) => "run_foreign_branch",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            _ => RefusalKind::Rule,
        }
    }
}
