//! Orders to a tenant: always the one that the caller acts in or, for an operator, on.

use domain::tenant::{Tenant, TenantCommand};
use domain::value::Name;
use domain::{PersonalText, Saying, TenantId};
use uuid::Uuid;

use super::Ask;
use crate::DispatchError;
use crate::facts::Facts;

/// What may be asked of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantOrder {
    /// Brings it into being.
    Create {
        /// What people call it.
        name: Name,
    },
    /// Gives it another name.
    Rename {
        /// The new name.
        name: Name,
    },
    /// Keeps it from working.
    Suspend {
        /// Why.
        reason: PersonalText,
    },
    /// Lets it work again.
    Resume,
}

impl Ask for TenantOrder {
    type Aggregate = Tenant;

    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "tenant.create",
            Self::Rename { .. } => "tenant.rename",
            Self::Suspend { .. } => "tenant.suspend",
            Self::Resume => "tenant.resume",
        }
    }

    fn stream(&self, tenant: TenantId) -> Option<Uuid> {
        Some(tenant.uuid())
    }

    async fn prepare(&self, state: &Tenant, facts: &Facts<'_>) -> Result<TenantCommand, DispatchError> {
        Ok(match self.clone() {
            Self::Create { name } => TenantCommand::Create { name },
            Self::Rename { name } => TenantCommand::Rename { name },
            // Nothing is kept for anybody in a tenant that does not exist.
            Self::Suspend { .. } if *state == Tenant::Absent => return Err(DispatchError::NotFound),
            Self::Suspend { reason } => {
                TenantCommand::Suspend { reason: facts.seal(Saying::Reason, reason, None).await? }
            }
            Self::Resume => TenantCommand::Resume,
        })
    }
}
