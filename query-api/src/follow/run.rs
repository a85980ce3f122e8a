//! Runs as they go on, and what their agents write.

use std::sync::Arc;

use async_graphql::Result;
use domain::{RunId, TenantId};
use projections::runs::{self, RunRow, StepRow};
use uuid::Uuid;

use super::thing::{Followed, Range, Read};
use crate::error::{OrInternal as _, not_found};
use crate::schema::{RunFrame, RunLogFrame};
use crate::snapshot::Snapshot;

/// A run, until it is over.
pub(crate) struct RunFollowed(pub(crate) RunId);

/// What the agents of a run write, until it is over.
pub(crate) struct RunLogFollowed(pub(crate) RunId);

impl Followed for RunFollowed {
    type Frame = RunFrame;

    fn sources(&self, _: TenantId) -> Vec<(&'static str, Uuid)> {
        vec![(runs::NAME, self.0.uuid())]
    }

    async fn read(&mut self, snapshot: &mut Snapshot, range: Range) -> Result<Read<RunFrame>> {
        let (run, steps) = read(snapshot, self.0, range.after).await?;
        let (news, over) = (run.position > range.after || !steps.is_empty(), run.ended_at.is_some());
        Ok(Read { frame: RunFrame { cursor: range.upto, run, steps }, news, over })
    }
}

impl Followed for RunLogFollowed {
    type Frame = RunLogFrame;

    fn sources(&self, _: TenantId) -> Vec<(&'static str, Uuid)> {
        vec![(runs::NAME, self.0.uuid())]
    }

    async fn read(&mut self, snapshot: &mut Snapshot, range: Range) -> Result<Read<RunLogFrame>> {
        let (run, steps) = read(snapshot, self.0, range.after).await?;
        let (news, over) = (!steps.is_empty(), run.ended_at.is_some());
        Ok(Read { frame: RunLogFrame { cursor: range.upto, steps, ended: over }, news, over })
    }
}

async fn read(snapshot: &mut Snapshot, id: RunId, seen: i64) -> Result<(Arc<RunRow>, Vec<Arc<StepRow>>)> {
    let tenant = snapshot.tenant;
    let run = runs::run(snapshot.conn(), tenant, id).await.or_internal()?.ok_or_else(not_found)?;
    let steps = runs::steps(snapshot.conn(), tenant, id, seen).await.or_internal()?;
    Ok((Arc::new(run), steps.into_iter().map(Arc::new).collect()))
}
