//! Why a provider says no.

use crate::{Refusal, RefusalKind};

/// One variant a broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderRefusal {
    /// There is no such provider.
    #[error("there is no such provider")]
    NotFound,
    /// The provider exists already.
    #[error("the provider exists already")]
    AlreadyExists,
    /// The tenant is suspended or does not exist.
    #[error("the tenant is not active")]
    TenantNotActive,
    /// The vendor's protocol cannot change.
    #[error("the kind of a provider cannot change; register another provider")]
    KindIsFixed,
}

impl Refusal for ProviderRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "provider_already_exists",
            Self::TenantNotActive => "tenant_not_active",
            Self::KindIsFixed => "provider_kind_is_fixed",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            _ => RefusalKind::Rule,
        }
    }
}
