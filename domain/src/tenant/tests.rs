//! Given, when, then.

use cqrs_es::test::TestFramework;

use super::{
    Tenant, TenantCommand, TenantCreated, TenantEvent, TenantRefusal, TenantRenamed, TenantResumed, TenantSuspended,
};
use crate::given::{name, sealed};
use crate::{Decider, Refusal, RefusalKind};

fn tenant() -> TestFramework<Tenant> {
    TestFramework::with(())
}

fn created() -> TenantEvent {
    TenantCreated { name: name("Acme") }.into()
}

fn suspended() -> TenantEvent {
    TenantSuspended { reason: sealed("unpaid") }.into()
}

fn create() -> TenantCommand {
    TenantCommand::Create { name: name("Acme") }
}

fn rename(to: &str) -> TenantCommand {
    TenantCommand::Rename { name: name(to) }
}

fn suspend() -> TenantCommand {
    TenantCommand::Suspend { reason: sealed("unpaid") }
}

#[test]
fn a_tenant_is_created() {
    tenant().given_no_previous_events().when(create()).then_expect_events(vec![created()]);
}

#[test]
fn a_tenant_is_created_only_once() {
    tenant().given(vec![created()]).when(create()).then_expect_error(TenantRefusal::AlreadyExists);
    tenant().given(vec![created(), suspended()]).when(create()).then_expect_error(TenantRefusal::AlreadyExists);
}

#[test]
fn a_tenant_that_does_not_exist_takes_no_command() {
    for command in [rename("Acme"), suspend(), TenantCommand::Resume] {
        tenant().given_no_previous_events().when(command).then_expect_error(TenantRefusal::NotFound);
    }
}

#[test]
fn a_tenant_is_renamed_even_while_it_is_suspended() {
    let renamed = || vec![TenantRenamed { name: name("Ajax") }.into()];
    tenant().given(vec![created()]).when(rename("Ajax")).then_expect_events(renamed());
    tenant().given(vec![created(), suspended()]).when(rename("Ajax")).then_expect_events(renamed());
}

#[test]
fn giving_a_tenant_the_name_it_has_changes_nothing() {
    tenant().given(vec![created()]).when(rename("Acme")).then_expect_events(vec![]);
}

#[test]
fn an_active_tenant_is_suspended() {
    tenant().given(vec![created()]).when(suspend()).then_expect_events(vec![suspended()]);
}

#[test]
fn suspending_a_suspended_tenant_changes_nothing() {
    tenant().given(vec![created(), suspended()]).when(suspend()).then_expect_events(vec![]);
}

#[test]
fn a_suspended_tenant_resumes() {
    tenant()
        .given(vec![created(), suspended()])
        .when(TenantCommand::Resume)
        .then_expect_events(vec![TenantResumed {}.into()]);
}

#[test]
fn resuming_an_active_tenant_changes_nothing() {
    tenant().given(vec![created()]).when(TenantCommand::Resume).then_expect_events(vec![]);
}

#[test]
fn a_tenant_works_from_its_creation_until_it_is_suspended_and_again_after_it_resumes() {
    let mut state = Tenant::default();
    assert!(!state.is_active());
    for (event, active) in [(created(), true), (suspended(), false), (TenantResumed {}.into(), true)] {
        state.evolve(&event);
        assert_eq!(state.is_active(), active, "after {event:?}");
    }
}

#[test]
fn a_fact_that_makes_no_sense_changes_nothing() {
    assert_eq!(Tenant::fold(&[suspended(), TenantResumed {}.into()]), Tenant::Absent);
    let twice = [created(), suspended(), created()];
    assert_eq!(Tenant::fold(&twice), Tenant::fold(&twice[..2]));
}

#[test]
fn refusals_have_stable_codes() {
    let told = |refusal: TenantRefusal| (refusal.code(), refusal.kind());
    assert_eq!(told(TenantRefusal::NotFound), ("not_found", RefusalKind::NotFound));
    assert_eq!(told(TenantRefusal::AlreadyExists), ("tenant_already_exists", RefusalKind::Rule));
}
