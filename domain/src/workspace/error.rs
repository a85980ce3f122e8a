//! Why a workspace says no.

use crate::{Refusal, RefusalKind};

/// One variant a broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkspaceRefusal {
    /// There is no such workspace.
    #[error("there is no such workspace")]
    NotFound,
    /// The workspace exists already.
    #[error("the workspace exists already")]
    AlreadyExists,
    /// The tenant is suspended or does not exist.
    #[error("the tenant is not active")]
    TenantNotActive,
    /// The workspace is archived.
    #[error("the workspace is archived")]
    Archived,
}

impl Refusal for WorkspaceRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "workspace_already_exists",
            Self::TenantNotActive => "tenant_not_active",
            Self::Archived => "workspace_archived",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            _ => RefusalKind::Rule,
        }
    }
}
