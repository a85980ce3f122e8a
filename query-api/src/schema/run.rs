//! Runs.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use domain::id::{EnvironmentKind, ProviderKind, RunKind};
use domain::run::TaskOutcome;
use domain::{CardId, EnvironmentId, ProjectId, RunId, TenantId};
use projections::Page;
use projections::runs::{self, RunRow, RunsOf, StepRow};
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;

use super::card::Card;
use super::environment::Environment;
use super::page::{Connection, Wanted};
use super::project::Project;
use crate::error::cursor_invalid;
use crate::list::List;
use crate::loader::{StepsOf, named};
use crate::personal;
use crate::scalar::{self, BigInt, id, int};

/// How far a run is.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunState {
    /// It waits for a worker.
    Queued,
    /// A worker prepares an environment for an attempt.
    Dispatching,
    /// An agent works.
    Running,
    /// It ended with work on its branch.
    Succeeded,
    /// It ended without.
    Failed,
    /// It took too long.
    TimedOut,
    /// Somebody stopped it.
    Cancelled,
}

impl RunState {
    fn of(state: &str) -> Self {
        match state {
            "dispatching" => Self::Dispatching,
            "running" => Self::Running,
            "succeeded" => Self::Succeeded,
            "failed" => Self::Failed,
            "timed_out" => Self::TimedOut,
            "cancelled" => Self::Cancelled,
            _ => Self::Queued,
        }
    }
}

/// What models read and wrote.
#[derive(SimpleObject)]
pub(super) struct Tokens {
    /// Tokens read, without those from a cache.
    pub(super) input: BigInt,
    /// Tokens written.
    pub(super) output: BigInt,
    /// Tokens read from the vendor's cache.
    pub(super) cache_read: BigInt,
    /// Tokens written to the vendor's cache.
    pub(super) cache_write: BigInt,
}

/// What a successful run left behind.
pub(super) struct RunOutcome(TaskOutcome);

/// What a successful run left behind.
#[Object]
impl RunOutcome {
    /// The head of the pushed branch: the work and the context.
    async fn commit(&self) -> &str {
        self.0.head_commit.as_str()
    }

    /// The commit with the work.
    async fn work_commit(&self) -> &str {
        self.0.work_commit.as_str()
    }

    /// The commit it started from.
    async fn base_commit(&self) -> &str {
        self.0.base_commit.as_str()
    }

    /// What was done, in the agent's words.
    async fn summary(&self) -> &str {
        self.0.summary.as_str()
    }

    /// Paths of the files that changed, sorted, at most 1,000.
    async fn files_changed(&self) -> &[String] {
        &self.0.files_changed
    }

    /// Where the context stands in the repository.
    async fn context_path(&self) -> &str {
        &self.0.context_path
    }

    /// SHA-256 of the context file's bytes, hexadecimal.
    async fn context_sha256(&self) -> &str {
        &self.0.context_sha256
    }
}

/// One thing that an agent did.
pub(super) struct RunStep(pub(super) Arc<StepRow>);

/// One thing that an agent did.
#[Object]
impl RunStep {
    /// Which attempt did it, from 1.
    async fn attempt(&self) -> i32 {
        self.0.attempt
    }

    /// 1, 2, 3 … within the attempt.
    async fn number(&self) -> i32 {
        self.0.number
    }

    /// `clone`, `model`, `tool`, `check`, `commit` or `push`.
    async fn kind(&self) -> &str {
        &self.0.kind
    }

    /// One line for people.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// The end of what came of it.
    async fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether it went well.
    async fn ok(&self) -> bool {
        self.0.ok
    }

    /// How long it took, in milliseconds.
    async fn duration_ms(&self) -> BigInt {
        BigInt(self.0.duration_ms)
    }

    /// When it was recorded.
    async fn occurred_at(&self) -> OffsetDateTime {
        self.0.occurred_at
    }
}

/// One execution of a card.
pub(crate) struct Run(pub(crate) Arc<RunRow>);

/// One execution of a card.
#[Object]
impl Run {
    /// `run_…`
    pub(super) async fn id(&self) -> ID {
        id::<RunKind>(self.0.run)
    }

    /// How far it is.
    async fn state(&self) -> RunState {
        RunState::of(&self.0.state)
    }

    /// Whether it is over.
    async fn ended(&self) -> bool {
        self.0.ended_at.is_some()
    }

    /// The current or last attempt; 0 before the first.
    async fn attempt(&self) -> i32 {
        self.0.attempt
    }

    /// Where the current or last attempt runs, `env_…`
    async fn environment(&self) -> Option<ID> {
        self.0.environment.map(id::<EnvironmentKind>)
    }

    /// Where the current or last attempt runs, itself.
    #[graphql(complexity = "5 + child_complexity")]
    async fn current_environment(&self, ctx: &Context<'_>) -> Result<Option<Environment>> {
        let Some(environment) = self.0.environment else { return Ok(None) };
        Ok(named(ctx, EnvironmentId::from_uuid(environment)).await?.map(Environment))
    }

