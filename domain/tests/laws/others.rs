//! Tenants, workspaces, providers and environments.

use domain::Id;
use domain::environment::{Driver, Environment, EnvironmentCommand, EnvironmentEvent, Purpose};
use domain::provider::{Provider, ProviderCommand, ProviderKind, ProviderSettings};
use domain::subject::{Subject, SubjectCommand};
use domain::tenant::{Tenant, TenantCommand};
use domain::value::BaseUrl;
use domain::workspace::{Workspace, WorkspaceCommand};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use crate::given::{id, likely, model, name, reason, sealed, secret, sequence};
use crate::law;

fn of_tenant() -> impl Strategy<Value = Vec<TenantCommand>> {
    let change = prop_oneof![
        name().prop_map(|name| TenantCommand::Rename { name }),
        sealed().prop_map(|reason| TenantCommand::Suspend { reason }),
        Just(TenantCommand::Resume),
    ];
    sequence(name().prop_map(|name| TenantCommand::Create { name }).boxed(), change)
}

fn of_workspace() -> impl Strategy<Value = Vec<WorkspaceCommand>> {
    let create =
        (name(), likely()).prop_map(|(name, tenant_active)| WorkspaceCommand::Create { name, tenant_active }).boxed();
    let change = prop_oneof![
        9 => name().prop_map(|name| WorkspaceCommand::Rename { name }),
        1 => Just(WorkspaceCommand::Archive),
    ];
    sequence(create, change)
}

fn of_provider() -> impl Strategy<Value = Vec<ProviderCommand>> {
    let settings = || {
        let kind = prop_oneof![9 => Just(ProviderKind::Anthropic), 1 => Just(ProviderKind::Openai)];
        let base_url = prop::option::of(Just(BaseUrl::new("https://models.example").unwrap()));
        (name(), kind, base_url, model()).prop_map(|(name, kind, base_url, default_model)| ProviderSettings {
            name,
            kind,
            base_url,
            default_model,
        })
    };
    let register = (settings(), secret(), likely())
        .prop_map(|(settings, key, tenant_active)| ProviderCommand::Register { settings, key, tenant_active })
        .boxed();
    let change = prop_oneof![
        settings().prop_map(|settings| ProviderCommand::Configure { settings }),
        secret().prop_map(|key| ProviderCommand::RotateKey { key }),
        Just(ProviderCommand::Disable),
        Just(ProviderCommand::Enable),
    ];
    sequence(register, change)
}

fn of_environment() -> impl Strategy<Value = Vec<EnvironmentCommand>> {
    let request = (id(), id(), 1_u32..4)
        .prop_map(|(project, run, attempt)| EnvironmentCommand::Request {
            purpose: Purpose { project, run, attempt },
            driver: Driver::Local,
        })
        .boxed();
    let confinement = prop::collection::vec(select(vec!["namespaces".to_owned(), "rlimits".to_owned()]), 0..3);
    let change = prop_oneof![
        4 => Just(EnvironmentCommand::Provision),
        4 => confinement.prop_map(|confinement| EnvironmentCommand::MarkReady { confinement }),
        2 => reason().prop_map(|reason| EnvironmentCommand::Stop { reason }),
        1 => Just(EnvironmentCommand::MarkStopped),
        1 => reason().prop_map(|reason| EnvironmentCommand::Fail { reason }),
    ];
    sequence(request, change)
}

fn of_subject() -> impl Strategy<Value = Vec<SubjectCommand>> {
    let erase = (Just(Id::from_uuid(Uuid::from_u128(1))), any::<bool>());
    prop::collection::vec(erase.prop_map(|(subject, known)| SubjectCommand::Erase { subject, known }), 0..5)
}

#[test]
fn everything_happens_to_tenants_workspaces_providers_environments_and_subjects() {
    law::everything_happens::<Tenant>(of_tenant());
    law::everything_happens::<Workspace>(of_workspace());
    law::everything_happens::<Provider>(of_provider());
    law::everything_happens::<Environment>(of_environment());
    law::everything_happens::<Subject>(of_subject());
}

proptest! {
    #![proptest_config(law::config())]

    #[test]
    fn tenants_keep_the_laws(commands in of_tenant()) {
        law::obey::<Tenant>(commands, |_| false)?;
    }

    #[test]
    fn workspaces_keep_the_laws(commands in of_workspace()) {
        law::obey::<Workspace>(commands, |_| false)?;
    }

    #[test]
    fn providers_keep_the_laws(commands in of_provider()) {
        law::obey::<Provider>(commands, |_| false)?;
    }

    #[test]
    fn environments_keep_the_laws(commands in of_environment()) {
        law::obey::<Environment>(commands, |_| false)?;
    }

    #[test]
    fn subjects_keep_the_laws(commands in of_subject()) {
        law::obey::<Subject>(commands, |_| false)?;
    }

    #[test]
    fn an_environment_that_is_gone_never_comes_back(commands in of_environment()) {
        let history = law::history::<Environment>(commands);
        let gone = history
            .iter()
            .position(|event| matches!(event, EnvironmentEvent::Stopped(_) | EnvironmentEvent::Failed(_)));
        if let Some(gone) = gone {
            prop_assert_eq!(gone, history.len() - 1, "nothing happens to an environment that is gone");
        }
    }
}
