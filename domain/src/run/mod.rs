//! A run: one execution of a card, in one or more attempts.

mod command;
mod decide;
mod error;
mod event;
mod task;
#[cfg(test)]
mod tests;

pub use command::RunCommand;
pub use error::RunRefusal;
pub use event::{
    RunAttemptLost, RunCancelled, RunDispatched, RunEvent, RunFailed, RunModelCalled, RunQueued, RunStarted,
    RunStepRecorded, RunSucceeded, RunTimedOut,
};
use serde::{Deserialize, Serialize};
pub use task::{FailureKind, StepKind, Task, TaskOutcome, Timeout};

use crate::aggregate::Decider;
use crate::id::EnvironmentId;

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

    /// Whether `attempt` is under way.
    pub fn is_current(&self, attempt: u32) -> bool {
        matches!(self, Self::Active { attempt: current, .. } if current.number == attempt)
    }
}

impl Decider for Run {
    const TYPE: &'static str = "run";
    type Command = RunCommand;
    type Event = RunEvent;
    type Refusal = RunRefusal;

    fn decide(&self, command: RunCommand) -> Result<Vec<RunEvent>, RunRefusal> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: &RunEvent) {
        let ending = match event {
            RunEvent::Queued(queued) => {
                *self = Self::Queued { task: Box::new(queued.task.clone()), attempts_lost: 0 };
                return;
            }
            RunEvent::Dispatched(dispatched) => {
                if let Some(task) = self.task().cloned() {
                    let attempt = Attempt {
                        number: dispatched.attempt,
                        environment: dispatched.environment,
                        started: false,
                        last_step: 0,
                    };
                    *self = Self::Active { task: Box::new(task), attempt };
                }
                return;
            }
            RunEvent::Started(_) => {
                if let Self::Active { attempt, .. } = self {
                    attempt.started = true;
                }
                return;
            }
            RunEvent::StepRecorded(step) => {
                if let Self::Active { attempt, .. } = self {
                    attempt.last_step = step.number;
                }
                return;
            }
            RunEvent::ModelCalled(_) => return,
            RunEvent::AttemptLost(lost) => {
                if let Some(task) = self.task().cloned() {
                    *self = Self::Queued { task: Box::new(task), attempts_lost: lost.attempt };
                }
                return;
            }
            RunEvent::Succeeded(succeeded) => Ending::Succeeded(Box::new(succeeded.outcome.clone())),
            RunEvent::Failed(failed) => Ending::Failed(failed.kind),
            RunEvent::TimedOut(_) => Ending::TimedOut,
            RunEvent::Cancelled(_) => Ending::Cancelled,
        };
        let attempt = self.attempt_number();
        if let Some(task) = self.task().cloned() {
            *self = Self::Ended { task: Box::new(task), attempt, ending };
        }
    }
}

impl Run {
    /// The number of the current or last attempt; 0 before the first.
    pub fn attempt_number(&self) -> u32 {
        match self {
            Self::Absent => 0,
            Self::Queued { attempts_lost, .. } => *attempts_lost,
            Self::Active { attempt, .. } => attempt.number,
            Self::Ended { attempt, .. } => *attempt,
        }
    }
}

crate::cqrs_aggregate!(Run);
