//! Orders to a workspace.

use domain::value::Name;
use domain::workspace::{Workspace, WorkspaceCommand};
use domain::{TenantId, WorkspaceId};
use uuid::Uuid;

use super::Ask;
use crate::DispatchError;
use crate::facts::Facts;

/// What may be asked of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkspaceOrder {
    /// Brings a new one into being.
    Create {
        /// What people call it.
        name: Name,
    },
    /// Changes one.
    Change {
        /// Which.
        workspace: WorkspaceId,
        /// How.
        change: WorkspaceChange,
    },
}

/// How a workspace may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkspaceChange {
    /// Gives it another name.
    Rename {
        /// The new name.
        name: Name,
    },
    /// Keeps it from taking new projects.
    Archive,
}

impl Ask for WorkspaceOrder {
    type Aggregate = Workspace;

    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "workspace.create",
            Self::Change { change: WorkspaceChange::Rename { .. }, .. } => "workspace.rename",
            Self::Change { change: WorkspaceChange::Archive, .. } => "workspace.archive",
        }
    }

    fn stream(&self, _: TenantId) -> Option<Uuid> {
        match self {
            Self::Create { .. } => None,
            Self::Change { workspace, .. } => Some(workspace.uuid()),
        }
    }

    async fn prepare(&self, _: &Workspace, facts: &Facts<'_>) -> Result<WorkspaceCommand, DispatchError> {
        Ok(match self.clone() {
            Self::Create { name } => WorkspaceCommand::Create { name, tenant_active: facts.tenant_active().await? },
            Self::Change { change: WorkspaceChange::Rename { name }, .. } => WorkspaceCommand::Rename { name },
            Self::Change { change: WorkspaceChange::Archive, .. } => WorkspaceCommand::Archive,
        })
    }
}
