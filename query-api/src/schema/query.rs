//! The questions.

use std::sync::Arc;

use access::Role as TokenRole;
use async_graphql::{Context, ID, Object, Result};
use domain::id::{CardKind, EnvironmentKind, ProjectKind, RunKind};
use projections::board::CardsOf;
use projections::runs::RunsOf;
use projections::{board as boards, card_history, environments, runs, usage as usages};
use time::{Date, OffsetDateTime};

use super::board::{self, Board};
use super::card::Card;
use super::cards::{self, CardFilter, CardOrder};
use super::environment::{Environment, EnvironmentsOf};
use super::history::HistoryOf;
use super::log::{self, LoggedEvent, ReadModel};
use super::node::{self, Node};
use super::page::{self, Connection, ForwardConnection, READ, Wanted};
use super::project::{Project, ProjectsOf};
use super::replay;
use super::run::{self, Run};
use super::tenant::{self, Me, Provider, Role, Tenant, Workspace};
use super::usage::{Days, Usage};
use crate::error::OrInternal as _;
use crate::loader;
use crate::replay::Step;
use crate::scalar::{Cursor, named};
use crate::snapshot::{Snapshot, visible};
use crate::viewer::Viewer;

/// Reads. Ids that are malformed, unknown or another tenant's are all answered with null. Each answer stands on one
/// moment; with `waitFor`, the cursor of a command's answer, on a moment when that command was visible, or the error
/// `not_yet_visible`.
pub(crate) struct Query;

/// Reads. Ids that are malformed, unknown or another tenant's are all answered with null. Each answer stands on one
/// moment; with `waitFor`, the cursor of a command's answer, on a moment when that command was visible, or the error
/// `not_yet_visible`.
#[Object]
impl Query {
    /// Who is asking, and their tenant.
    #[graphql(complexity = "READ + child_complexity")]
    async fn me(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Me> {
        let viewer = ctx.data::<Viewer>()?;
        visible(ctx, boards::NAME, wait_for).await?;
        let tenant = loader::named(ctx, viewer.tenant).await?;
        let role = match viewer.role {
            TokenRole::Owner => Some(Role::Owner),
            TokenRole::Auditor => Some(Role::Auditor),
            TokenRole::Operator => None,
        };
        Ok(Me { tenant: tenant.map(Tenant), actor: viewer.actor.to_string(), role })
    }

    /// Whatever an id names.
    #[graphql(complexity = "READ + child_complexity")]
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id, such as `prj_…`")] id: ID,
    ) -> Result<Option<Node>> {
        node::node(ctx, &id).await
    }

