//! One client's subscription to a run.

use std::sync::Arc;

use async_graphql::Result;
use domain::{RunId, TenantId};
use futures::{Stream, stream};
use outbox::progress::Reached;
use projections::runs;
use tokio::sync::broadcast::Receiver;

use super::{Slot, stirred};
use crate::error::{OrInternal as _, not_found};
use crate::scalar::Cursor;
use crate::schema::RunFrame;
use crate::snapshot::Snapshot;
use crate::state::Reading;

/// Follows a run from a cursor on, until it is over.
pub(crate) struct RunFollower {
    reading: Reading,
    tenant: TenantId,
    run: RunId,
    /// The position of the last frame; 0 stands before everything.
    seen: i64,
    progress: Receiver<Reached>,
    first: bool,
    over: bool,
    _slot: Slot,
}

impl RunFollower {
    pub(crate) fn new(reading: Reading, tenant: TenantId, run: RunId, since: Option<i64>, slot: Slot) -> Self {
        // Listening begins here, before anything is read.
        let progress = reading.progress.subscribe(runs::NAME, reading.log.partition_of(tenant));
        Self { reading, tenant, run, seen: since.unwrap_or(0), progress, first: true, over: false, _slot: slot }
    }

    /// The frames. An error, or the one that says that the run is over, is the last.
    pub(crate) fn frames(self) -> impl Stream<Item = Result<RunFrame>> + use<> {
        stream::unfold(self, |mut follower| async move {
            if follower.over {
                return None;
            }
            let frame = follower.next().await;
            follower.over = !matches!(&frame, Ok(Some(frame)) if frame.run.ended_at.is_none());
            frame.transpose().map(|frame| (frame, follower))
        })
    }

    /// The first frame, or the next one that holds a change; `None` when no more will come.
    async fn next(&mut self) -> Result<Option<RunFrame>> {
        loop {
            if !self.first && !stirred(&mut self.progress, self.run.uuid(), self.seen).await {
                return Ok(None);
            }
            let frame = self.read().await?;
            let cursor = frame.cursor.0.position;
            // A read model that is being rebuilt may stand before what the client has seen.
            let news = cursor > self.seen && (frame.run.position > self.seen || !frame.steps.is_empty());
            self.seen = self.seen.max(cursor);
            if news || std::mem::take(&mut self.first) {
                self.first = false;
                return Ok(Some(frame));
            }
        }
    }

    async fn read(&self) -> Result<RunFrame> {
        let mut snapshot = Snapshot::of(&self.reading, self.tenant, runs::NAME, None).await?;
        let run = runs::run(snapshot.conn(), self.tenant, self.run).await.or_internal()?.ok_or_else(not_found)?;
        let steps = runs::steps(snapshot.conn(), self.tenant, self.run, self.seen).await.or_internal()?;
        Ok(RunFrame {
            cursor: Cursor(snapshot.cursor),
            run: Arc::new(run),
            steps: steps.into_iter().map(Arc::new).collect(),
        })
    }
}
