//! Given, when, then.

use cqrs_es::test::TestFramework;

use super::{
    Provider, ProviderCommand, ProviderConfigured, ProviderDisabled, ProviderEnabled, ProviderEvent,
    ProviderKeyRotated, ProviderKind, ProviderRefusal, ProviderRegistered, ProviderSettings,
};
use crate::given::{model, name, secret};
use crate::value::BaseUrl;
use crate::{Decider, Event, Refusal, RefusalKind};

fn provider() -> TestFramework<Provider> {
    TestFramework::with(())
}

fn settings() -> ProviderSettings {
    ProviderSettings {
        name: name("Our account"),
        kind: ProviderKind::Anthropic,
        base_url: None,
        default_model: model("claude-sonnet"),
    }
}

fn elsewhere() -> ProviderSettings {
    ProviderSettings { base_url: Some(BaseUrl::new("https://models.example/api").unwrap()), ..settings() }
}

fn registered() -> ProviderEvent {
    ProviderRegistered { settings: settings(), key: secret(1) }.into()
}

fn disabled() -> ProviderEvent {
    ProviderDisabled {}.into()
}

fn register(tenant_active: bool) -> ProviderCommand {
    ProviderCommand::Register { settings: settings(), key: secret(1), tenant_active }
}

fn configure(settings: ProviderSettings) -> ProviderCommand {
    ProviderCommand::Configure { settings }
}

fn rotate(n: u128) -> ProviderCommand {
    ProviderCommand::RotateKey { key: secret(n) }
}

#[test]
fn a_provider_is_registered_in_an_active_tenant() {
    provider().given_no_previous_events().when(register(true)).then_expect_events(vec![registered()]);
}

#[test]
fn a_provider_is_not_registered_in_a_tenant_that_may_not_work() {
    provider().given_no_previous_events().when(register(false)).then_expect_error(ProviderRefusal::TenantNotActive);
}

#[test]
fn a_provider_is_registered_only_once() {
    provider().given(vec![registered()]).when(register(true)).then_expect_error(ProviderRefusal::AlreadyExists);
}

#[test]
fn a_provider_that_does_not_exist_takes_no_command() {
    for command in [configure(settings()), rotate(2), ProviderCommand::Disable, ProviderCommand::Enable] {
        provider().given_no_previous_events().when(command).then_expect_error(ProviderRefusal::NotFound);
    }
}

#[test]
fn the_settings_of_a_provider_change() {
    provider()
        .given(vec![registered()])
        .when(configure(elsewhere()))
        .then_expect_events(vec![ProviderConfigured { settings: elsewhere() }.into()]);
}

#[test]
fn the_settings_that_a_provider_has_change_nothing() {
    provider().given(vec![registered()]).when(configure(settings())).then_expect_events(vec![]);
    let configured = ProviderConfigured { settings: elsewhere() }.into();
    provider().given(vec![registered(), configured]).when(configure(elsewhere())).then_expect_events(vec![]);
}

#[test]
fn a_provider_never_speaks_another_vendors_protocol() {
    provider()
        .given(vec![registered()])
        .when(configure(ProviderSettings { kind: ProviderKind::Openai, ..settings() }))
        .then_expect_error(ProviderRefusal::KindIsFixed);
}

#[test]
fn a_provider_gets_another_key() {
    provider()
        .given(vec![registered()])
        .when(rotate(2))
        .then_expect_events(vec![ProviderKeyRotated { key: secret(2) }.into()]);
}

#[test]
fn giving_a_provider_the_key_it_has_changes_nothing() {
    provider().given(vec![registered()]).when(rotate(1)).then_expect_events(vec![]);
    let rotated = ProviderKeyRotated { key: secret(2) }.into();
    provider().given(vec![registered(), rotated]).when(rotate(2)).then_expect_events(vec![]);
}

#[test]
fn a_provider_is_disabled_and_enabled_again() {
    provider().given(vec![registered()]).when(ProviderCommand::Disable).then_expect_events(vec![disabled()]);
    provider()
        .given(vec![registered(), disabled()])
        .when(ProviderCommand::Enable)
        .then_expect_events(vec![ProviderEnabled {}.into()]);
}

#[test]
fn disabling_a_disabled_provider_or_enabling_an_enabled_one_changes_nothing() {
    provider().given(vec![registered(), disabled()]).when(ProviderCommand::Disable).then_expect_events(vec![]);
    provider().given(vec![registered()]).when(ProviderCommand::Enable).then_expect_events(vec![]);
}

#[test]
fn an_event_holds_where_the_key_is_and_not_the_key() {
    let stored = registered().encode().unwrap();
    assert!(stored.contains(r#""key":"vault:00000000-0000-0000-0000-000000000001""#), "{stored}");
}

#[test]
fn a_fact_that_makes_no_sense_changes_nothing() {
    assert_eq!(Provider::fold(&[disabled()]), Provider::Absent);
    let twice = [registered(), disabled(), registered()];
    assert_eq!(Provider::fold(&twice), Provider::fold(&twice[..2]));
}

#[test]
fn refusals_have_stable_codes() {
    let told = |refusal: ProviderRefusal| (refusal.code(), refusal.kind());
    assert_eq!(told(ProviderRefusal::NotFound), ("not_found", RefusalKind::NotFound));
    assert_eq!(told(ProviderRefusal::AlreadyExists), ("provider_already_exists", RefusalKind::Rule));
    assert_eq!(told(ProviderRefusal::TenantNotActive), ("tenant_not_active", RefusalKind::Rule));
    assert_eq!(told(ProviderRefusal::KindIsFixed), ("provider_kind_is_fixed", RefusalKind::Rule));
}
