//! What may have happened to a workspace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Name;

crate::events! {
    /// The events of a [`Workspace`](super::Workspace).
    pub enum WorkspaceEvent {
        /// It was created.
        Created(WorkspaceCreated) = 1,
        /// It has another name.
        Renamed(WorkspaceRenamed) = 1,
        /// It takes no new projects.
        Archived(WorkspaceArchived) = 1,
    }
}

/// The workspace was created. First event of every workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceCreated {
    /// What people call it.
    pub name: Name,
}

/// The workspace has another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceRenamed {
    /// The new name.
    pub name: Name,
}

/// The workspace takes no new projects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceArchived {}
