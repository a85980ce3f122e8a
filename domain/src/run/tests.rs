//! Given, when, then.

use cqrs_es::test::TestFramework;

use super::{
    Ending, FailureKind, Run, RunAttemptLost, RunCancelled, RunCommand, RunDispatched, RunEvent, RunFailed,
    RunModelCalled, RunQueued, RunRefusal, RunStarted, RunStepRecorded, RunSucceeded, RunTimedOut, StepKind, Task,
    TaskOutcome, Timeout,
};
use crate::given::{branch, commit, id, model, outcome, reason, sealed, task, text};
use crate::project::ExecutionPolicy;
use crate::{Actor, Decider, Refusal, RefusalKind};

fn run() -> TestFramework<Run> {
    TestFramework::with(())
}

fn ada() -> Actor {
    Actor::Operator("ada".into())
}

// What has happened.

fn queued() -> RunEvent {
    RunQueued { task: task(), requested_by: ada() }.into()
}

fn dispatched(attempt: u32) -> RunEvent {
    RunDispatched { attempt, environment: id(attempt.into()) }.into()
}

fn started(attempt: u32) -> RunEvent {
    RunStarted { attempt }.into()
}

fn step_recorded(attempt: u32, number: u32) -> RunEvent {
    RunStepRecorded {
        attempt,
        number,
        kind: StepKind::Tool,
        title: reason("run_command: cargo test"),
        detail: text("ok"),
        ok: true,
        duration_ms: 1_200,
    }
    .into()
}

fn model_called(attempt: u32) -> RunEvent {
    RunModelCalled {
        attempt,
        provider: id(5),
        model: model("claude-sonnet"),
        input_tokens: 1_000,
        output_tokens: 100,
        cache_read_tokens: 10,
        cache_write_tokens: 1,
        status: 200,
        duration_ms: 800,
    }
    .into()
}

fn lost(attempt: u32) -> RunEvent {
    RunAttemptLost { attempt, reason: reason("no heartbeat") }.into()
}

fn succeeded(attempt: u32) -> RunEvent {
    RunSucceeded { attempt, outcome: outcome() }.into()
}

fn failed(attempt: u32, kind: FailureKind) -> RunEvent {
    RunFailed { attempt, kind, reason: reason("no heartbeat"), log_tail: text("…") }.into()
}

fn timed_out(attempt: u32, timeout: Timeout) -> RunEvent {
    RunTimedOut { attempt, timeout, after_seconds: 900 }.into()
}

fn cancelled() -> RunEvent {
    RunCancelled { reason: Some(sealed("wrong card")) }.into()
}

/// A run whose first attempt works.
fn under_way() -> Vec<RunEvent> {
    vec![queued(), dispatched(1), started(1)]
}

/// A run whose first attempt died, and whose second one works.
fn second_attempt() -> Vec<RunEvent> {
    vec![queued(), dispatched(1), started(1), step_recorded(1, 1), lost(1), dispatched(2), started(2)]
}

/// Every way in which a run ends, with the words of the refusal that follows.
fn endings() -> [(Vec<RunEvent>, RunRefusal); 4] {
    [
        ([under_way(), vec![succeeded(1)]].concat(), RunRefusal::Ended("succeeded")),
        ([under_way(), vec![failed(1, FailureKind::GaveUp)]].concat(), RunRefusal::Ended("failed")),
        ([under_way(), vec![timed_out(1, Timeout::Run)]].concat(), RunRefusal::Ended("timed out")),
        ([under_way(), vec![cancelled()]].concat(), RunRefusal::Ended("was cancelled")),
    ]
}

// What is asked.

fn queue() -> RunCommand {
    RunCommand::Queue { task: Box::new(task()), requested_by: ada() }
}

fn dispatch(attempt: u32) -> RunCommand {
    RunCommand::Dispatch { attempt, environment: id(attempt.into()) }
}

fn start(attempt: u32) -> RunCommand {
    RunCommand::Start { attempt }
}

fn record_step(attempt: u32, number: u32) -> RunCommand {
    RunCommand::RecordStep {
        attempt,
        number,
        kind: StepKind::Tool,
        title: reason("run_command: cargo test"),
        detail: text("ok"),
        ok: true,
        duration_ms: 1_200,
    }
}

fn record_model_call(attempt: u32) -> RunCommand {
    RunCommand::RecordModelCall {
        attempt,
        provider: id(5),
        model: model("claude-sonnet"),
        input_tokens: 1_000,
        output_tokens: 100,
        cache_read_tokens: 10,
        cache_write_tokens: 1,
        status: 200,
        duration_ms: 800,
    }
}

fn succeed(attempt: u32) -> RunCommand {
    RunCommand::Succeed { attempt, outcome: Box::new(outcome()) }
}

