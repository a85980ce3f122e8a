//! The subscriptions.

use async_graphql::{Context, ID, Result, Subscription as SubscriptionRoot};
use domain::id::ProjectKind;
use domain::{Id, Kind, ProjectId, TenantId};
use futures::{Stream, StreamExt as _};
use projections::{board, card_history, environments, runs, usage};
use time::Date;

use super::log;
use super::notification::NotificationKind;
use super::page::READ;
use super::usage::Days;
use super::{
    BoardFrame, CardFrame, EnvironmentsFrame, EventsFrame, NotificationsFrame, RunFrame, RunLogFrame, UsageFrame,
};
use crate::error::{OrInternal as _, not_found};
use crate::follow::{
    BoardFollower, CardFollowed, EnvironmentsFollowed, Followed, Follower, LogFollower, RunFollowed, RunLogFollowed,
    Slot, Slots, UsageFollowed, patiently,
};
use crate::scalar::{self, Cursor};
use crate::snapshot::{self, Snapshot};
use crate::state::Reading;
use crate::viewer::Viewer;

/// What every subscription begins with.
struct Start {
    reading: Reading,
    tenant: TenantId,
    /// The position that it goes on from.
    since: Option<i64>,
    slot: Slot,
}

impl Start {
    /// Takes a place, and waits for a database that cannot be asked.
    ///
    /// # Errors
    /// `too_many_subscriptions`, `cursor_invalid`, `internal`.
    async fn new(ctx: &Context<'_>, since: Option<Cursor>) -> Result<Self> {
        let (reading, tenant) = (ctx.data::<Reading>()?.clone(), ctx.data::<Viewer>()?.tenant);
        let slot = Slots::take(ctx)?;
        let since = patiently(|| snapshot::since(&reading, tenant, since)).await?;
        Ok(Self { reading, tenant, since, slot })
    }

    fn follow<T: Followed>(self, thing: T) -> impl Stream<Item = Result<T::Frame>> + use<T> {
        Follower::new(self.reading, self.tenant, thing, self.since, self.slot).frames()
    }
}

/// Waits until the model has what a client wants to see, if it wants to.
async fn visible(ctx: &Context<'_>, model: &'static str, wait_for: Option<Cursor>) -> Result<()> {
    if wait_for.is_some() {
        patiently(|| Snapshot::open(ctx, model, wait_for)).await?;
    }
    Ok(())
}

/// The id that a client names.
///
/// # Errors
/// `not_found`, when it is none.
fn named<K: Kind>(id: &ID) -> Result<Id<K>> {
    scalar::named(id).ok_or_else(not_found)
}

/// The project of that id, when it exists.
///
/// # Errors
/// `not_found`, `internal`.
async fn project_of(ctx: &Context<'_>, id: &ID) -> Result<ProjectId> {
    let project = named::<ProjectKind>(id)?;
    patiently(|| async {
        let mut snapshot = Snapshot::open(ctx, board::NAME, None).await?;
        let tenant = snapshot.tenant;
        board::project(snapshot.conn(), tenant, project).await.or_internal()?.ok_or_else(not_found)
    })
    .await?;
    Ok(project)
}

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
        let (Start { reading, tenant, since, slot }, project) = (Start::new(ctx, since).await?, named(&project)?);
        visible(ctx, board::NAME, wait_for).await?;
        Ok(BoardFollower::new(reading, tenant, project, since, slot).frames())
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
        let (start, run) = (Start::new(ctx, since).await?, named(&run)?);
        visible(ctx, runs::NAME, wait_for).await?;
        Ok(start.follow(RunFollowed(run)))
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
        let (start, run) = (Start::new(ctx, since).await?, named(&run)?);
        visible(ctx, runs::NAME, wait_for).await?;
        Ok(start.follow(RunLogFollowed(run)))
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
        let (start, card) = (Start::new(ctx, since).await?, named(&card)?);
        visible(ctx, card_history::NAME, wait_for).await?;
        let row = patiently(|| async {
            let mut snapshot = Snapshot::open(ctx, board::NAME, wait_for).await?;
            board::card(snapshot.conn(), start.tenant, card).await.or_internal()?.ok_or_else(not_found)
        })
        .await?;
        Ok(start.follow(CardFollowed { card, project: ProjectId::from_uuid(row.project) }))
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
        let (start, project) = (Start::new(ctx, since).await?, project_of(ctx, &project).await?);
        visible(ctx, environments::NAME, wait_for).await?;
        Ok(start.follow(EnvironmentsFollowed(project)))
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
        let (start, days) = (Start::new(ctx, None).await?, Days::new(from, to)?);
        let project = match project {
            Some(project) => Some(project_of(ctx, &project).await?),
            None => None,
        };
        visible(ctx, usage::NAME, wait_for).await?;
        Ok(start.follow(UsageFollowed::new(days, project)))
    }

    /// Follows what people want to be told: how runs end, what holds cards up, what is said about them. Begins now, or
    /// with `since` behind that. The first frame comes at once and holds nothing but a cursor.
    #[graphql(complexity = "READ + child_complexity")]
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Go on from here.")] since: Option<Cursor>,
    ) -> Result<impl Stream<Item = NotificationsFrame> + use<>> {
        let Start { reading, tenant, since, slot } = Start::new(ctx, since).await?;
        let after = match since {
            Some(since) => since,
            None => {
                patiently(|| async { reading.log.head(reading.log.partition_of(tenant)).await.or_internal() }).await?
            }
        };
        let follower = LogFollower::new(&reading, tenant, Some(NotificationKind::types()), after, slot)?;
        Ok(follower.pages().then(move |page| {
            let reading = reading.clone();
            async move {
                let schemas::Cursor { partition, position } = page.cursor.0;
                // What it is about should be there for whoever is told; if it is not in time, it is null.
                for model in [runs::NAME, board::NAME].into_iter().filter(|_| !page.events.is_empty()) {
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
        let Start { reading, tenant, since, slot } = Start::new(ctx, since).await?;
        let types = types.map(log::types).transpose()?;
        Ok(LogFollower::new(&reading, tenant, types, since.unwrap_or(0), slot)?.pages().map(EventsFrame))
    }
}
