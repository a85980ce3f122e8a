//! Given, when, then.

use cqrs_es::test::TestFramework;

use super::{
    Workspace, WorkspaceArchived, WorkspaceCommand, WorkspaceCreated, WorkspaceEvent, WorkspaceRefusal,
    WorkspaceRenamed,
};
use crate::given::name;
use crate::{Decider, Refusal, RefusalKind};

fn workspace() -> TestFramework<Workspace> {
    TestFramework::with(())
}

fn created() -> WorkspaceEvent {
    WorkspaceCreated { name: name("Web team") }.into()
}

fn archived() -> WorkspaceEvent {
    WorkspaceArchived {}.into()
}

fn create(tenant_active: bool) -> WorkspaceCommand {
    WorkspaceCommand::Create { name: name("Web team"), tenant_active }
}

fn rename(to: &str) -> WorkspaceCommand {
    WorkspaceCommand::Rename { name: name(to) }
}

#[test]
fn a_workspace_is_created_in_an_active_tenant() {
    workspace().given_no_previous_events().when(create(true)).then_expect_events(vec![created()]);
}

#[test]
fn a_workspace_is_not_created_in_a_tenant_that_may_not_work() {
    workspace().given_no_previous_events().when(create(false)).then_expect_error(WorkspaceRefusal::TenantNotActive);
}

#[test]
fn a_workspace_is_created_only_once() {
    workspace().given(vec![created()]).when(create(true)).then_expect_error(WorkspaceRefusal::AlreadyExists);
    workspace()
        .given(vec![created(), archived()])
        .when(create(true))
        .then_expect_error(WorkspaceRefusal::AlreadyExists);
}

#[test]
fn a_workspace_that_does_not_exist_takes_no_command() {
    for command in [rename("Web team"), WorkspaceCommand::Archive] {
        workspace().given_no_previous_events().when(command).then_expect_error(WorkspaceRefusal::NotFound);
    }
}

#[test]
fn a_workspace_is_renamed() {
    workspace()
        .given(vec![created()])
        .when(rename("Mobile team"))
        .then_expect_events(vec![WorkspaceRenamed { name: name("Mobile team") }.into()]);
}

#[test]
fn giving_a_workspace_the_name_it_has_changes_nothing() {
    workspace().given(vec![created()]).when(rename("Web team")).then_expect_events(vec![]);
    let renamed = WorkspaceRenamed { name: name("Mobile team") }.into();
    workspace().given(vec![created(), renamed]).when(rename("Mobile team")).then_expect_events(vec![]);
}

#[test]
fn an_archived_workspace_keeps_its_name() {
    workspace()
        .given(vec![created(), archived()])
        .when(rename("Mobile team"))
        .then_expect_error(WorkspaceRefusal::Archived);
}

#[test]
fn a_workspace_is_archived() {
    workspace().given(vec![created()]).when(WorkspaceCommand::Archive).then_expect_events(vec![archived()]);
}

#[test]
fn archiving_an_archived_workspace_changes_nothing() {
    workspace().given(vec![created(), archived()]).when(WorkspaceCommand::Archive).then_expect_events(vec![]);
}

#[test]
fn a_fact_that_makes_no_sense_changes_nothing() {
    assert_eq!(Workspace::fold(&[archived()]), Workspace::Absent);
    let twice = [created(), archived(), created()];
    assert_eq!(Workspace::fold(&twice), Workspace::fold(&twice[..2]));
}

#[test]
fn refusals_have_stable_codes() {
    let told = |refusal: WorkspaceRefusal| (refusal.code(), refusal.kind());
    assert_eq!(told(WorkspaceRefusal::NotFound), ("not_found", RefusalKind::NotFound));
    assert_eq!(told(WorkspaceRefusal::AlreadyExists), ("workspace_already_exists", RefusalKind::Rule));
    assert_eq!(told(WorkspaceRefusal::TenantNotActive), ("tenant_not_active", RefusalKind::Rule));
    assert_eq!(told(WorkspaceRefusal::Archived), ("workspace_archived", RefusalKind::Rule));
}
