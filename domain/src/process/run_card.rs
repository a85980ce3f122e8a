//! Carries a card's wish to be run to the run, and the run's end back to the card.
//!
//! `CardRunRequested` → queue the run → `RunQueued` → a job for the dispatchers → … → the run's last event → the card's
//! `FinishRun`. A reaction's command id derives from the event and the reaction's step, so a repeated event changes nothing.

use crate::Actor;
use crate::card::{CardEvent, RunResult};
use crate::id::{CardId, ProjectId, RunId};
use crate::run::{RunCommand, RunEvent, Task};

/// What is to happen because of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Reaction {
    /// Send this command to the run.
    Run {
        /// The run.
        run: RunId,
        /// The command.
        command: Box<RunCommand>,
    },
    /// Put the run into the dispatchers' queue.
    Enqueue {
        /// The run.
        run: RunId,
        /// Its project.
        project: ProjectId,
    },
    /// Put the run back into the dispatchers' queue for its next attempt.
    Requeue {
        /// The run.
        run: RunId,
    },
    /// Take the run out of the queue and stop what is left of it.
    Dequeue {
        /// The run.
        run: RunId,
    },
    /// Tell the card how its run ended.
    FinishCard {
        /// The card.
        card: CardId,
        /// The run.
        run: RunId,
        /// How.
        result: RunResult,
    },
}

/// What follows from an event of a card.
pub fn on_card(event: &CardEvent, actor: &Actor) -> Vec<Reaction> {
    match event {
        CardEvent::RunRequested(requested) => vec![Reaction::Run {
            run: requested.run,
            command: Box::new(RunCommand::Queue {
                task: Box::new(requested.task.clone()),
                requested_by: actor.clone(),
            }),
        }],
        _ => vec![],
    }
}

/// What follows from an event of a run. `task` is the run's own, known since its first event.
pub fn on_run(run: RunId, event: &RunEvent, task: &Task) -> Vec<Reaction> {
    let result = match event {
        RunEvent::Queued(queued) => return vec![Reaction::Enqueue { run, project: queued.task.project }],
        RunEvent::AttemptLost(_) => return vec![Reaction::Requeue { run }],
        RunEvent::Dispatched(_) | RunEvent::Started(_) | RunEvent::StepRecorded(_) | RunEvent::ModelCalled(_) => {
            return vec![];
        }
        RunEvent::Succeeded(succeeded) => RunResult::Succeeded {
            commit: succeeded.outcome.head_commit.clone(),
            summary: succeeded.outcome.summary.clone(),
            context_path: succeeded.outcome.context_path.clone(),
            context_sha256: succeeded.outcome.context_sha256.clone(),
        },
        RunEvent::Failed(failed) => RunResult::Failed { kind: failed.kind, reason: failed.reason.clone() },
        RunEvent::TimedOut(timed_out) => RunResult::TimedOut { after_seconds: timed_out.after_seconds },
        RunEvent::Cancelled(cancelled) => RunResult::Cancelled { reason: cancelled.reason.clone() },
    };
    vec![Reaction::Dequeue { run }, Reaction::FinishCard { card: task.card, run, result }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::{CardCommented, CardRunFinished, CardRunRequested};
    use crate::given::{id, model, outcome, reason, sealed, task, text};
    use crate::run::{
        FailureKind, RunAttemptLost, RunCancelled, RunDispatched, RunFailed, RunModelCalled, RunQueued, RunStarted,
        RunStepRecorded, RunSucceeded, RunTimedOut, StepKind, Timeout,
    };

    fn ada() -> Actor {
        Actor::Operator("ada".into())
    }

    /// What follows from an event of run 4.
    fn after(event: impl Into<RunEvent>) -> Vec<Reaction> {
        on_run(id(4), &event.into(), &task())
    }

    /// How a run's last event is told to its card.
    fn told(event: impl Into<RunEvent>) -> RunResult {
        let reactions = after(event);
        let [Reaction::Dequeue { run }, Reaction::FinishCard { card, run: same, result }] = reactions.as_slice() else {
            panic!("{reactions:?}")
        };
        assert_eq!((*run, *same, *card), (id(4), id(4), task().card));
        result.clone()
    }

    #[test]
    fn a_wish_to_run_a_card_queues_the_run_in_the_name_of_who_wished_it() {
        let wish = CardRunRequested { run: id(4), task: task() }.into();
        let queue = RunCommand::Queue { task: Box::new(task()), requested_by: ada() };
        assert_eq!(on_card(&wish, &ada()), [Reaction::Run { run: id(4), command: Box::new(queue) }]);
    }

    #[test]
    fn nothing_follows_from_what_else_happens_to_a_card() {
        let comment = CardCommented { comment: id(6), text: sealed("Please hurry.") }.into();
        let finished = CardRunFinished { run: id(4), result: RunResult::Cancelled { reason: None } }.into();
        for event in [comment, finished] {
            assert_eq!(on_card(&event, &ada()), [], "{event:?}");
        }
    }

    #[test]
    fn a_queued_run_goes_into_the_queue_of_its_project() {
        let queued = RunQueued { task: task(), requested_by: ada() };
        assert_eq!(after(queued), [Reaction::Enqueue { run: id(4), project: task().project }]);
    }

    #[test]
    fn a_run_that_lost_an_attempt_goes_into_the_queue_again() {
        let lost = RunAttemptLost { attempt: 1, reason: reason("no heartbeat") };
        assert_eq!(after(lost), [Reaction::Requeue { run: id(4) }]);
    }

    #[test]
    fn nothing_follows_from_the_work_of_an_attempt() {
        let step = RunStepRecorded {
            attempt: 1,
            number: 1,
            kind: StepKind::Tool,
            title: reason("read_file"),
            detail: text(""),
            ok: true,
            duration_ms: 1,
        };
        let call = RunModelCalled {
            attempt: 1,
            provider: id(5),
            model: model("claude-sonnet"),
            input_tokens: 1,
            output_tokens: 1,
            cache_read_tokens: 0,
            cache_write_tokens: 0,
            status: 200,
            duration_ms: 1,
        };
        let dispatched = RunDispatched { attempt: 1, environment: id(9) };
        for event in [dispatched.into(), RunStarted { attempt: 1 }.into(), step.into(), RunEvent::from(call)] {
            assert_eq!(after(event.clone()), [], "{event:?}");
        }
    }

    #[test]
    fn every_end_of_a_run_leaves_the_queue_and_is_told_to_the_card() {
        let succeeded = told(RunSucceeded { attempt: 1, outcome: outcome() });
        let wanted = RunResult::Succeeded {
            commit: outcome().head_commit,
            summary: outcome().summary,
            context_path: outcome().context_path,
            context_sha256: outcome().context_sha256,
        };
        assert_eq!(succeeded, wanted);

        let kind = FailureKind::TestsFailed;
        let failed = told(RunFailed { attempt: 1, kind, reason: reason("2 tests fail"), log_tail: text("…") });
        assert_eq!(failed, RunResult::Failed { kind, reason: reason("2 tests fail") });

        let timed_out = told(RunTimedOut { attempt: 1, timeout: Timeout::Run, after_seconds: 900 });
        assert_eq!(timed_out, RunResult::TimedOut { after_seconds: 900 });

        let why = Some(sealed("wrong card"));
        assert_eq!(told(RunCancelled { reason: why.clone() }), RunResult::Cancelled { reason: why });
    }
}
