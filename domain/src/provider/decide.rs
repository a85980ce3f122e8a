//! A provider's rules.

use super::{
    Provider, ProviderCommand, ProviderConfigured, ProviderDisabled, ProviderEnabled, ProviderEvent,
    ProviderKeyRotated, ProviderRefusal, ProviderRegistered,
};

pub(super) fn decide(provider: &Provider, command: ProviderCommand) -> Result<Vec<ProviderEvent>, ProviderRefusal> {
    match (provider, command) {
        (Provider::Absent, ProviderCommand::Register { settings, key, tenant_active }) => {
            if tenant_active {
                Ok(vec![ProviderRegistered { settings, key }.into()])
            } else {
                Err(ProviderRefusal::TenantNotActive)
            }
        }
        (Provider::Registered { .. }, ProviderCommand::Register { .. }) => Err(ProviderRefusal::AlreadyExists),
        (Provider::Absent, _) => Err(ProviderRefusal::NotFound),
        (Provider::Registered { settings: present, .. }, ProviderCommand::Configure { settings }) => {
            if settings.kind != present.kind {
                Err(ProviderRefusal::KindIsFixed)
            } else if settings == *present {
                Ok(vec![])
            } else {
                Ok(vec![ProviderConfigured { settings }.into()])
            }
        }
        (Provider::Registered { key: present, .. }, ProviderCommand::RotateKey { key }) => {
            Ok(if key == *present { vec![] } else { vec![ProviderKeyRotated { key }.into()] })
        }
        (Provider::Registered { enabled, .. }, ProviderCommand::Disable) => {
            Ok(if *enabled { vec![ProviderDisabled {}.into()] } else { vec![] })
        }
        (Provider::Registered { enabled, .. }, ProviderCommand::Enable) => {
            Ok(if *enabled { vec![] } else { vec![ProviderEnabled {}.into()] })
        }
    }
}
