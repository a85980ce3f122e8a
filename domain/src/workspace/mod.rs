//! A workspace: a client or a team inside a tenant. Always named in a request, never implied.

mod command;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::WorkspaceCommand;
pub use error::WorkspaceRefusal;
pub use event::{WorkspaceArchived, WorkspaceCreated, WorkspaceEvent, WorkspaceRenamed};
use serde::{Deserialize, Serialize};

use crate::aggregate::Decider;
use crate::value::Name;

/// The state of a workspace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Workspace {
    /// It does not exist.
    #[default]
    Absent,
    /// It is in use.
    Open {
        /// What people call it.
        name: Name,
    },
    /// It takes no new projects.
    Archived {
        /// What people called it.
        name: Name,
    },
}

impl Decider for Workspace {
    const TYPE: &'static str = "workspace";
    const STATE: i32 = 1;
    type Command = WorkspaceCommand;
    type Event = WorkspaceEvent;
    type Refusal = WorkspaceRefusal;

    fn decide(&self, command: WorkspaceCommand) -> Result<Vec<WorkspaceEvent>, WorkspaceRefusal> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: &WorkspaceEvent) {
        match (&mut *self, event) {
            (Self::Absent, WorkspaceEvent::Created(created)) => *self = Self::Open { name: created.name.clone() },
            (Self::Open { name }, WorkspaceEvent::Renamed(renamed)) => *name = renamed.name.clone(),
            (Self::Open { name }, WorkspaceEvent::Archived(_)) => *self = Self::Archived { name: name.clone() },
            _ => {}
        }
    }
}

crate::cqrs_aggregate!(Workspace);
