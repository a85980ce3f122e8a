//! What may be asked of a project.

use std::collections::BTreeSet;

use super::{ExecutionPolicy, Lanes, ModelChoice, Repository};
use crate::id::WorkspaceId;
use crate::value::{LaneKey, Name};

/// The commands of a [`Project`](super::Project).
#[derive(Debug, Clone, PartialEq)]
pub enum ProjectCommand {
    /// Brings it into being.
    Create {
        /// Its workspace.
        workspace: WorkspaceId,
        /// What people call it.
        name: Name,
        /// Where its code lives.
        repository: Repository,
        /// Its board's lanes.
        lanes: Lanes,
        /// The bounds of its runs.
        policy: ExecutionPolicy,
        /// Which model its runs use.
        model: Option<ModelChoice>,
        /// Looked-up facts about what it names.
        facts: CreateFacts,
    },
    /// Gives it another name.
    Rename {
        /// The new name.
        name: Name,
    },
    /// Says where its code lives.
    ConnectRepository {
        /// Where.
        repository: Repository,
    },
    /// Gives its board other lanes.
    ConfigureLanes {
        /// All lanes, in order.
        lanes: Lanes,
        /// A looked-up fact: the lanes that hold cards now.
        occupied: BTreeSet<LaneKey>,
    },
    /// Gives its runs other bounds.
    SetPolicy {
        /// The new bounds.
        policy: ExecutionPolicy,
    },
    /// Says which model its runs use.
    ChooseModel {
        /// Which.
        model: ModelChoice,
        /// A looked-up fact: whether the provider exists and is enabled.
        provider_usable: bool,
    },
    /// Keeps it from taking more work. Repeating it changes nothing.
    Archive,
}

/// What was looked up for [`ProjectCommand::Create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateFacts {
    /// Whether the tenant exists and is active.
    pub tenant_active: bool,
    /// Whether the workspace exists and is not archived.
    pub workspace_open: bool,
    /// Whether the provider exists and is enabled; true when none is named.
    pub provider_usable: bool,
}