fn fail(attempt: u32, kind: FailureKind) -> RunCommand {
    RunCommand::Fail { attempt, kind, reason: reason("no heartbeat"), log_tail: text("…") }
}

fn lose(attempt: u32, kind: FailureKind) -> RunCommand {
    RunCommand::LoseAttempt { attempt, kind, reason: reason("no heartbeat"), log_tail: text("…") }
}

fn time_out(attempt: u32, timeout: Timeout) -> RunCommand {
    RunCommand::TimeOut { attempt, timeout, after_seconds: 900 }
}

fn cancel() -> RunCommand {
    RunCommand::Cancel { reason: Some(sealed("wrong card")) }
}

/// Every command that speaks for an attempt, but the one that only counts tokens.
fn of_attempt(attempt: u32) -> [RunCommand; 6] {
    [
        start(attempt),
        record_step(attempt, 1),
        succeed(attempt),
        fail(attempt, FailureKind::GaveUp),
        lose(attempt, FailureKind::PodLost),
        time_out(attempt, Timeout::Run),
    ]
}

fn not_current(given: u32, current: u32) -> RunRefusal {
    RunRefusal::NotTheCurrentAttempt { given, current }
}

mod queueing {
    use super::*;

    #[test]
    fn a_run_is_queued() {
        run().given_no_previous_events().when(queue()).then_expect_events(vec![queued()]);
    }

    #[test]
    fn a_run_is_queued_only_once() {
        for history in [vec![queued()], under_way(), [under_way(), vec![cancelled()]].concat()] {
            run().given(history).when(queue()).then_expect_error(RunRefusal::AlreadyExists);
        }
    }

    #[test]
    fn a_run_that_does_not_exist_takes_no_command() {
        for command in of_attempt(1).into_iter().chain([dispatch(1), record_model_call(1), cancel()]) {
            run().given_no_previous_events().when(command).then_expect_error(RunRefusal::NotFound);
        }
    }
}

mod dispatching {
    use super::*;

    #[test]
    fn the_first_attempt_is_dispatched_and_the_pod_takes_the_job() {
        run().given(vec![queued()]).when(dispatch(1)).then_expect_events(vec![dispatched(1)]);
        run().given(vec![queued(), dispatched(1)]).when(start(1)).then_expect_events(vec![started(1)]);
    }

    #[test]
    fn asking_for_the_job_again_changes_nothing() {
        run().given(under_way()).when(start(1)).then_expect_events(vec![]);
    }

    #[test]
    fn attempts_are_dispatched_in_order() {
        for attempt in [0, 2, u32::MAX] {
            run().given(vec![queued()]).when(dispatch(attempt)).then_expect_error(not_current(attempt, 1));
        }
        let after_a_loss = [under_way(), vec![lost(1)]].concat();
        run().given(after_a_loss.clone()).when(dispatch(1)).then_expect_error(not_current(1, 2));
        run().given(after_a_loss).when(dispatch(2)).then_expect_events(vec![dispatched(2)]);
    }

    #[test]
    fn a_run_has_one_attempt_at_a_time() {
        for attempt in [1, 2] {
            run().given(under_way()).when(dispatch(attempt)).then_expect_error(RunRefusal::AttemptUnderWay(1));
        }
    }

    #[test]
    fn a_run_that_has_ended_is_not_dispatched() {
        for (history, refusal) in endings() {
            run().given(history).when(dispatch(2)).then_expect_error(refusal);
        }
    }
}

mod working {
    use super::*;

    #[test]
    fn steps_are_recorded_in_order() {
        run().given(under_way()).when(record_step(1, 1)).then_expect_events(vec![step_recorded(1, 1)]);
        run()
            .given([under_way(), vec![step_recorded(1, 1)]].concat())
            .when(record_step(1, 2))
            .then_expect_events(vec![step_recorded(1, 2)]);
    }

    #[test]
    fn a_step_that_was_sent_twice_is_recorded_once() {
        let history = [under_way(), vec![step_recorded(1, 1), step_recorded(1, 2)]].concat();
        for number in [1, 2] {
            run().given(history.clone()).when(record_step(1, number)).then_expect_events(vec![]);
        }
    }

    #[test]
    fn a_step_is_never_skipped() {
        run()
            .given(under_way())
            .when(record_step(1, 2))
            .then_expect_error(RunRefusal::StepOutOfOrder { given: 2, last: 0 });
        run()
            .given([under_way(), vec![step_recorded(1, 1)]].concat())
            .when(record_step(1, u32::MAX))
            .then_expect_error(RunRefusal::StepOutOfOrder { given: u32::MAX, last: 1 });
    }

    #[test]
    fn each_attempt_counts_its_own_steps() {
        run().given(second_attempt()).when(record_step(2, 1)).then_expect_events(vec![step_recorded(2, 1)]);
    }

