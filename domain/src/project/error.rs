//! Why a project says no.

use crate::value::LaneKey;
use crate::{Refusal, RefusalKind};

/// One variant a broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectRefusal {
    /// There is no such project.
    #[error("there is no such project")]
    NotFound,
    /// The project exists already.
    #[error("the project exists already")]
    AlreadyExists,
    /// The tenant is suspended or does not exist.
    #[error("the tenant is not active")]
    TenantNotActive,
    /// The workspace does not exist or is archived.
    #[error("there is no such workspace, or it is archived")]
    WorkspaceNotOpen,
    /// The provider does not exist or is disabled.
    #[error("there is no such provider, or it is disabled")]
    ProviderNotUsable,
    /// The project is archived.
    #[error("the project is archived")]
    Archived,
    /// A lane that holds cards would vanish.
    #[error("lane `{0}` still holds cards; move them before removing it")]
    LaneOccupied(LaneKey),
}

impl Refusal for ProjectRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "project_already_exists",
            Self::TenantNotActive => "tenant_not_active",
            Self::WorkspaceNotOpen => "workspace_not_found",
            Self::ProviderNotUsable => "provider_not_usable",
            Self::Archived => "project_archived",
            Self::LaneOccupied(_) => "lane_occupied",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::WorkspaceNotOpen | Self::ProviderNotUsable => RefusalKind::Invalid,
            _ => RefusalKind::Rule,
        }
    }
}
