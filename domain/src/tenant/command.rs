//! What may be asked of a tenant.

use crate::value::{Name, Reason};

/// The commands of a [`Tenant`](super::Tenant).
#[derive(Debug, Clone, PartialEq)]
pub enum TenantCommand {
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
        reason: Reason,
    },
    /// Lets it work again.
    Resume,
}
