//! What may be asked of a workspace.

use crate::value::Name;

/// The commands of a [`Workspace`](super::Workspace).
#[derive(Debug, Clone, PartialEq)]
pub enum WorkspaceCommand {
    /// Brings it into being.
    Create {
        /// What people call it.
        name: Name,
        /// A looked-up fact: whether the tenant exists and is active.
        tenant_active: bool,
    },
    /// Gives it another name.
    Rename {
        /// The new name.
        name: Name,
    },
    /// Keeps it from taking new projects. Repeating it changes nothing.
    Archive,
}
