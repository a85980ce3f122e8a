//! What may be asked of a provider.

use super::ProviderSettings;
use crate::value::SecretRef;

/// The commands of a [`Provider`](super::Provider).
#[derive(Debug, Clone, PartialEq)]
pub enum ProviderCommand {
    /// Brings it into being.
    Register {
        /// How it is reached.
        settings: ProviderSettings,
        /// Where its key is.
        key: SecretRef,
        /// A looked-up fact: whether the tenant exists and is active.
        tenant_active: bool,
    },
    /// Changes its settings; the protocol stays.
    Configure {
        /// How it is reached from now on.
        settings: ProviderSettings,
    },
    /// Gives it another key.
    RotateKey {
        /// Where the new key is.
        key: SecretRef,
    },
    /// Keeps runs from using it.
    Disable,
    /// Lets runs use it again.
    Enable,
}
