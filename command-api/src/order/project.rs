//! Orders to a project.

use domain::project::{CreateFacts, ExecutionPolicy, Lanes, ModelChoice, Project, ProjectCommand, Repository};
use domain::value::Name;
use domain::{ProjectId, TenantId, WorkspaceId};
use uuid::Uuid;

use super::Ask;
use crate::DispatchError;
use crate::facts::Facts;

/// What may be asked of a project.
#[derive(Debug, Clone, PartialEq)]
pub enum ProjectOrder {
    /// Brings a new one into being.
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
        policy: Box<ExecutionPolicy>,
        /// Which model its runs use.
        model: Option<ModelChoice>,
    },
    /// Changes one.
    Change {
        /// Which.
        project: ProjectId,
        /// How.
        change: ProjectChange,
    },
}

/// How a project may be changed.
#[derive(Debug, Clone, PartialEq)]
pub enum ProjectChange {
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
    },
    /// Gives its runs other bounds.
    SetPolicy {
        /// The new bounds.
        policy: Box<ExecutionPolicy>,
    },
    /// Says which model its runs use.
    ChooseModel {
        /// Which.
        model: ModelChoice,
    },
    /// Keeps it from taking more work.
    Archive,
}

impl Ask for ProjectOrder {
    type Aggregate = Project;

    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "project.create",
            Self::Change { change, .. } => match change {
                ProjectChange::Rename { .. } => "project.rename",
                ProjectChange::ConnectRepository { .. } => "project.connect_repository",
                ProjectChange::ConfigureLanes { .. } => "project.configure_lanes",
                ProjectChange::SetPolicy { .. } => "project.set_policy",
                ProjectChange::ChooseModel { .. } => "project.choose_model",
                ProjectChange::Archive => "project.archive",
            },
        }
    }

    fn stream(&self, _: TenantId) -> Option<Uuid> {
        match self {
            Self::Create { .. } => None,
            Self::Change { project, .. } => Some(project.uuid()),
        }
    }

    async fn prepare(&self, state: &Project, facts: &Facts<'_>) -> Result<ProjectCommand, DispatchError> {
        let (project, change) = match self.clone() {
            Self::Create { workspace, name, repository, lanes, policy, model } => {
                let facts = CreateFacts {
                    tenant_active: facts.tenant_active().await?,
                    workspace_open: facts.workspace_open(workspace).await?,
                    provider_usable: facts.provider_usable(model.as_ref().map(|model| model.provider)).await?,
                };
                return Ok(ProjectCommand::Create {
                    workspace,
                    name,
                    repository,
                    lanes,
                    policy: *policy,
                    model,
                    facts,
                });
            }
            Self::Change { project, change } => (project, change),
        };
        Ok(match change {
            ProjectChange::Rename { name } => ProjectCommand::Rename { name },
            ProjectChange::ConnectRepository { repository } => ProjectCommand::ConnectRepository { repository },
            ProjectChange::ConfigureLanes { lanes } => {
                // What does not exist holds no cards; the aggregate says so itself.
                let occupied = match state.open() {
                    Some(_) => facts.occupied_lanes(project).await?,
                    None => Default::default(),
                };
                ProjectCommand::ConfigureLanes { lanes, occupied }
            }
            ProjectChange::SetPolicy { policy } => ProjectCommand::SetPolicy { policy: *policy },
            ProjectChange::ChooseModel { model } => {
                let provider_usable = facts.provider_usable(Some(model.provider)).await?;
                ProjectCommand::ChooseModel { model, provider_usable }
            }
            ProjectChange::Archive => ProjectCommand::Archive,
        })
    }
}
