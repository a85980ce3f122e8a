//! A workspace's rules.

use super::{
    Workspace, WorkspaceArchived, WorkspaceCommand, WorkspaceCreated, WorkspaceEvent, WorkspaceRefusal,
    WorkspaceRenamed,
};

pub(super) fn decide(
    workspace: &Workspace,
    command: WorkspaceCommand,
) -> Result<Vec<WorkspaceEvent>, WorkspaceRefusal> {
    match (workspace, command) {
        (Workspace::Absent, WorkspaceCommand::Create { tenant_active: false, .. }) => {
            Err(WorkspaceRefusal::TenantNotActive)
        }
        (Workspace::Absent, WorkspaceCommand::Create { name, .. }) => Ok(vec![WorkspaceCreated { name }.into()]),
        (Workspace::Absent, _) => Err(WorkspaceRefusal::NotFound),
        (_, WorkspaceCommand::Create { .. }) => Err(WorkspaceRefusal::AlreadyExists),
        (Workspace::Open { name: present }, WorkspaceCommand::Rename { name }) => {
            Ok(if name == *present { vec![] } else { vec![WorkspaceRenamed { name }.into()] })
        }
        (Workspace::Archived { .. }, WorkspaceCommand::Rename { .. }) => Err(WorkspaceRefusal::Archived),
        (Workspace::Open { .. }, WorkspaceCommand::Archive) => Ok(vec![WorkspaceArchived {}.into()]),
        (Workspace::Archived { .. }, WorkspaceCommand::Archive) => Ok(vec![]),
    }
}