    #[test]
    fn an_attempt_does_not_work_before_its_pod_has_taken_the_job() {
        for command in [record_step(1, 1), succeed(1)] {
            run().given(vec![queued(), dispatched(1)]).when(command).then_expect_error(RunRefusal::NotStarted(1));
        }
    }

    #[test]
    fn model_calls_are_counted_even_after_the_end_since_the_tokens_were_spent() {
        let histories = endings().map(|(history, _)| history).into_iter().chain([vec![queued()], under_way()]);
        for history in histories {
            run().given(history).when(record_model_call(1)).then_expect_events(vec![model_called(1)]);
        }
        run().given(second_attempt()).when(record_model_call(1)).then_expect_events(vec![model_called(1)]);
    }
}

mod ending {
    use super::*;

    #[test]
    fn a_run_succeeds() {
        run().given(under_way()).when(succeed(1)).then_expect_events(vec![succeeded(1)]);
        run().given(second_attempt()).when(succeed(2)).then_expect_events(vec![succeeded(2)]);
    }

    #[test]
    fn reporting_the_same_success_again_changes_nothing() {
        let history = [under_way(), vec![succeeded(1)]].concat();
        run().given(history).when(succeed(1)).then_expect_events(vec![]);
    }

    #[test]
    fn a_success_with_another_commit_comes_too_late() {
        let other = TaskOutcome { head_commit: commit('d'), ..outcome() };
        run()
            .given([under_way(), vec![succeeded(1)]].concat())
            .when(RunCommand::Succeed { attempt: 1, outcome: Box::new(other) })
            .then_expect_error(RunRefusal::Ended("succeeded"));
    }

    #[test]
    fn a_run_succeeds_on_its_own_branch_only() {
        let other = TaskOutcome { branch: branch("main"), ..outcome() };
        run()
            .given(under_way())
            .when(RunCommand::Succeed { attempt: 1, outcome: Box::new(other) })
            .then_expect_error(RunRefusal::ForeignBranch(task().branch.to_string()));
    }

    #[test]
    fn a_run_fails_for_good_in_its_attempt() {
        let failure = failed(1, FailureKind::TestsFailed);
        for history in [vec![queued(), dispatched(1)], under_way()] {
            run().given(history).when(fail(1, FailureKind::TestsFailed)).then_expect_events(vec![failure.clone()]);
        }
    }

    #[test]
    fn a_run_fails_while_it_waits_in_the_queue() {
        run()
            .given(vec![queued()])
            .when(fail(0, FailureKind::Internal))
            .then_expect_events(vec![failed(0, FailureKind::Internal)]);
        run()
            .given([under_way(), vec![lost(1)]].concat())
            .when(fail(1, FailureKind::Internal))
            .then_expect_events(vec![failed(1, FailureKind::Internal)]);
    }

    #[test]
    fn after_an_attempt_died_the_run_waits_for_the_next_one() {
        for history in [vec![queued(), dispatched(1)], under_way()] {
            run().given(history).when(lose(1, FailureKind::PodLost)).then_expect_events(vec![lost(1)]);
        }
    }

    #[test]
    fn a_run_whose_last_attempt_died_fails_for_that_reason() {
        for kind in [FailureKind::PodLost, FailureKind::EnvironmentFailed] {
            run().given(second_attempt()).when(lose(2, kind)).then_expect_events(vec![failed(2, kind)]);
        }
        let policy = ExecutionPolicy { max_attempts: 1, ..ExecutionPolicy::default() };
        let once = RunQueued { task: Task { policy, ..task() }, requested_by: ada() }.into();
        run()
            .given(vec![once, dispatched(1)])
            .when(lose(1, FailureKind::EnvironmentFailed))
            .then_expect_events(vec![failed(1, FailureKind::EnvironmentFailed)]);
    }

    #[test]
    fn a_clock_runs_out_in_the_queue_at_the_start_or_at_work() {
        let cases = [
            (vec![queued()], 0, Timeout::Dispatch),
            ([under_way(), vec![lost(1)]].concat(), 1, Timeout::Dispatch),
            (vec![queued(), dispatched(1)], 1, Timeout::Start),
            (under_way(), 1, Timeout::Run),
        ];
        for (history, attempt, timeout) in cases {
            run().given(history).when(time_out(attempt, timeout)).then_expect_events(vec![timed_out(attempt, timeout)]);
        }
    }

    #[test]
    fn a_run_is_cancelled_until_it_ends() {
        for history in [vec![queued()], under_way(), second_attempt()] {
            run().given(history).when(cancel()).then_expect_events(vec![cancelled()]);
        }
    }

