//! Cards.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use domain::id::{CardKind, ProviderKind, RunKind};
use domain::{CardId, ProjectId, RunId};
use projections::board::{self, CardRow};
use projections::runs::RunsOf;
use sqlx::types::Json;
use time::OffsetDateTime;

use super::history::HistoryOf;
use super::page::{self, Connection, Wanted};
use super::project::Project;
use super::run::Run;
use crate::loader::{all_named, named};
use crate::personal;
use crate::scalar::{id, int};

/// The agent that runs a card.
#[derive(SimpleObject)]
pub(super) struct Agent {
    /// What people call it.
    name: String,
    /// Whose account pays, `prv_…`; the project's choice when null.
    provider: Option<ID>,
    /// The model; the project's or provider's choice when null.
    model: Option<String>,
    /// What it is told besides the card.
    instructions: Option<String>,
}

/// How a card's last run ended, as the card remembers it.
pub(super) struct LastRun(board::LastRun);

/// How a card's last run ended, as the card remembers it.
#[Object]
impl LastRun {
    /// The run's id, `run_…`
    async fn id(&self) -> ID {
        id::<RunKind>(self.0.run)
    }

    /// `succeeded`, `failed`, `timed_out` or `cancelled`.
    async fn result(&self) -> &str {
        &self.0.result
    }

    /// The kind of failure, such as `tests_failed`.
    async fn failure(&self) -> Option<&str> {
        self.0.failure.as_deref()
    }

    /// The head of the pushed branch.
    async fn commit(&self) -> Option<&str> {
        self.0.commit.as_deref()
    }

    /// What was done, in the agent's words.
    async fn summary(&self) -> Option<&str> {
        self.0.summary.as_deref()
    }

    /// Why it ended without success, for people; `[erased]` when whoever said so was erased.
    async fn reason(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        personal::reason(ctx, self.0.reason.as_deref()).await
    }

    /// The run itself.
    #[graphql(complexity = "5 + child_complexity")]
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        Ok(named(ctx, RunId::from_uuid(self.0.run)).await?.map(Run))
    }
}

/// A piece of work on a board.
pub(crate) struct Card(pub(crate) Arc<CardRow>);

/// A piece of work on a board.
#[Object]
impl Card {
    /// `crd_…`
    pub(super) async fn id(&self) -> ID {
        id::<CardKind>(self.0.card)
    }

    /// Its project.
    #[graphql(complexity = "5 + child_complexity")]
    async fn project(&self, ctx: &Context<'_>) -> Result<Option<Project>> {
        Ok(named(ctx, ProjectId::from_uuid(self.0.project)).await?.map(Project))
    }

    /// The key of the lane it stands in.
    async fn lane(&self) -> &str {
        &self.0.lane
    }

    /// Its place in the lane: cards stand in the byte order of their ranks, and of their ids where ranks are equal.
    async fn rank(&self) -> &str {
        &self.0.rank
    }

    /// Its title.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// What is to be done.
    async fn description(&self) -> &str {
        &self.0.description
    }

    /// The agent that runs it, when one is assigned.
    async fn agent(&self) -> Option<Agent> {
        self.0.agent.as_ref().map(|Json(agent)| Agent {
            name: agent.name.to_string(),
            provider: agent.provider.map(|provider| id::<ProviderKind>(provider.uuid())),
            model: agent.model.as_ref().map(ToString::to_string),
            instructions: agent.instructions.as_ref().map(ToString::to_string),
        })
    }

    /// The cards it waits for.
    #[graphql(complexity = "5 + 10 * child_complexity")]
    async fn depends_on(&self, ctx: &Context<'_>) -> Result<Vec<Card>> {
        if self.0.depends_on.is_empty() {
            return Ok(vec![]);
        }
        let ids = self.0.depends_on.iter().map(|card| CardId::from_uuid(*card)).collect();
        Ok(all_named(ctx, ids).await?.into_iter().map(Card).collect())
    }

    /// What holds it up; null when nothing does, `[erased]` when whoever said so was erased.
    async fn blocked_reason(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        personal::reason(ctx, self.0.blocked_reason.as_deref()).await
    }

    /// The id of the run that is queued or under way, `run_…`
    async fn active_run_id(&self) -> Option<ID> {
        self.0.active_run.map(id::<RunKind>)
    }

    /// The run that is queued or under way.
    #[graphql(complexity = "5 + child_complexity")]
    async fn active_run(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        let Some(run) = self.0.active_run else { return Ok(None) };
        Ok(named(ctx, RunId::from_uuid(run)).await?.map(Run))
    }

    /// How its last run ended.
    async fn last_run(&self) -> Option<LastRun> {
        self.0.last_run.clone().map(|Json(last)| LastRun(last))
    }

    /// Its runs, the newest first.
    #[graphql(complexity = "page::cost_among(first, last, child_complexity)")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
    ) -> Result<Connection<RunsOf>> {
        let (project, card) = (ProjectId::from_uuid(self.0.project), Some(CardId::from_uuid(self.0.card)));
        Connection::of(ctx, RunsOf { project, card }, Wanted { first, after, last, before }).await
    }

    /// What happened to it, its runs and their environments, in order.
    #[graphql(complexity = "page::cost_among(first, last, child_complexity)")]
    async fn history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only what stands after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only what stands before this edge's cursor.")] before: Option<String>,
    ) -> Result<Connection<HistoryOf>> {
        let list = HistoryOf::new(ctx, CardId::from_uuid(self.0.card))?;
        Connection::of(ctx, list, Wanted { first, after, last, before }).await
    }

    /// Whether it is off the board.
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