    /// Whatever several ids name, in their order; null where one names nothing.
    #[graphql(complexity = "READ + ids.len() * child_complexity")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ids, at most 200.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        node::nodes(ctx, &ids).await
    }

    /// Every workspace, the oldest first.
    #[graphql(complexity = "READ + 10 * child_complexity")]
    async fn workspaces(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Vec<Workspace>> {
        visible(ctx, boards::NAME, wait_for).await?;
        tenant::workspaces(ctx).await
    }

    /// Every account with a model vendor, the oldest first.
    #[graphql(complexity = "READ + 10 * child_complexity")]
    async fn providers(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Vec<Provider>> {
        visible(ctx, boards::NAME, wait_for).await?;
        tenant::providers(ctx).await
    }

    /// Projects, the oldest first.
    #[graphql(complexity = "page::cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn projects(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of this workspace, `wsp_…`")] workspace: Option<ID>,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Connection<ProjectsOf>> {
        let wanted = Wanted { first, after, last, before };
        visible(ctx, boards::NAME, wait_for).await?;
        match workspace.as_ref().map(named) {
            Some(None) => Connection::none(&wanted),
            workspace => Connection::of(ctx, ProjectsOf(workspace.flatten()), wanted).await,
        }
    }

    /// One project.
    #[graphql(complexity = "READ + child_complexity")]
    async fn project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, `prj_…`")] id: ID,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Option<Project>> {
        visible(ctx, boards::NAME, wait_for).await?;
        let Some(id) = named::<ProjectKind>(&id) else { return Ok(None) };
        Ok(loader::named(ctx, id).await?.map(Project))
    }

    /// A project's whole board; as of a moment, when one is named: then it is folded from the log itself, and what its cards
    /// name by id is shown as it is now.
    #[graphql(complexity = "READ + child_complexity")]
    async fn board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, `prj_…`")] project: ID,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
        #[graphql(desc = "The board as of this place in the log.")] as_of: Option<Cursor>,
        #[graphql(desc = "The board as it was recorded by this time.")] at: Option<OffsetDateTime>,
    ) -> Result<Option<Board>> {
        if let Some(moment) = replay::moment(as_of, at)? {
            return board::as_of(ctx, &project, moment).await;
        }
        let mut snapshot = Snapshot::open(ctx, boards::NAME, wait_for).await?;
        let (tenant, Some(id)) = (snapshot.tenant, named::<_>(&project)) else { return Ok(None) };
        let Some(row) = boards::project(snapshot.conn(), tenant, id).await.or_internal()? else { return Ok(None) };
        let cards = boards::cards(snapshot.conn(), tenant, id).await.or_internal()?;
        let cards = cards.into_iter().map(Arc::new).collect();
        Ok(Some(Board::of(Arc::new(row), cards, Cursor(snapshot.cursor))))
    }

    /// One card, on its board or off it.
    #[graphql(complexity = "READ + child_complexity")]
    async fn card(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The card, `crd_…`")] id: ID,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Option<Card>> {
        visible(ctx, boards::NAME, wait_for).await?;
        let Some(id) = named::<CardKind>(&id) else { return Ok(None) };
        Ok(loader::named(ctx, id).await?.map(Card))
    }

    /// A project's cards. An unknown project has none.
    #[graphql(complexity = "page::cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn cards(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, `prj_…`")] project: ID,
        #[graphql(desc = "Which of them; those on the board when null.")] filter: Option<CardFilter>,
        #[graphql(desc = "In which order.", default)] order_by: CardOrder,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Connection<CardsOf>> {
        let wanted = Wanted { first, after, last, before };
        visible(ctx, boards::NAME, wait_for).await?;
        let Some(project) = named::<ProjectKind>(&project) else { return Connection::none(&wanted) };
        match loader::named(ctx, project).await? {
            Some(project) => Connection::of(ctx, cards::cards_of(&project, filter, order_by)?, wanted).await,
            None => Connection::none(&wanted),
        }
    }

    /// What happened to a card, its runs and their environments, in order.
    #[graphql(complexity = "page::cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn card_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The card, `crd_…`")] card: ID,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only what stands after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only what stands before this edge's cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Option<Connection<HistoryOf>>> {
        let wanted = Wanted { first, after, last, before };
        visible(ctx, card_history::NAME, wait_for).await?;
        let Some(card) = named::<CardKind>(&card) else { return Ok(None) };
        let page = Connection::of(ctx, HistoryOf::new(ctx, card)?, wanted).await?;
        Ok(if page.is_of_nothing(ctx).await? { None } else { Some(page) })
    }

    /// What happened to a card, its runs and their environments, step by step from the log itself: who acted, what caused
    /// it, what the card was after it, and what proves it. For auditors.
    #[graphql(complexity = "page::cost(first, None, child_complexity)")]
    async fn card_replay(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The card, `crd_…`")] card: ID,
        #[graphql(desc = "The history as of this place in the log; now when neither this nor `at` is given.")]
        as_of: Option<Cursor>,
        #[graphql(desc = "The history as it was recorded by this time.")] at: Option<OffsetDateTime>,
        #[graphql(desc = "How many at most, 1 to 200; 50 when null.")] first: Option<i32>,
        #[graphql(desc = "Only what stands after this edge's cursor.")] after: Option<String>,
    ) -> Result<Option<ForwardConnection<Step, replay::Signed>>> {
        replay::replay(ctx, &card, replay::Wanted { as_of, at, first, after }).await
    }

    /// The tenant's log itself, event by event from the first one on. For auditors; to follow it, subscribe to `events`.
    #[graphql(complexity = "page::cost(first, None, child_complexity)")]
    async fn log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 200; 50 when null.")] first: Option<i32>,
        #[graphql(desc = "Only what stands after this place.")] after: Option<Cursor>,
    ) -> Result<ForwardConnection<LoggedEvent>> {
        log::page(ctx, first, after).await
    }

    /// How far each read model follows the log, for whoever asks.
    #[graphql(complexity = "READ + 10 * child_complexity")]
    async fn read_models(&self, ctx: &Context<'_>) -> Result<Vec<ReadModel>> {
        log::read_models(ctx).await
    }

    /// One run.
    #[graphql(complexity = "READ + child_complexity")]
    async fn run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The run, `run_…`")] id: ID,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Option<Run>> {
        visible(ctx, runs::NAME, wait_for).await?;
        let Some(id) = named::<RunKind>(&id) else { return Ok(None) };
        Ok(loader::named(ctx, id).await?.map(Run))
    }

    /// A project's runs, the newest first. An unknown project has none.
    #[graphql(complexity = "page::cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, `prj_…`")] project: ID,
        #[graphql(desc = "Only those of this card, `crd_…`")] card: Option<ID>,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Connection<RunsOf>> {
        let wanted = Wanted { first, after, last, before };
        visible(ctx, runs::NAME, wait_for).await?;
        match named(&project) {
            Some(project) => run::runs(ctx, project, card, wanted).await,
            None => Connection::none(&wanted),
        }
    }

    /// One environment.
    #[graphql(complexity = "READ + child_complexity")]
    async fn environment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The environment, `env_…`")] id: ID,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Option<Environment>> {
        visible(ctx, environments::NAME, wait_for).await?;
        let Some(id) = named::<EnvironmentKind>(&id) else { return Ok(None) };
        Ok(loader::named(ctx, id).await?.map(Environment))
    }

    /// A project's environments, the newest first. An unknown project has none.
    #[graphql(complexity = "page::cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn environments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, `prj_…`")] project: ID,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Connection<EnvironmentsOf>> {
        let wanted = Wanted { first, after, last, before };
        visible(ctx, environments::NAME, wait_for).await?;
        match named(&project) {
            Some(project) => Connection::of(ctx, EnvironmentsOf(project), wanted).await,
            None => Connection::none(&wanted),
        }
    }

    /// What was used in a range of days, by day, project, provider and model.
    #[graphql(complexity = "READ + child_complexity")]
    async fn usage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first day, UTC; 30 days before `to` when null.")] from: Option<Date>,
        #[graphql(desc = "The last day, UTC, included; today when null.")] to: Option<Date>,
        #[graphql(desc = "Only in this project, `prj_…`")] project: Option<ID>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<Usage> {
        let days = Days::new(from, to)?;
        visible(ctx, usages::NAME, wait_for).await?;
        match project.as_ref().map(named) {
            Some(None) => {
                let (from, to) = days.range();
                Ok(Usage { from, to, rows: vec![] })
            }
            project => Usage::of(ctx, days, project.flatten()).await,
        }
    }
}
