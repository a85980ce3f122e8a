//! One client's subscription to a board.

use std::sync::Arc;

use async_graphql::Result;
use domain::{ProjectId, TenantId};
use futures::{Stream, stream};
use projections::board;
use schemas::Cursor;
use tokio::sync::broadcast::error::RecvError;

use super::boards::{Delta, Watch, delta};
use super::{Slot, bear};
use crate::error::{OrInternal as _, not_found};
use crate::scalar;
use crate::schema::{Board, BoardFrame, Resync};
use crate::snapshot::Snapshot;
use crate::state::Reading;

/// Cards that a frame holds as changes, at most; more than that is no less than a board.
const MOST: usize = 500;

/// Follows a board from a cursor on.
pub(crate) struct BoardFollower {
    reading: Reading,
    tenant: TenantId,
    project: ProjectId,
    /// The position of the last frame; none before the first.
    seen: Option<i64>,
    watch: Watch,
    next: Next,
    _slot: Slot,
}

/// What the next frame is.
enum Next {
    /// The first one, which comes in any case.
    First,
    /// One that holds a change.
    Change,
    /// None: the subscription is over.
    Nothing,
}

impl BoardFollower {
    pub(crate) fn new(reading: Reading, tenant: TenantId, project: ProjectId, since: Option<i64>, slot: Slot) -> Self {
        // Listening begins here, before anything is read.
        let watch = reading.boards.watch(tenant, project);
        Self { reading, tenant, project, seen: since, watch, next: Next::First, _slot: slot }
    }

    /// The frames. An error is the last one.
    pub(crate) fn frames(self) -> impl Stream<Item = Result<BoardFrame>> + use<> {
        stream::unfold(self, |mut follower| async move {
            let frame = match follower.next {
                Next::Nothing => return None,
                Next::First => follower.first().await.map(Some),
                Next::Change => follower.change().await,
            };
            follower.next = if matches!(frame, Ok(Some(_))) { Next::Change } else { Next::Nothing };
            frame.transpose().map(|frame| (frame, follower))
        })
    }

    async fn first(&mut self) -> Result<BoardFrame> {
        loop {
            match self.begin().await {
                Err(error) => bear(error).await?,
                frame => return frame,
            }
        }
    }

    async fn begin(&mut self) -> Result<BoardFrame> {
        let Some(since) = self.seen else {
            let frame = self.snapshot().await?;
            self.seen = Some(frame.cursor.0.position);
            return Ok(frame);
        };
        match delta(&self.reading.log, self.tenant, self.project, since).await.or_internal()? {
            Some(delta) if delta.cards.len() > MOST => self.resync(Resync::CursorTooOld).await,
            Some(delta) => self.frame(&delta, since),
            // The read model is no further than the client; whether there is such a board must be known all the same.
            None => {
                self.snapshot().await?;
                Ok(BoardFrame {
                    cursor: self.cursor(since),
                    snapshot: None,
                    resync: None,
                    cards: vec![],
                    project: None,
                })
            }
        }
    }

    async fn snapshot(&self) -> Result<BoardFrame> {
        let mut snapshot = Snapshot::of(&self.reading, self.tenant, board::NAME, None).await?;
        let row = board::project(snapshot.conn(), self.tenant, self.project).await.or_internal()?;
        let row = Arc::new(row.ok_or_else(not_found)?);
        let cards = board::cards(snapshot.conn(), self.tenant, self.project).await.or_internal()?;
        let cursor = scalar::Cursor(snapshot.cursor);
        let whole = Board::of(row, cards.into_iter().map(Arc::new).collect(), cursor);
        Ok(BoardFrame { cursor, snapshot: Some(whole), resync: None, cards: vec![], project: None })
    }

    /// The whole board instead of all that the client missed.
    async fn resync(&mut self, why: Resync) -> Result<BoardFrame> {
        let frame = BoardFrame { resync: Some(why), ..self.snapshot().await? };
        self.seen = Some(frame.cursor.0.position);
        Ok(frame)
    }

    /// The next frame that holds a change; `None` when no more will come.
    async fn change(&mut self) -> Result<Option<BoardFrame>> {
        loop {
            let seen = self.seen.unwrap_or(0);
            let handed = match self.watch.deltas.recv().await {
                Ok(delta) if delta.upto <= seen => continue,
                Ok(delta) if delta.after <= seen => Some(delta),
                // It begins after the client's cursor, or messages were missed: the range between is read here.
                Ok(_) | Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return Ok(None),
            };
            let frame = loop {
                match self.news(seen, handed.clone()).await {
                    Ok(frame) => break frame,
                    Err(error) => bear(error).await?,
                }
            };
            if frame.as_ref().is_some_and(BoardFrame::holds_something) {
                return Ok(frame);
            }
        }
    }

    /// What is new to a client that has seen `seen`: of what was handed out, or else of what there is.
    async fn news(&mut self, seen: i64, handed: Option<Arc<Delta>>) -> Result<Option<BoardFrame>> {
        let found = match handed {
            Some(handed) => Some(handed),
            None => delta(&self.reading.log, self.tenant, self.project, seen).await.or_internal()?.map(Arc::new),
        };
        match found {
            Some(delta) if delta.cards.len() > MOST => self.resync(Resync::ClientTooSlow).await.map(Some),
            Some(delta) => self.frame(&delta, seen).map(Some),
            None => Ok(None),
        }
    }

    /// What of `delta` is new to a client that has seen `seen`.
    fn frame(&mut self, delta: &Delta, seen: i64) -> Result<BoardFrame> {
        // The rows were read as the tenant's: no project there, no frame.
        let project = delta.project.clone().ok_or_else(not_found)?;
        self.seen = Some(delta.upto);
        Ok(BoardFrame {
            cursor: self.cursor(delta.upto),
            snapshot: None,
            resync: None,
            cards: delta.cards.iter().filter(|card| card.position > seen).cloned().collect(),
            project: Some(project).filter(|project| project.position > seen),
        })
    }

    fn cursor(&self, position: i64) -> scalar::Cursor {
        scalar::Cursor(Cursor { partition: self.reading.log.partition_of(self.tenant), position })
    }
}

#[cfg(test)]
mod tests;
