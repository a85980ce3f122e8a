//! An environment: an isolated place where an attempt of a run works.

mod command;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::EnvironmentCommand;
pub use error::EnvironmentRefusal;
pub use event::{
    EnvironmentEvent, EnvironmentFailed, EnvironmentProvisioning, EnvironmentReady, EnvironmentRequested,
    EnvironmentStopped, EnvironmentStopping,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::Decider;
use crate::id::{ProjectId, RunId};

/// What an environment is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// A sandboxed process on this machine.
    Local,
}

/// What an environment is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purpose {
    /// The project.
    pub project: ProjectId,
    /// The run.
    pub run: RunId,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// The state of an environment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Environment {
    /// It does not exist.
    #[default]
    Absent,
    /// It is alive in some phase.
    Alive {
        /// What it is for.
        purpose: Purpose,
        /// How far it is.
        phase: Phase,
    },
    /// It is gone in good order.
    Stopped,
    /// It is gone otherwise.
    Failed,
}

/// How far an environment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Wanted.
    Requested,
    /// Being made.
    Provisioning,
    /// Usable.
    Ready,
    /// Being taken down.
    Stopping,
}

impl Decider for Environment {
    const TYPE: &'static str = "environment";
    const STATE: i32 = 1;
    type Command = EnvironmentCommand;
    type Event = EnvironmentEvent;
    type Refusal = EnvironmentRefusal;

    fn decide(&self, command: EnvironmentCommand) -> Result<Vec<EnvironmentEvent>, EnvironmentRefusal> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: &EnvironmentEvent) {
        match (&mut *self, event) {
            (Self::Absent, EnvironmentEvent::Requested(requested)) => {
                *self = Self::Alive { purpose: requested.purpose.clone(), phase: Phase::Requested };
            }
            (Self::Alive { phase, .. }, EnvironmentEvent::Provisioning(_)) => *phase = Phase::Provisioning,
            (Self::Alive { phase, .. }, EnvironmentEvent::Ready(_)) => *phase = Phase::Ready,
            (Self::Alive { phase, .. }, EnvironmentEvent::Stopping(_)) => *phase = Phase::Stopping,
            (Self::Alive { .. }, EnvironmentEvent::Stopped(_)) => *self = Self::Stopped,
            (Self::Alive { .. }, EnvironmentEvent::Failed(_)) => *self = Self::Failed,
            _ => {}
        }
    }
}

crate::cqrs_aggregate!(Environment);
