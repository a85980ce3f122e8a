//! Why a tenant says no.

use crate::{Refusal, RefusalKind};

/// One variant a broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantRefusal {
    /// There is no such tenant.
    #[error("there is no such tenant")]
    NotFound,
    /// The tenant exists already.
    #[error("the tenant exists already")]
    AlreadyExists,
}

impl Refusal for TenantRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "tenant_already_exists",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyExists => RefusalKind::Rule,
        }
    }
}
