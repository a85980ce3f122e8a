//! What may be asked of a tenant.

use crate::personal::PersonalText;
use crate::value::Name;

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
        reason: PersonalText,
    },
    /// Lets it work again.
    Resume,
}
