//! Projects.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use domain::id::ProjectKind;
use domain::project::{ExecutionPolicy, LaneRole as Meaning};
use domain::{ProjectId, ProviderId, TenantId, WorkspaceId};
use projections::Page;
use projections::board::{self, CardsOf, ProjectRow};
use projections::runs::RunsOf;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use super::cards::{self, CardFilter, CardOrder};
use super::environment::EnvironmentsOf;
use super::page::{self, Connection, Wanted};
use super::run;
use super::tenant::{Provider, Workspace};
use super::usage::{Days, Usage};
use crate::error::cursor_invalid;
use crate::list::List;
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

impl Project {
    fn key(&self) -> ProjectId {
        ProjectId::from_uuid(self.0.project)
    }
}

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

    /// Its cards.
    #[graphql(complexity = "page::cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn cards(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of them; those on the board when null.")] filter: Option<CardFilter>,
        #[graphql(desc = "In which order.", default)] order_by: CardOrder,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
    ) -> Result<Connection<CardsOf>> {
        let list = cards::cards_of(&self.0, filter, order_by)?;
        Connection::of(ctx, list, Wanted { first, after, last, before }).await
    }

    /// Its runs, the newest first.
    #[graphql(complexity = "page::cost_among(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of this card, `crd_…`")] card: Option<ID>,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
    ) -> Result<Connection<RunsOf>> {
        run::runs(ctx, self.key(), card, Wanted { first, after, last, before }).await
    }

    /// The environments of its runs, the newest first.
    #[graphql(complexity = "page::cost_among(first, last, child_complexity)")]
    async fn environments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
    ) -> Result<Connection<EnvironmentsOf>> {
        Connection::of(ctx, EnvironmentsOf(self.key()), Wanted { first, after, last, before }).await
    }

    /// What was used in it in a range of days.
    #[graphql(complexity = "page::READ + child_complexity")]
    async fn usage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first day, UTC; 30 days before `to` when null.")] from: Option<Date>,
        #[graphql(desc = "The last day, UTC, included; today when null.")] to: Option<Date>,
    ) -> Result<Usage> {
        Usage::of(ctx, Days::new(from, to)?, Some(self.key())).await
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

/// The projects of a workspace, or of the tenant, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProjectsOf(pub(super) Option<WorkspaceId>);

impl List for ProjectsOf {
    type Place = ProjectId;
    type Row = Arc<ProjectRow>;
    type Node = Project;

    fn place(&self, cursor: &str) -> Result<ProjectId> {
        cursor.parse().map_err(|_| cursor_invalid())
    }

    fn cursor(&self, row: &Arc<ProjectRow>) -> String {
        ProjectId::from_uuid(row.project).to_string()
    }

    fn node(row: Arc<ProjectRow>) -> Project {
        Project(row)
    }

    async fn pages(
        conn: &mut PgConnection,
        tenant: TenantId,
        asked: &[(Self, Page<ProjectId>)],
    ) -> sqlx::Result<Vec<Vec<Arc<ProjectRow>>>> {
        let asked: Vec<_> = asked.iter().map(|(of, page)| (of.0, *page)).collect();
        let pages = board::projects(conn, tenant, &asked).await?;
        Ok(pages.into_iter().map(|page| page.into_iter().map(Arc::new).collect()).collect())
    }

    async fn counts(conn: &mut PgConnection, tenant: TenantId, asked: &[Self]) -> sqlx::Result<Vec<i64>> {
        let workspaces: Vec<_> = asked.iter().map(|of| of.0).collect();
        board::count_projects(conn, tenant, &workspaces).await
    }
}
