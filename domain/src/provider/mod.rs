//! A provider: a tenant's account with a model vendor. Its key is in the vault; events hold only a reference.

mod command;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::ProviderCommand;
pub use error::ProviderRefusal;
pub use event::{
    ProviderConfigured, ProviderDisabled, ProviderEnabled, ProviderEvent, ProviderKeyRotated, ProviderRegistered,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::Decider;
use crate::value::{BaseUrl, ModelName, Name, SecretRef};

/// A vendor's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Anthropic Messages.
    Anthropic,
    /// `OpenAI` Chat Completions.
    Openai,
}

impl ProviderKind {
    /// Its name as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
        }
    }
}

/// How a provider is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderSettings {
    /// What people call it.
    pub name: Name,
    /// The vendor's protocol.
    pub kind: ProviderKind,
    /// Where the vendor's API is; the vendor's public address when absent.
    pub base_url: Option<BaseUrl>,
    /// The model to use where a project names none.
    pub default_model: ModelName,
}

/// The state of a provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Provider {
    /// It does not exist.
    #[default]
    Absent,
    /// It exists.
    Registered {
        /// How it is reached.
        settings: ProviderSettings,
        /// Where its key is.
        key: SecretRef,
        /// Whether runs may use it.
        enabled: bool,
    },
}

impl Decider for Provider {
    const TYPE: &'static str = "provider";
    const STATE: i32 = 1;
    type Command = ProviderCommand;
    type Event = ProviderEvent;
    type Refusal = ProviderRefusal;

    fn decide(&self, command: ProviderCommand) -> Result<Vec<ProviderEvent>, ProviderRefusal> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: &ProviderEvent) {
        if let (Self::Absent, ProviderEvent::Registered(registered)) = (&*self, event) {
            *self =
                Self::Registered { settings: registered.settings.clone(), key: registered.key.clone(), enabled: true };
        }
        let Self::Registered { settings, key, enabled } = self else { return };
        match event {
            ProviderEvent::Registered(_) => {}
            ProviderEvent::Configured(configured) => *settings = configured.settings.clone(),
            ProviderEvent::KeyRotated(rotated) => *key = rotated.key.clone(),
            ProviderEvent::Disabled(_) => *enabled = false,
            ProviderEvent::Enabled(_) => *enabled = true,
        }
    }
}

crate::cqrs_aggregate!(Provider);
