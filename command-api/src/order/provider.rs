//! Orders to a provider. Its key travels beside the order, as the request's deposit; the order holds only where it will be.

use domain::provider::{Provider, ProviderCommand, ProviderSettings};
use domain::value::{BaseUrl, ModelName, Name, SecretRef};
use domain::{ProviderId, TenantId};
use uuid::Uuid;

use super::Ask;
use crate::DispatchError;
use crate::facts::Facts;

/// What may be asked of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderOrder {
    /// Brings a new one into being.
    Register {
        /// How it is reached.
        settings: ProviderSettings,
        /// Where its key is.
        key: SecretRef,
    },
    /// Changes one.
    Change {
        /// Which.
        provider: ProviderId,
        /// How.
        change: ProviderChange,
    },
}

/// How a provider may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderChange {
    /// Changes some of its settings.
    Configure {
        /// The new name, if any.
        name: Option<Name>,
        /// The new address, if any; `Some(None)` is the vendor's public address.
        base_url: Option<Option<BaseUrl>>,
        /// The new default model, if any.
        default_model: Option<ModelName>,
    },
    /// Gives it another key.
    RotateKey {
        /// Where the new key is.
        key: SecretRef,
    },
    /// Lets runs use it again.
    Enable,
    /// Keeps runs from using it.
    Disable,
}

impl Ask for ProviderOrder {
    type Aggregate = Provider;

    fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "provider.register",
            Self::Change { change, .. } => match change {
                ProviderChange::Configure { .. } => "provider.configure",
                ProviderChange::RotateKey { .. } => "provider.rotate_key",
                ProviderChange::Enable => "provider.enable",
                ProviderChange::Disable => "provider.disable",
            },
        }
    }

    fn stream(&self, _: TenantId) -> Option<Uuid> {
        match self {
            Self::Register { .. } => None,
            Self::Change { provider, .. } => Some(provider.uuid()),
        }
    }

    async fn prepare(&self, state: &Provider, facts: &Facts<'_>) -> Result<ProviderCommand, DispatchError> {
        let change = match self.clone() {
            Self::Register { settings, key } => {
                return Ok(ProviderCommand::Register { settings, key, tenant_active: facts.tenant_active().await? });
            }
            Self::Change { change, .. } => change,
        };
        Ok(match change {
            ProviderChange::Configure { name, base_url, default_model } => {
                let Provider::Registered { settings, .. } = state.clone() else { return Err(DispatchError::NotFound) };
                ProviderCommand::Configure {
                    settings: ProviderSettings {
                        name: name.unwrap_or(settings.name),
                        kind: settings.kind,
                        base_url: base_url.unwrap_or(settings.base_url),
                        default_model: default_model.unwrap_or(settings.default_model),
                    },
                }
            }
            ProviderChange::RotateKey { key } => ProviderCommand::RotateKey { key },
            ProviderChange::Enable => ProviderCommand::Enable,
            ProviderChange::Disable => ProviderCommand::Disable,
        })
    }
}
