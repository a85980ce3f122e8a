//! The subscriptions.

use async_graphql::{Context, ID, Result, Subscription as SubscriptionRoot};
use futures::Stream;
use projections::{board, runs};

use super::page::READ;
use super::{BoardFrame, RunFrame};
use crate::error::not_found;
use crate::follow::{BoardFollower, RunFollower, Slots};
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
        Ok(RunFollower::new(reading.clone(), viewer.tenant, run, since, slot).frames())
    }
}