    /// The card that is run.
    #[graphql(complexity = "5 + child_complexity")]
    async fn card(&self, ctx: &Context<'_>) -> Result<Option<Card>> {
        Ok(named(ctx, CardId::from_uuid(self.0.card)).await?.map(Card))
    }

    /// Its project.
    #[graphql(complexity = "5 + child_complexity")]
    async fn project(&self, ctx: &Context<'_>) -> Result<Option<Project>> {
        Ok(named(ctx, ProjectId::from_uuid(self.0.project)).await?.map(Project))
    }

    /// The card's title when the run was asked for.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// The branch that is pushed: `aw/<card>/<run>`.
    async fn branch(&self) -> &str {
        &self.0.branch
    }

    /// Whose account pays for the model, `prv_…`
    async fn provider(&self) -> ID {
        id::<ProviderKind>(self.0.provider)
    }

    /// The model.
    async fn model(&self) -> &str {
        &self.0.model
    }

    /// Who asked for the run.
    async fn requested_by(&self, ctx: &Context<'_>) -> Result<String> {
        personal::actor(ctx, &self.0.requested_by).await
    }

    /// What a success left behind.
    async fn outcome(&self) -> Option<RunOutcome> {
        self.0.outcome.clone().map(|Json(outcome)| RunOutcome(outcome))
    }

    /// The kind of failure, such as `tests_failed`.
    async fn failure(&self) -> Option<&str> {
        self.0.failure.as_deref()
    }

    /// Why it ended without success, for people; while it waits again: why the last attempt was lost;
    /// `[erased]` when whoever said so was erased.
    async fn reason(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        personal::reason(ctx, self.0.reason.as_deref()).await
    }

    /// The end of the log of a failed run.
    async fn log_tail(&self) -> Option<&str> {
        self.0.log_tail.as_deref()
    }

    /// When it was asked for.
    async fn queued_at(&self) -> OffsetDateTime {
        self.0.queued_at
    }

    /// When a worker took the current or last attempt.
    async fn dispatched_at(&self) -> Option<OffsetDateTime> {
        self.0.dispatched_at
    }

    /// When the agent of the current or last attempt began.
    async fn started_at(&self) -> Option<OffsetDateTime> {
        self.0.started_at
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<OffsetDateTime> {
        self.0.ended_at
    }

    /// How often a model was called.
    async fn model_calls(&self) -> i32 {
        int(self.0.model_calls)
    }

    /// What models read and wrote for it.
    async fn tokens(&self) -> Tokens {
        Tokens {
            input: BigInt(self.0.input_tokens),
            output: BigInt(self.0.output_tokens),
            cache_read: BigInt(self.0.cache_read_tokens),
            cache_write: BigInt(self.0.cache_write_tokens),
        }
    }

    /// What its agents did, in order, over all attempts.
    #[graphql(complexity = "5 + 20 * child_complexity")]
    async fn steps(&self, ctx: &Context<'_>) -> Result<Vec<RunStep>> {
        let steps = named(ctx, StepsOf(RunId::from_uuid(self.0.run))).await?;
        Ok(steps.unwrap_or_default().into_iter().map(RunStep).collect())
    }

    /// The version, for `If-Match` of a command; 0 until the run took up its card's wish.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }
}

/// A page of a project's runs, or of one card's where a card is named.
///
/// # Errors
/// As [`Connection::of`].
pub(super) async fn runs(
    ctx: &Context<'_>,
    project: ProjectId,
    card: Option<ID>,
    wanted: Wanted,
) -> Result<Connection<RunsOf>> {
    match card.as_ref().map(scalar::named) {
        Some(None) => Connection::none(&wanted),
        card => Connection::of(ctx, RunsOf { project, card: card.flatten() }, wanted).await,
    }
}

impl List for RunsOf {
    type Place = RunId;
    type Row = Arc<RunRow>;
    type Node = Run;

    fn place(&self, cursor: &str) -> Result<RunId> {
        cursor.parse().map_err(|_| cursor_invalid())
    }

    fn cursor(&self, row: &Arc<RunRow>) -> String {
        RunId::from_uuid(row.run).to_string()
    }

    fn node(row: Arc<RunRow>) -> Run {
        Run(row)
    }

    async fn pages(
        conn: &mut PgConnection,
        tenant: TenantId,
        asked: &[(Self, Page<RunId>)],
    ) -> sqlx::Result<Vec<Vec<Arc<RunRow>>>> {
        let pages = runs::runs(conn, tenant, asked).await?;
        Ok(pages.into_iter().map(|page| page.into_iter().map(Arc::new).collect()).collect())
    }

    async fn counts(conn: &mut PgConnection, tenant: TenantId, asked: &[Self]) -> sqlx::Result<Vec<i64>> {
        runs::counts(conn, tenant, asked).await
    }
}
