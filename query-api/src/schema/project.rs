//! Projects.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use domain::id::ProjectKind;
use domain::project::{ExecutionPolicy, LaneRole as Meaning};
use domain::{ProviderId, WorkspaceId};
use projections::board::ProjectRow;
use time::OffsetDateTime;

use super::tenant::{Provider, Workspace};
use crate::loader::named;
use crate::personal;
use crate::scalar::{id, int};

/// What a lane means to runs, whatever people call it.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneRole {
    /// Not planned yet.
    Backlog,
    /// Planned.
    Ready,
    /// Where a card goes while it runs.
    InProgress,
    /// Where a card goes after a successful run.
    Review,
    /// Finished: what depends on it may run.
    Done,
    /// Held up.
    Blocked,
    /// None of these.
    Other,
}

impl From<Meaning> for LaneRole {
    fn from(role: Meaning) -> Self {
        match role {
            Meaning::Backlog => Self::Backlog,
            Meaning::Ready => Self::Ready,
            Meaning::InProgress => Self::InProgress,
            Meaning::Review => Self::Review,
            Meaning::Done => Self::Done,
            Meaning::Blocked => Self::Blocked,
            Meaning::Other => Self::Other,
        }
    }
}

/// One column of a board, as it is configured.
#[derive(SimpleObject)]
pub(super) struct Lane {
    /// Stable within the project, such as `in-progress`.
    key: String,
    /// What people call it.
    name: String,
    /// What it means to runs.
    role: LaneRole,
    /// Whether a card may be run from it.
    runs_allowed: bool,
}

/// Where a project's code lives.
#[derive(SimpleObject)]
pub(super) struct Repository {
    /// Its address.
    url: String,
    /// The branch that runs start from.
    default_branch: String,
    /// Whether a credential for it is kept. The credential cannot be read.
    has_credential: bool,
}

/// The bounds of a project's runs.
pub(super) struct Policy(ExecutionPolicy);

/// The bounds of a project's runs.
#[Object]
impl Policy {
    /// What the agent may do, such as `run_command`.
    async fn allowed_tools(&self) -> Vec<&str> {
        self.0.allowed_tools.iter().map(|tool| tool.as_str()).collect()
    }

    /// Model calls a run may make.
    async fn max_steps(&self) -> u32 {
        self.0.max_steps
    }

    /// Seconds of wall clock for an attempt.
    async fn max_run_seconds(&self) -> u32 {
        self.0.max_run_seconds
    }

    /// Seconds for one command.
    async fn command_timeout_seconds(&self) -> u32 {
        self.0.command_timeout_seconds
    }

    /// Tokens that one model answer may have.
    async fn max_output_tokens(&self) -> u32 {
        self.0.max_output_tokens
    }

    /// Memory of the environment, in MiB.
    async fn memory_mib(&self) -> u32 {
        self.0.memory_mib
    }

    /// Processes in the environment.
    async fn max_processes(&self) -> u32 {
        self.0.max_processes
    }

    /// Runs of the project that may be queued or under way at the same time.
    async fn max_active_runs(&self) -> u32 {
        self.0.max_active_runs
    }

    /// Attempts of a run, when one dies without a result.
    async fn max_attempts(&self) -> u32 {
        self.0.max_attempts
    }

    /// The command that runs the project's tests; null: no such check.
    async fn test_command(&self) -> Option<&str> {
        self.0.test_command.as_ref().map(domain::value::Text::as_str)
    }
}

/// One repository and its board.
pub(super) struct Project(pub(super) Arc<ProjectRow>);

/// One repository and its board.
#[Object]
impl Project {
    /// `prj_…`
    pub(super) async fn id(&self) -> ID {
        id::<ProjectKind>(self.0.project)
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Its workspace.
    #[graphql(complexity = "5 + child_complexity")]
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Option<Workspace>> {
        Ok(named(ctx, WorkspaceId::from_uuid(self.0.workspace)).await?.map(Workspace))
    }

    /// Where its code lives.
    async fn repository(&self) -> Repository {
        Repository {
            url: self.0.repository_url.clone(),
            default_branch: self.0.default_branch.clone(),
            has_credential: self.0.has_credential,
        }
    }

    /// Its board's lanes, in order.
    async fn lanes(&self) -> Vec<Lane> {
        let lane = |lane: &domain::project::Lane| Lane {
            key: lane.key.to_string(),
            name: lane.name.to_string(),
            role: lane.role.into(),
            runs_allowed: lane.runs_allowed,
        };
        self.0.lanes.iter().map(lane).collect()
    }

    /// The bounds of its runs.
    async fn policy(&self) -> Policy {
        Policy(self.0.policy.0.clone())
    }

    /// Whose account pays for its runs, when that was chosen.
    #[graphql(complexity = "5 + child_complexity")]
    async fn provider(&self, ctx: &Context<'_>) -> Result<Option<Provider>> {
        let Some(provider) = self.0.provider else { return Ok(None) };
        Ok(named(ctx, ProviderId::from_uuid(provider)).await?.map(Provider))
    }

    /// The model its runs use; the provider's default when null.
    async fn model(&self) -> Option<&str> {
        self.0.model.as_deref()
    }

    /// Whether it takes no more work.
    async fn archived(&self) -> bool {
        self.0.archived
    }

    /// When it was created.
    async fn created_at(&self) -> OffsetDateTime {
        self.0.created_at
    }

    /// Who created it.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<String> {
        personal::actor(ctx, &self.0.created_by).await
    }

    /// When it last changed.
    async fn updated_at(&self) -> OffsetDateTime {
        self.0.updated_at
    }

    /// Who last changed it.
    async fn updated_by(&self, ctx: &Context<'_>) -> Result<String> {
        personal::actor(ctx, &self.0.updated_by).await
    }

    /// The version, for `If-Match` of a command.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }
}