    #[test]
    fn cancelling_a_cancelled_run_changes_nothing() {
        run().given([under_way(), vec![cancelled()]].concat()).when(cancel()).then_expect_events(vec![]);
    }

    #[test]
    fn a_run_that_ended_otherwise_is_not_cancelled() {
        for (history, refusal) in endings() {
            if refusal != RunRefusal::Ended("was cancelled") {
                run().given(history).when(cancel()).then_expect_error(refusal);
            }
        }
    }

    #[test]
    fn a_run_ends_once() {
        for (history, refusal) in endings() {
            for command in of_attempt(1) {
                let repeated =
                    refusal == RunRefusal::Ended("succeeded") && matches!(command, RunCommand::Succeed { .. });
                if !repeated {
                    run().given(history.clone()).when(command).then_expect_error(refusal.clone());
                }
            }
        }
    }
}

mod late_comers {
    use super::*;

    #[test]
    fn an_attempt_that_was_given_up_can_do_no_harm() {
        for command in of_attempt(1) {
            run().given(second_attempt()).when(command).then_expect_error(not_current(1, 2));
        }
    }

    #[test]
    fn an_attempt_that_was_given_up_can_do_no_harm_while_the_next_one_waits() {
        let waiting = [under_way(), vec![lost(1)]].concat();
        for command in [start(1), record_step(1, 1), succeed(1), lose(1, FailureKind::PodLost)] {
            run().given(waiting.clone()).when(command).then_expect_error(not_current(1, 1));
        }
    }

    #[test]
    fn an_attempt_that_was_never_dispatched_can_do_nothing() {
        for command in of_attempt(7) {
            run().given(under_way()).when(command.clone()).then_expect_error(not_current(7, 1));
            run().given(vec![queued()]).when(command).then_expect_error(not_current(7, 0));
        }
    }
}

#[test]
fn a_run_knows_its_task_and_its_attempt() {
    let known = |history: &[RunEvent]| {
        let state = Run::fold(history);
        (state.task().cloned(), state.attempt_number(), state.is_current(1), state.is_current(2))
    };
    assert_eq!(known(&[]), (None, 0, false, false));
    assert_eq!(known(&[queued()]), (Some(task()), 0, false, false));
    assert_eq!(known(&under_way()), (Some(task()), 1, true, false));
    assert_eq!(known(&second_attempt()[..5]), (Some(task()), 1, false, false));
    assert_eq!(known(&second_attempt()), (Some(task()), 2, false, true));
    for (history, _) in endings() {
        assert_eq!(known(&history), (Some(task()), 1, false, false));
    }
}

#[test]
fn a_run_remembers_how_it_ended() {
    let wanted = [
        Ending::Succeeded(Box::new(outcome())),
        Ending::Failed(FailureKind::GaveUp),
        Ending::TimedOut,
        Ending::Cancelled,
    ];
    for ((history, _), wanted) in endings().into_iter().zip(wanted) {
        let Run::Ended { ending, .. } = Run::fold(&history) else { panic!("{history:?}") };
        assert_eq!(ending, wanted);
    }
}

#[test]
fn a_fact_that_makes_no_sense_changes_nothing() {
    let facts = [
        dispatched(1),
        started(1),
        step_recorded(1, 1),
        model_called(1),
        lost(1),
        succeeded(1),
        failed(1, FailureKind::GaveUp),
        timed_out(1, Timeout::Run),
        cancelled(),
    ];
    for fact in &facts {
        assert_eq!(Run::fold([fact]), Run::Absent, "{fact:?}");
    }
    for (history, _) in endings() {
        let end = Run::fold(&history);
        for fact in facts.iter().chain([&queued()]) {
            assert_eq!(Run::fold(history.iter().chain([fact])), end, "{fact:?}");
        }
    }
}

#[test]
fn refusals_have_stable_codes() {
    let cases = [
        (RunRefusal::NotFound, "not_found", RefusalKind::NotFound),
        (RunRefusal::AlreadyExists, "run_already_exists", RefusalKind::Rule),
        (RunRefusal::Ended("failed"), "run_already_ended", RefusalKind::Rule),
        (not_current(1, 2), "run_attempt_not_current", RefusalKind::Rule),
        (RunRefusal::AttemptUnderWay(1), "run_attempt_under_way", RefusalKind::Rule),
        (RunRefusal::NotStarted(1), "run_attempt_not_started", RefusalKind::Rule),
        (RunRefusal::StepOutOfOrder { given: 3, last: 1 }, "run_step_out_of_order", RefusalKind::Rule),
        (RunRefusal::ForeignBranch("aw/x/y".into()), "run_foreign_branch", RefusalKind::Rule),
    ];
    for (refusal, code, kind) in cases {
        assert_eq!((refusal.code(), refusal.kind()), (code, kind), "{refusal}");
    }
}
