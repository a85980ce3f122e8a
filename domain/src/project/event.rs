//! What may have happened to a project.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExecutionPolicy, Lanes, ModelChoice, Repository};
use crate::id::WorkspaceId;
use crate::value::Name;

crate::events! {
    /// The events of a [`Project`](super::Project).
    pub enum ProjectEvent {
        /// It was created.
        Created(ProjectCreated) = 2,
        /// It has another name.
        Renamed(ProjectRenamed) = 1,
        /// Its code lives elsewhere.
        RepositoryConnected(ProjectRepositoryConnected) = 1,
        /// Its board has other lanes.
        LanesConfigured(ProjectLanesConfigured) = 1,
        /// Its runs have other bounds.
        PolicySet(ProjectPolicySet) = 1,
        /// Its runs use another model.
        ModelChosen(ProjectModelChosen) = 1,
        /// It takes no more work.
        Archived(ProjectArchived) = 1,
    }
}

/// The project was created. First event of every project.
///
/// Version 1 had `repository_url` and `default_branch` in place of `repository`, and no `model`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectCreated {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// What people call it.
    pub name: Name,
    /// Where its code lives.
    pub repository: Repository,
    /// Its board's lanes, in order.
    pub lanes: Lanes,
    /// The bounds of its runs.
    pub policy: ExecutionPolicy,
    /// Which model its runs use, when it was chosen.
    pub model: Option<ModelChoice>,
}

/// The project has another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectRenamed {
    /// The new name.
    pub name: Name,
}

/// The project's code lives elsewhere from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectRepositoryConnected {
    /// Where.
    pub repository: Repository,
}

/// The project's board has other lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectLanesConfigured {
    /// All lanes, in order.
    pub lanes: Lanes,
}

/// The project's runs have other bounds; those that are under way keep theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectPolicySet {
    /// The new bounds.
    pub policy: ExecutionPolicy,
}

/// The project's runs use another model from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectModelChosen {
    /// Which.
    pub model: ModelChoice,
}

/// The project takes no more work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectArchived {}
