//! Runs.

use std::sync::Arc;

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use domain::id::{EnvironmentKind, ProviderKind, RunKind};
use domain::run::TaskOutcome;
use domain::{CardId, EnvironmentId, ProjectId, RunId};
use projections::runs::{self, RunRow, StepRow};
use sqlx::types::Json;
use time::OffsetDateTime;

use super::card::Card;
use super::environment::Environment;
use super::page;
use super::project::Project;
use crate::error::{OrInternal as _, cursor_invalid};
use crate::loader::{RunsOf, StepsOf, WaitingOf, named};
use crate::personal;
use crate::scalar::{BigInt, id, int};
use crate::snapshot::Snapshot;
use crate::waiting::WaitingRow;

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

/// Why a run is not under way yet.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitingReason {
    /// An attempt was lost; the next one is not to begin yet. See `until`.
    NotDue,
    /// An operator lets nothing of the tenant start.
    Paused,
    /// As many runs of the tenant are under way as it may have.
    Limit,
    /// No worker has been seen for half a minute.
    NoWorker,
    /// Other runs of the tenant come first. See `ahead`.
    Order,
    /// It is the next of its tenant, and other tenants, who have had less of their share, come first.
    Share,
    /// It is the next of all, and waits for a worker with a free environment.
    Environment,
}

impl WaitingReason {
    fn of(reason: &str) -> Self {
        match reason {
            "not_due" => Self::NotDue,
            "paused" => Self::Paused,
            "limit" => Self::Limit,
            "no_worker" => Self::NoWorker,
            "order" => Self::Order,
            "share" => Self::Share,
            _ => Self::Environment,
        }
    }
}

/// What a run waits for, at the moment of the answer.
pub(super) struct RunWaiting(WaitingRow);

/// What a run waits for, at the moment of the answer.
#[Object]
impl RunWaiting {
    /// Why it is not under way: the first reason that stands.
    async fn reason(&self) -> WaitingReason {
        WaitingReason::of(&self.0.reason)
    }

    /// How many runs of the same tenant that could start now come before it.
    async fn ahead(&self) -> i32 {
        self.0.ahead
    }

    /// Since when it waits for its present attempt.
    async fn since(&self) -> OffsetDateTime {
        self.0.since
    }

    /// When it is due, if it is not yet.
    async fn until(&self) -> Option<OffsetDateTime> {
        self.0.until
    }

    /// How many runs of the tenant may be under way.
    async fn limit(&self) -> i32 {
        self.0.run_limit
    }

    /// How many are.
    async fn under_way(&self) -> i32 {
        self.0.under_way
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

    /// Why it is not under way yet; null unless it waits in the queue.
    #[graphql(complexity = "5 + child_complexity")]
    async fn waiting(&self, ctx: &Context<'_>) -> Result<Option<RunWaiting>> {
        if RunState::of(&self.0.state) != RunState::Queued {
            return Ok(None);
        }
        Ok(named(ctx, WaitingOf(RunId::from_uuid(self.0.run))).await?.map(RunWaiting))
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

/// A page of a list of runs, the newest first.
pub(super) struct Page {
    size: i64,
    after: Option<RunId>,
}

impl Page {
    /// # Errors
    /// `page_invalid`, `cursor_invalid`.
    pub(super) fn new(first: Option<i32>, after: Option<String>) -> Result<Self> {
        let after = after.map(|text| text.parse().map_err(|_| cursor_invalid())).transpose()?;
        Ok(Self { size: page::size(first)?, after })
    }

    /// The page of a list that has nothing.
    pub(super) fn none(&self) -> Connection<String, Run> {
        Connection::new(self.after.is_some(), false)
    }

    /// The page of the project's runs; of one card when it is named.
    pub(super) async fn of(
        &self,
        snapshot: &mut Snapshot,
        project: ProjectId,
        card: Option<CardId>,
    ) -> Result<Connection<String, Run>> {
        let (tenant, limit) = (snapshot.tenant, self.size + 1);
        let rows = runs::runs(snapshot.conn(), tenant, project, card, self.after, limit).await.or_internal()?;
        Ok(self.with(rows.into_iter().map(Arc::new).collect()))
    }

    /// The page of a card's runs, read together with those of other cards.
    pub(super) async fn of_card(
        &self,
        ctx: &Context<'_>,
        project: ProjectId,
        card: CardId,
    ) -> Result<Connection<String, Run>> {
        let key = RunsOf { project, card, before: self.after, limit: self.size + 1 };
        Ok(self.with(named(ctx, key).await?.unwrap_or_default()))
    }

    fn with(&self, mut rows: Vec<Arc<RunRow>>) -> Connection<String, Run> {
        let mut connection = self.none();
        connection.has_next_page = page::cut(&mut rows, self.size);
        let edge = |row: Arc<RunRow>| Edge::new(RunId::from_uuid(row.run).to_string(), Run(row));
        connection.edges.extend(rows.into_iter().map(edge));
        connection
    }
}
