//! A run: one execution of a card, in one or more attempts.

mod command;
mod decide;
mod error;
mod event;
mod task;
#[cfg(test)]
mod tests;

pub use command::RunCommand;
use cqrs_es::persist::EventUpcaster;
pub use error::RunRefusal;
pub use event::{
    RunAttemptLost, RunCancelled, RunDispatched, RunEvent, RunFailed, RunModelCalled, RunQueued, RunStarted,
    RunStepRecorded, RunSucceeded, RunTimedOut,
};
use serde::{Deserialize, Serialize};
pub use task::{FailureKind, StepKind, Task, TaskOutcome, Timeout};

use crate::aggregate::Decider;
use crate::id::EnvironmentId;
use crate::personal::OnceReadable;

/// The state of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Run {
    /// It does not exist.
    #[default]
    Absent,
    /// It waits for a worker.
    Queued {
        /// What to do.
        task: Box<Task>,
        /// Attempts that were lost before.
        attempts_lost: u32,
    },
    /// An attempt is under way.
    Active {
        /// What to do.
        task: Box<Task>,
        /// The attempt.
        attempt: Attempt,
    },
    /// It has ended.
    Ended {
        /// What was to be done.
        task: Box<Task>,
        /// The last attempt's number; 0 when there was none.
        attempt: u32,
        /// How.
        ending: Ending,
    },
}

/// An attempt that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Where it runs.
    pub environment: EnvironmentId,
    /// Whether the pod took the job.
    pub started: bool,
    /// The last step recorded.
    pub last_step: u32,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// With work on its branch.
    Succeeded(Box<TaskOutcome>),
    /// Without.
    Failed(FailureKind),
    /// Too late.
    TimedOut,
    /// Stopped.
    Cancelled,
}

impl Run {
    /// What it is to do, once it exists.
    pub fn task(&self) -> Option<&Task> {
        match self {
            Self::Absent => None,
            Self::Queued { task, .. } | Self::Active { task, .. } | Self::Ended { task, .. } => Some(task),
        }
    }

    /// The number of the current or last attempt; 0 before the first.
    pub fn attempt_number(&self) -> u32 {
        match self {
            Self::Absent => 0,
            Self::Queued { attempts_lost, .. } => *attempts_lost,
            Self::Active { attempt, .. } => attempt.number,
            Self::Ended { attempt, .. } => *attempt,
        }
    }

    /// Whether `attempt` is under way.
    pub fn is_current(&self, attempt: u32) -> bool {
        matches!(self, Self::Active { attempt: current, .. } if current.number == attempt)
    }

    /// This run after its end. A run ends once: what has ended stays as it is.
    fn ended(self, ending: Ending) -> Self {
        let attempt = self.attempt_number();
        match self {
            Self::Queued { task, .. } | Self::Active { task, .. } => Self::Ended { task, attempt, ending },
            Self::Absent | Self::Ended { .. } => self,
        }
    }
}

impl Decider for Run {
    const TYPE: &'static str = "run";
    const STATE: i32 = 1;
    type Command = RunCommand;
    type Event = RunEvent;
    type Refusal = RunRefusal;

    fn decide(&self, command: RunCommand) -> Result<Vec<RunEvent>, RunRefusal> {
        decide::decide(self, command)
    }

    fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
        vec![Box::new(OnceReadable("RunCancelled"))]
    }

    fn evolve(&mut self, event: &RunEvent) {
        *self = match (std::mem::take(self), event) {
            (Self::Absent, RunEvent::Queued(queued)) => {
                Self::Queued { task: Box::new(queued.task.clone()), attempts_lost: 0 }
            }
            (Self::Queued { task, .. }, RunEvent::Dispatched(RunDispatched { attempt: number, environment })) => {
                let attempt = Attempt { number: *number, environment: *environment, started: false, last_step: 0 };
                Self::Active { task, attempt }
            }
            (Self::Active { task, attempt }, RunEvent::Started(_)) => {
                Self::Active { task, attempt: Attempt { started: true, ..attempt } }
            }
            (Self::Active { task, attempt }, RunEvent::StepRecorded(step)) => {
                Self::Active { task, attempt: Attempt { last_step: step.number, ..attempt } }
            }
            (Self::Active { task, .. }, RunEvent::AttemptLost(lost)) => {
                Self::Queued { task, attempts_lost: lost.attempt }
            }
            (run, RunEvent::Succeeded(succeeded)) => run.ended(Ending::Succeeded(Box::new(succeeded.outcome.clone()))),
            (run, RunEvent::Failed(failed)) => run.ended(Ending::Failed(failed.kind)),
            (run, RunEvent::TimedOut(_)) => run.ended(Ending::TimedOut),
            (run, RunEvent::Cancelled(_)) => run.ended(Ending::Cancelled),
            (unchanged, _) => unchanged,
        };
    }
}

crate::cqrs_aggregate!(Run);
