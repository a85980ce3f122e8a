//! Why a subject says no.

use crate::{Refusal, RefusalKind};

/// One variant a broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectRefusal {
    /// Nothing personal is kept for that subject.
    #[error("there is no such subject")]
    NotFound,
}

impl Refusal for SubjectRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
        }
    }
}
