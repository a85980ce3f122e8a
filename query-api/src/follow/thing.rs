//! One client's subscription to whatever a few read models say of one thing.

use async_graphql::Result;
use domain::TenantId;
use futures::future::select_all;
use futures::{FutureExt as _, Stream, stream};
use outbox::consumer;
use outbox::progress::Reached;
use schemas::Cursor;
use tokio::sync::broadcast::Receiver;
use uuid::Uuid;

use super::{Slot, bear, stirred};
use crate::error::OrInternal as _;
use crate::scalar;
use crate::schema::Resync;
use crate::snapshot::Snapshot;
use crate::state::Reading;

/// A thing that can be followed.
pub(crate) trait Followed: Send + Sync + 'static {
    /// What a client is told.
    type Frame: Send;

    /// The read models that it is read from, and for each the topic under which it tells of the thing.
    fn sources(&self, tenant: TenantId) -> Vec<(&'static str, Uuid)>;

    /// What there is in the range.
    ///
    /// # Errors
    /// `not_found`, `internal`.
    fn read(&mut self, snapshot: &mut Snapshot, range: Range)
    -> impl Future<Output = Result<Read<Self::Frame>>> + Send;
}

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// What changed behind this; 0: all that there is.
    pub(crate) after: i64,
    /// Up to here.
    pub(crate) upto: scalar::Cursor,
    /// What to say when it is so much that the whole is read instead.
    pub(crate) resync: Resync,
}

/// What was read.
pub(crate) struct Read<F> {
    pub(crate) frame: F,
    /// Whether it holds a change.
    pub(crate) news: bool,
    /// Whether nothing will change any more.
    pub(crate) over: bool,
}

/// Follows a thing from a cursor on.
pub(crate) struct Follower<T> {
    reading: Reading,
    tenant: TenantId,
    thing: T,
    /// The position of the last frame; 0 stands before everything.
    seen: i64,
    progress: Vec<(&'static str, Uuid, Receiver<Reached>)>,
    first: bool,
    /// Whether the next frame must be looked for at once: a source was behind another one.
    behind: bool,
    over: bool,
    _slot: Slot,
}

impl<T: Followed> Follower<T> {
    pub(crate) fn new(reading: Reading, tenant: TenantId, thing: T, since: Option<i64>, slot: Slot) -> Self {
        let partition = reading.log.partition_of(tenant);
        // Listening begins here, before anything is read.
        let progress = (thing.sources(tenant).into_iter())
            .map(|(source, topic)| (source, topic, reading.progress.subscribe(source, partition)))
            .collect();
        let seen = since.unwrap_or(0);
        Self { reading, tenant, thing, seen, progress, first: true, behind: false, over: false, _slot: slot }
    }

    /// The frames: one at once, then one for each change. An error, or the one that says that it is over, is the last.
    pub(crate) fn frames(self) -> impl Stream<Item = Result<T::Frame>> + use<T> {
        stream::unfold(self, |mut follower| async move {
            if follower.over {
                return None;
            }
            let next = follower.next().await;
            follower.over = !matches!(&next, Ok(Some(read)) if !read.over);
            next.map(|read| read.map(|read| read.frame)).transpose().map(|frame| (frame, follower))
        })
    }

    /// The first frame, or the next one that holds a change; `None` when no more will come.
    async fn next(&mut self) -> Result<Option<Read<T::Frame>>> {
        loop {
            if !self.first && !self.behind && !self.stirred().await {
                return Ok(None);
            }
            let (read, position) = loop {
                match self.read().await {
                    Ok(read) => break read,
                    Err(error) => bear(error).await?,
                }
            };
            // A read model that is being rebuilt may stand before what the client has seen.
            let news = position > self.seen && read.news;
            self.seen = self.seen.max(position);
            if std::mem::take(&mut self.first) || news || read.over {
                return Ok(Some(read));
            }
        }
    }

    /// Waits until one of the sources may have changed; false when nobody will tell any more.
    async fn stirred(&mut self) -> bool {
        let seen = self.seen;
        let waits = self.progress.iter_mut().map(|(_, topic, reached)| stirred(reached, *topic, seen).boxed());
        select_all(waits).await.0
    }

    /// One snapshot: how far the hindmost of the sources is, and what there is up to there.
    async fn read(&mut self) -> Result<(Read<T::Frame>, i64)> {
        let (mut snapshot, positions) = self.even().await?;
        let position = positions.iter().copied().min().unwrap_or(0);
        self.behind = positions.iter().any(|other| *other > position);
        let range = Range {
            after: self.seen,
            upto: scalar::Cursor(Cursor { partition: snapshot.cursor.partition, position }),
            resync: if self.first { Resync::CursorTooOld } else { Resync::ClientTooSlow },
        };
        Ok((self.thing.read(&mut snapshot, range).await?, position))
    }

    /// A snapshot, and how far each source is in it: they are at the same place, if those behind get there in time. What
    /// the first one tells may be nothing to another, which then will not tell when it gets there.
    async fn even(&self) -> Result<(Snapshot, Vec<i64>)> {
        let (mut snapshot, mut positions) = self.positions(None).await?;
        if let Some(furthest) = positions.iter().copied().max()
            && let Some(hindmost) = positions.iter().position(|position| *position < furthest)
        {
            drop(snapshot);
            let wanted = Cursor { partition: self.reading.log.partition_of(self.tenant), position: furthest };
            (snapshot, positions) = self.positions(Some((hindmost, wanted))).await?;
        }
        Ok((snapshot, positions))
    }

    async fn positions(&self, wanted: Option<(usize, Cursor)>) -> Result<(Snapshot, Vec<i64>)> {
        let of = |index: usize| self.progress[index].0;
        let mut snapshot = match wanted {
            None => Snapshot::of(&self.reading, self.tenant, of(0), None).await?,
            Some((source, wanted)) => match Snapshot::of(&self.reading, self.tenant, of(source), Some(wanted)).await {
                Ok(snapshot) => snapshot,
                Err(_) => Snapshot::of(&self.reading, self.tenant, of(0), None).await?,
            },
        };
        let mut positions = Vec::with_capacity(self.progress.len());
        for (source, ..) in &self.progress {
            let partition = snapshot.cursor.partition;
            let reached = consumer::tenant_position(snapshot.conn(), source, partition, self.tenant).await;
            positions.push(reached.or_internal()?);
        }
        Ok((snapshot, positions))
    }
}
