//! What may have happened to a provider.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProviderSettings;
use crate::value::SecretRef;

crate::events! {
    /// The events of a [`Provider`](super::Provider).
    pub enum ProviderEvent {
        /// It was registered.
        Registered(ProviderRegistered) = 1,
        /// Its settings changed.
        Configured(ProviderConfigured) = 1,
        /// It has another key.
        KeyRotated(ProviderKeyRotated) = 1,
        /// Runs may not use it any more.
        Disabled(ProviderDisabled) = 1,
        /// Runs may use it again.
        Enabled(ProviderEnabled) = 1,
    }
}

/// A tenant's account with a model vendor was registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderRegistered {
    /// How it is reached.
    #[serde(flatten)]
    pub settings: ProviderSettings,
    /// Where its key is.
    pub key: SecretRef,
}

/// The provider's settings changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderConfigured {
    /// How it is reached from now on.
    #[serde(flatten)]
    pub settings: ProviderSettings,
}

/// The provider has another key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderKeyRotated {
    /// Where the new key is.
    pub key: SecretRef,
}

/// Runs may not use the provider any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderDisabled {}

/// Runs may use the provider again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderEnabled {}
