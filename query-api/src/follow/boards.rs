//! Boards that somebody watches: one reader for each, however many watch.
//!
//! The reader fetches what changed once and hands it to all. What it hands out names the range that it covers, so each
//! follower sees by itself whether it fits its client's cursor, and reads for itself when it does not (it came in
//! between, or was too slow). A board that nobody watches any more has no reader.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{ProjectId, TenantId};
use metrics::gauge;
use outbox::progress::Progress;
use outbox::{Log, LogError, consumer};
use projections::board::{self, CardRow, ProjectRow};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::stirred;

/// Changes that a follower may be behind before it has to read for itself.
const BEHIND: usize = 64;
/// How long a reader waits after an error.
const AGAIN: Duration = Duration::from_secs(1);

type Key = (TenantId, ProjectId);

/// Everything that changed on a board in a range of positions.
#[derive(Debug)]
pub(super) struct Delta {
    /// The range begins behind this.
    pub(super) after: i64,
    /// The range ends with this.
    pub(super) upto: i64,
    /// The project as it is now; none when the tenant has no such project.
    pub(super) project: Option<Arc<ProjectRow>>,
    /// The cards whose last change is in the range.
    pub(super) cards: Vec<Arc<CardRow>>,
}

/// What changed on a board after `after`; `None` when its read model is no further.
pub(super) async fn delta(
    log: &Log,
    tenant: TenantId,
    project: ProjectId,
    after: i64,
) -> Result<Option<Delta>, LogError> {
    let mut tx = projections::read(log, tenant).await?;
    let upto = consumer::tenant_position(&mut tx, board::NAME, log.partition_of(tenant), tenant).await?;
    if upto <= after {
        return Ok(None);
    }
    let row = board::project(&mut tx, tenant, project).await?.map(Arc::new);
    let cards = board::cards_changed(&mut tx, tenant, project, after).await?;
    Ok(Some(Delta { after, upto, project: row, cards: cards.into_iter().map(Arc::new).collect() }))
}

/// The boards that somebody of this process's clients watches.
pub(crate) struct Boards {
    log: Log,
    progress: Progress,
    watched: Arc<Mutex<HashMap<Key, Watched>>>,
}

struct Watched {
    deltas: broadcast::Sender<Arc<Delta>>,
    watchers: usize,
    /// Stops the reader.
    _reader: DropGuard,
}

/// What changes on a board from now on. While it lives, the board has a reader.
pub(super) struct Watch {
    pub(super) deltas: broadcast::Receiver<Arc<Delta>>,
    key: Key,
    watched: Arc<Mutex<HashMap<Key, Watched>>>,
}

/// A panic elsewhere leaves a map of whole entries behind, so the lock's poison means nothing here.
fn lock(watched: &Mutex<HashMap<Key, Watched>>) -> MutexGuard<'_, HashMap<Key, Watched>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets operators see how many boards are watched.
fn tell(watched: &HashMap<Key, Watched>) {
    gauge!("agentworks_graphql_watched_boards").set(u32::try_from(watched.len()).unwrap_or(u32::MAX));
}

impl Boards {
    pub(crate) fn new(log: Log, progress: Progress) -> Self {
        Self { log, progress, watched: Arc::default() }
    }

    /// Watches a board of the tenant. That it exists is the follower's to find out.
    pub(super) fn watch(&self, tenant: TenantId, project: ProjectId) -> Watch {
        let key = (tenant, project);
        let mut watched = lock(&self.watched);
        let entry = match watched.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let (deltas, stop) = (broadcast::Sender::new(BEHIND), CancellationToken::new());
                let reader = read(self.log.clone(), self.progress.clone(), key, deltas.clone());
                tokio::spawn(stop.clone().run_until_cancelled_owned(reader));
                entry.insert(Watched { deltas, watchers: 0, _reader: stop.drop_guard() })
            }
        };
        entry.watchers += 1;
        let deltas = entry.deltas.subscribe();
        tell(&watched);
        Watch { deltas, key, watched: self.watched.clone() }
    }
}

#[cfg(test)]
impl Boards {
    /// How many boards have a reader.
    pub(super) fn watched(&self) -> usize {
        lock(&self.watched).len()
    }
}

#[cfg(test)]
impl Watch {
    /// One that a test feeds.
    pub(super) fn fed_by(deltas: broadcast::Receiver<Arc<Delta>>, tenant: TenantId, project: ProjectId) -> Self {
        Self { deltas, key: (tenant, project), watched: Arc::default() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = lock(&self.watched);
        if let Entry::Occupied(mut entry) = watched.entry(self.key) {
            entry.get_mut().watchers -= 1;
            if entry.get().watchers == 0 {
                entry.remove();
            }
        }
        tell(&watched);
    }
}

/// Hands out what changes on a board, until it is stopped or nobody tells of progress any more.
async fn read(log: Log, progress: Progress, (tenant, project): Key, deltas: broadcast::Sender<Arc<Delta>>) {
    let mut reached = progress.subscribe(board::NAME, log.partition_of(tenant));
    let mut seen = None;
    loop {
        let found = match seen {
            // Up to here, whoever watches reads for themselves.
            None => position(&log, tenant).await.map(|position| {
                seen = Some(position);
                None
            }),
            Some(seen) => delta(&log, tenant, project, seen).await,
        };
        match found {
            Ok(Some(delta)) => {
                seen = Some(delta.upto);
                // Nobody listens: this reader is about to be stopped.
                let _ = deltas.send(Arc::new(delta));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "a watched board could not be read; trying again");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        }
        if !stirred(&mut reached, project.uuid(), seen.unwrap_or(0)).await {
            return;
        }
    }
}

async fn position(log: &Log, tenant: TenantId) -> Result<i64, LogError> {
    let mut tx = projections::read(log, tenant).await?;
    Ok(consumer::tenant_position(&mut tx, board::NAME, log.partition_of(tenant), tenant).await?)
}
