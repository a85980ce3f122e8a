//! A project: one repository, its board's lanes, and the bounds of its runs.

mod command;
mod decide;
mod error;
mod event;
mod lane;
mod policy;
#[cfg(test)]
mod tests;
mod upcast;

pub use command::{CreateFacts, ProjectCommand};
use cqrs_es::persist::EventUpcaster;
pub use error::ProjectRefusal;
pub use event::{
    ProjectArchived, ProjectCreated, ProjectEvent, ProjectLanesConfigured, ProjectModelChosen, ProjectPolicySet,
    ProjectRenamed, ProjectRepositoryConnected,
};
pub use lane::{Lane, LaneRole, Lanes};
pub use policy::{ExecutionPolicy, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::Decider;
use crate::id::{ProviderId, WorkspaceId};
use crate::value::{Branch, ModelName, Name, RepositoryUrl, SecretRef};

/// Where a project's code lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    /// Its address.
    pub url: RepositoryUrl,
    /// The branch that runs start from.
    pub default_branch: Branch,
    /// Where the credential is, when one is needed.
    pub credential: Option<SecretRef>,
}

/// Which provider and model a project's runs use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelChoice {
    /// Whose account pays.
    pub provider: ProviderId,
    /// The model; the provider's default when absent.
    pub model: Option<ModelName>,
}

/// The state of a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Project {
    /// It does not exist.
    #[default]
    Absent,
    /// It is in use.
    Open(Box<OpenProject>),
    /// It takes no more work.
    Archived(Box<OpenProject>),
}

/// What is known of a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenProject {
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

impl Project {
    /// What is known of it, when it is in use.
    pub fn open(&self) -> Option<&OpenProject> {
        match self {
            Self::Open(project) => Some(project),
            _ => None,
        }
    }
}

impl Decider for Project {
    const TYPE: &'static str = "project";
    const STATE: i32 = 1;
    type Command = ProjectCommand;
    type Event = ProjectEvent;
    type Refusal = ProjectRefusal;

    fn decide(&self, command: ProjectCommand) -> Result<Vec<ProjectEvent>, ProjectRefusal> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: &ProjectEvent) {
        if let (Self::Absent, ProjectEvent::Created(created)) = (&*self, event) {
            *self = Self::Open(Box::new(OpenProject {
                workspace: created.workspace,
                name: created.name.clone(),
                repository: created.repository.clone(),
                lanes: created.lanes.clone(),
                policy: created.policy.clone(),
                model: created.model.clone(),
            }));
        }
        if let (Self::Open(project), ProjectEvent::Archived(_)) = (&*self, event) {
            *self = Self::Archived(project.clone());
        }
        let Self::Open(project) = self else { return };
        match event {
            ProjectEvent::Created(_) | ProjectEvent::Archived(_) => {}
            ProjectEvent::Renamed(renamed) => project.name = renamed.name.clone(),
            ProjectEvent::RepositoryConnected(connected) => project.repository = connected.repository.clone(),
            ProjectEvent::LanesConfigured(configured) => project.lanes = configured.lanes.clone(),
            ProjectEvent::PolicySet(set) => project.policy = set.policy.clone(),
            ProjectEvent::ModelChosen(chosen) => project.model = Some(chosen.model.clone()),
        }
    }

    fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
        upcast::chain()
    }
}

crate::cqrs_aggregate!(Project);
