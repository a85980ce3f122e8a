//! The subscriptions.

use async_graphql::{Context, ID, Result, Subscription as SubscriptionRoot};
use domain::ProjectId;
use domain::id::ProjectKind;
use futures::{Stream, StreamExt as _};
use projections::{board, card_history, environments, runs, usage};
use time::Date;

use super::log::{self, NotificationKind};
use super::page::READ;
use super::usage::Days;
use super::{
    BoardFrame, CardFrame, EnvironmentsFrame, EventsFrame, NotificationsFrame, RunFrame, RunLogFrame, UsageFrame,
};
use crate::error::{OrInternal as _, not_found};
use crate::follow::{
    BoardFollower, CardFollowed, EnvironmentsFollowed, Follower, LogFollower, RunFollowed, RunLogFollowed, Slots,
    UsageFollowed,
};
use crate::scalar::{Cursor, named};
use crate::snapshot::{Snapshot, since as position};
use crate::state::Reading;
use crate::viewer::Viewer;

/// Follows things as they change. Each frame carries a cursor: a client that gives the last one as `since`, to any
/// instance, gets exactly what it missed. Unknown ids, and another tenant's, end with the error `not_found`.
pub(crate) struct Subscription;

/// Follows things as they change. Each frame carries a cursor: a client that gives the last one as `since`, to any
/// instance, gets exactly what it missed. Unknown ids, and another tenant's, end with the error `not_found`.
#[SubscriptionRoot]
impl Subscription {
    /// Follows a board. The first frame comes at once: the whole board, or with `since` what changed since then.
    #[graphql(complexity = "READ + child_complexity")]
    async fn board_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, `prj_…`")] project: ID,
        #[graphql(desc = "Go on from here.")] since: Option<Cursor>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<BoardFrame>> + use<>> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        let slot = Slots::take(ctx)?;
        let since = position(reading, viewer.tenant, since).await?;
        let project = named(&project).ok_or_else(not_found)?;
        if wait_for.is_some() {
            Snapshot::open(ctx, board::NAME, wait_for).await?;
        }
        Ok(BoardFollower::new(reading.clone(), viewer.tenant, project, since, slot).frames())
    }

    /// Follows a run, and completes after the frame that says that it is over. The first frame comes at once.
    #[graphql(complexity = "READ + child_complexity")]
    async fn run_progress(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The run, `run_…`")] run: ID,
        #[graphql(desc = "Go on from here.")] since: Option<Cursor>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<RunFrame>> + use<>> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        let slot = Slots::take(ctx)?;
        let since = position(reading, viewer.tenant, since).await?;
        let run = named(&run).ok_or_else(not_found)?;
        if wait_for.is_some() {
            Snapshot::open(ctx, runs::NAME, wait_for).await?;
        }
        Ok(Follower::new(reading.clone(), viewer.tenant, RunFollowed(run), since, slot).frames())
    }

    /// Follows what the agents of a run write, and completes when the run is over. The first frame comes at once.
    #[graphql(complexity = "READ + child_complexity")]
    async fn run_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The run, `run_…`")] run: ID,
        #[graphql(desc = "Go on from here.")] since: Option<Cursor>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<RunLogFrame>> + use<>> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        let slot = Slots::take(ctx)?;
        let since = position(reading, viewer.tenant, since).await?;
        let run = named(&run).ok_or_else(not_found)?;
        if wait_for.is_some() {
            Snapshot::open(ctx, runs::NAME, wait_for).await?;
        }
        Ok(Follower::new(reading.clone(), viewer.tenant, RunLogFollowed(run), since, slot).frames())
    }

    /// Follows a card and its history: its own events, those of its runs and of their environments. The first frame comes
    /// at once.
    #[graphql(complexity = "READ + child_complexity")]
    async fn card_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The card, `crd_…`")] card: ID,
        #[graphql(desc = "Go on from here.")] since: Option<Cursor>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<CardFrame>> + use<>> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        let slot = Slots::take(ctx)?;
        let since = position(reading, viewer.tenant, since).await?;
        let card = named(&card).ok_or_else(not_found)?;
        if wait_for.is_some() {
            Snapshot::open(ctx, card_history::NAME, wait_for).await?;
        }
        let mut snapshot = Snapshot::open(ctx, board::NAME, wait_for).await?;
        let row = board::card(snapshot.conn(), viewer.tenant, card).await.or_internal()?.ok_or_else(not_found)?;
        let followed = CardFollowed { card, project: ProjectId::from_uuid(row.project) };
        Ok(Follower::new(reading.clone(), viewer.tenant, followed, since, slot).frames())
    }

    /// Follows a project's environments. The first frame comes at once: those that are not over, or with `since` what
    /// changed since then.
    #[graphql(complexity = "READ + child_complexity")]
    async fn environment_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project, `prj_…`")] project: ID,
        #[graphql(desc = "Go on from here.")] since: Option<Cursor>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<EnvironmentsFrame>> + use<>> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        let slot = Slots::take(ctx)?;
        let since = position(reading, viewer.tenant, since).await?;
        let project = known_project(ctx, &project).await?;
        if wait_for.is_some() {
            Snapshot::open(ctx, environments::NAME, wait_for).await?;
        }
        Ok(Follower::new(reading.clone(), viewer.tenant, EnvironmentsFollowed(project), since, slot).frames())
    }

    /// Follows what was used in a range of days. Each frame is whole; the first comes at once, each other one when
    /// something was added.
    #[graphql(complexity = "READ + child_complexity")]
    async fn usage_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first day, UTC; 30 days before `to` when null.")] from: Option<Date>,
        #[graphql(desc = "The last day, UTC, included; always today when null.")] to: Option<Date>,
        #[graphql(desc = "Only in this project, `prj_…`")] project: Option<ID>,
        #[graphql(desc = "Wait until this is visible.")] wait_for: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<UsageFrame>> + use<>> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        let slot = Slots::take(ctx)?;
        let days = Days::new(from, to)?;
        let project = match project {
            Some(project) => Some(known_project(ctx, &project).await?),
            None => None,
        };
        if wait_for.is_some() {
            Snapshot::open(ctx, usage::NAME, wait_for).await?;
        }
        Ok(Follower::new(reading.clone(), viewer.tenant, UsageFollowed::new(days, project), None, slot).frames())
    }

    /// Follows what people want to be told: how runs end, what holds cards up, what is said about them. Begins now, or
    /// with `since` behind that. The first frame comes at once and holds nothing but a cursor.
    #[graphql(complexity = "READ + child_complexity")]
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Go on from here.")] since: Option<Cursor>,
    ) -> Result<impl Stream<Item = NotificationsFrame> + use<>> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        let slot = Slots::take(ctx)?;
        let after = match position(reading, viewer.tenant, since).await? {
            Some(since) => since,
            None => reading.log.head(reading.log.partition_of(viewer.tenant)).await.or_internal()?,
        };
        let follower = LogFollower::new(reading, viewer.tenant, Some(NotificationKind::types()), after, slot)?;
        let reading = reading.clone();
        Ok(follower.pages().then(move |page| {
            let reading = reading.clone();
            async move {
                // The cards and runs that it is about should be there for whoever is told; if not, they are null.
                let schemas::Cursor { partition, position } = page.cursor.0;
                for model in [runs::NAME, board::NAME] {
                    let _ = reading.progress.wait(model, partition, position, reading.wait).await;
                }
                NotificationsFrame(page)
            }
        }))
    }

    /// Follows the tenant's log from its first event, or with `since` from behind that. The first frame comes at once and
    /// holds nothing but a cursor. For auditors; `GET /v1/events` is the same for programs.
    #[graphql(complexity = "READ + child_complexity")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Go on from here.")] since: Option<Cursor>,
        #[graphql(desc = "Only events of these types, such as `CardMoved`.")] types: Option<Vec<String>>,
    ) -> Result<impl Stream<Item = EventsFrame> + use<>> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        let slot = Slots::take(ctx)?;
        let types = types.map(log::types).transpose()?;
        let after = position(reading, viewer.tenant, since).await?.unwrap_or(0);
        Ok(LogFollower::new(reading, viewer.tenant, types, after, slot)?.pages().map(EventsFrame))
    }
}

/// The project of that id.
///
/// # Errors
/// `not_found`, `internal`.
async fn known_project(ctx: &Context<'_>, id: &ID) -> Result<ProjectId> {
    let project = named::<ProjectKind>(id).ok_or_else(not_found)?;
    let mut snapshot = Snapshot::open(ctx, board::NAME, None).await?;
    let tenant = snapshot.tenant;
    board::project(snapshot.conn(), tenant, project).await.or_internal()?.ok_or_else(not_found)?;
    Ok(project)
}
