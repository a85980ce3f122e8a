//! Carries a card's wish to be run to the run, and the run's end back to the card.
//!
//! `CardRunRequested` → queue the run → `RunQueued` → a job for the dispatchers → … → the run's last event → the card's
//! `FinishRun`. A reaction's command id derives from the event and the reaction's step, so a repeated event changes nothing.

use crate::card::{CardEvent, RunResult};
use crate::id::{CardId, ProjectId, RunId};
use crate::run::{RunCommand, RunEvent, Task};
use crate::Actor;

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
