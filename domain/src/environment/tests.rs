//! Given, when, then.

use cqrs_es::test::TestFramework;

use super::{
    Driver, Environment, EnvironmentCommand, EnvironmentEvent, EnvironmentFailed, EnvironmentProvisioning,
    EnvironmentReady, EnvironmentRefusal, EnvironmentRequested, EnvironmentStopped, EnvironmentStopping, Purpose,
};
use crate::given::{id, reason};
use crate::{Decider, Refusal, RefusalKind};

fn environment() -> TestFramework<Environment> {
    TestFramework::with(())
}

fn purpose() -> Purpose {
    Purpose { project: id(1), run: id(2), attempt: 1 }
}

fn requested() -> EnvironmentEvent {
    EnvironmentRequested { purpose: purpose(), driver: Driver::Local }.into()
}

fn provisioning() -> EnvironmentEvent {
    EnvironmentProvisioning {}.into()
}

fn ready() -> EnvironmentEvent {
    EnvironmentReady { confinement: vec!["namespaces".into()] }.into()
}

fn stopping() -> EnvironmentEvent {
    EnvironmentStopping { reason: reason("the run has ended") }.into()
}

fn stopped() -> EnvironmentEvent {
    EnvironmentStopped {}.into()
}

fn failed() -> EnvironmentEvent {
    EnvironmentFailed { reason: reason("no user namespaces") }.into()
}

fn request() -> EnvironmentCommand {
    EnvironmentCommand::Request { purpose: purpose(), driver: Driver::Local }
}

fn mark_ready() -> EnvironmentCommand {
    EnvironmentCommand::MarkReady { confinement: vec!["namespaces".into()] }
}

fn stop() -> EnvironmentCommand {
    EnvironmentCommand::Stop { reason: reason("the run has ended") }
}

fn fail() -> EnvironmentCommand {
    EnvironmentCommand::Fail { reason: reason("no user namespaces") }
}

/// Histories of environments that are alive, one for each phase.
fn alive() -> [Vec<EnvironmentEvent>; 4] {
    [
        vec![requested()],
        vec![requested(), provisioning()],
        vec![requested(), provisioning(), ready()],
        vec![requested(), provisioning(), ready(), stopping()],
    ]
}

/// Histories of environments that are gone.
fn gone() -> [Vec<EnvironmentEvent>; 2] {
    [vec![requested(), provisioning(), ready(), stopping(), stopped()], vec![requested(), provisioning(), failed()]]
}

#[test]
fn an_environment_is_requested() {
    environment().given_no_previous_events().when(request()).then_expect_events(vec![requested()]);
}

#[test]
fn an_environment_is_requested_only_once() {
    for history in alive().into_iter().chain(gone()) {
        environment().given(history).when(request()).then_expect_error(EnvironmentRefusal::AlreadyExists);
    }
}

#[test]
fn an_environment_that_does_not_exist_takes_no_command() {
    for command in [EnvironmentCommand::Provision, mark_ready(), stop(), EnvironmentCommand::MarkStopped, fail()] {
        environment().given_no_previous_events().when(command).then_expect_error(EnvironmentRefusal::NotFound);
    }
}

#[test]
fn an_environment_is_made_and_becomes_usable() {
    environment().given(vec![requested()]).when(EnvironmentCommand::Provision).then_expect_events(vec![provisioning()]);
    environment().given(vec![requested(), provisioning()]).when(mark_ready()).then_expect_events(vec![ready()]);
}

#[test]
fn a_driver_that_is_quick_may_call_an_environment_ready_at_once() {
    environment().given(vec![requested()]).when(mark_ready()).then_expect_events(vec![ready()]);
}

#[test]
fn an_environment_never_goes_back_a_phase() {
    let [_, provisioned, usable, _] = alive();
    for history in [provisioned, usable.clone()] {
        environment().given(history).when(EnvironmentCommand::Provision).then_expect_events(vec![]);
    }
    environment().given(usable).when(mark_ready()).then_expect_events(vec![]);
}

#[test]
fn an_environment_can_be_stopped_in_every_phase() {
    let [requested, provisioned, usable, _] = alive();
    for history in [requested, provisioned, usable] {
        environment().given(history).when(stop()).then_expect_events(vec![stopping()]);
    }
}

#[test]
fn stopping_an_environment_that_is_being_taken_down_changes_nothing() {
    let [.., stopping] = alive();
    environment().given(stopping).when(stop()).then_expect_events(vec![]);
}

#[test]
fn an_environment_that_is_being_taken_down_is_never_made_usable() {
    let [.., stopping] = alive();
    for command in [EnvironmentCommand::Provision, mark_ready()] {
        environment().given(stopping.clone()).when(command).then_expect_error(EnvironmentRefusal::Stopping);
    }
}

#[test]
fn an_environment_may_vanish_or_fail_in_every_phase() {
    for history in alive() {
        environment().given(history.clone()).when(EnvironmentCommand::MarkStopped).then_expect_events(vec![stopped()]);
        environment().given(history).when(fail()).then_expect_events(vec![failed()]);
    }
}

#[test]
fn taking_down_an_environment_that_is_gone_changes_nothing() {
    for history in gone() {
        for command in [stop(), EnvironmentCommand::MarkStopped, fail()] {
            environment().given(history.clone()).when(command).then_expect_events(vec![]);
        }
    }
}

#[test]
fn an_environment_that_is_gone_never_comes_back() {
    for history in gone() {
        for command in [EnvironmentCommand::Provision, mark_ready()] {
            environment().given(history.clone()).when(command).then_expect_error(EnvironmentRefusal::Gone);
        }
    }
}

#[test]
fn a_fact_that_makes_no_sense_changes_nothing() {
    for event in [provisioning(), ready(), stopping(), stopped(), failed()] {
        assert_eq!(Environment::fold([&event]), Environment::Absent, "{event:?}");
    }
    for history in gone() {
        let end = Environment::fold(&history);
        for event in [requested(), provisioning(), ready(), stopping(), stopped(), failed()] {
            assert_eq!(Environment::fold(history.iter().chain([&event])), end, "{event:?}");
        }
    }
}

#[test]
fn refusals_have_stable_codes() {
    let told = |refusal: EnvironmentRefusal| (refusal.code(), refusal.kind());
    assert_eq!(told(EnvironmentRefusal::NotFound), ("not_found", RefusalKind::NotFound));
    assert_eq!(told(EnvironmentRefusal::AlreadyExists), ("environment_already_exists", RefusalKind::Rule));
    assert_eq!(told(EnvironmentRefusal::Gone), ("environment_gone", RefusalKind::Rule));
    assert_eq!(told(EnvironmentRefusal::Stopping), ("environment_stopping", RefusalKind::Rule));
}
