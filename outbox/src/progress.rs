//! How far consumers are, for those who wait for it.
//!
//! Consumers tell it over core NATS, which is quick and may lose it; `log.consumers` is asked from time to time, and more
//! often while somebody waits. The truth stands in that table, in the snapshot that a reader reads from: this is a hint
//! that it is worth to look.

mod watcher;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use schemas::subject;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::consumer::Touched;
use crate::{Bus, Log};

/// Messages that a slow receiver may be behind before it is told that it missed some.
const BUFFER: usize = 256;
/// Topics that a message names; more count as "everything".
const MAX_TOPICS: usize = 200;

/// A consumer has reached a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The part of the log.
    pub partition: i32,
    /// The last position that it has applied.
    pub position: i64,
    /// What changed since the message before; empty when that is not known: treat it as everything.
    pub topics: Arc<[Uuid]>,
}

/// The body of a progress message.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    /// The position before the page.
    after: i64,
    /// The position after it.
    position: i64,
    /// What it changed; empty: not known.
    topics: BTreeSet<Uuid>,
}

/// Watches how far consumers are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// By consumer and partition; fixed at the start.
    lanes: HashMap<(String, i32), Lane>,
    waiters: AtomicUsize,
    /// Somebody has begun to wait.
    hurry: Notify,
}

#[derive(Debug)]
struct Lane {
    position: watch::Sender<i64>,
    /// How many tenants were parked when that was last asked.
    parked: AtomicI32,
    reached: broadcast::Sender<Reached>,
}

impl Progress {
    /// Watches `consumers` in all partitions until `shutdown`.
    pub fn start(log: Log, bus: Option<Bus>, consumers: &[&'static str], shutdown: CancellationToken) -> Self {
        let keys = consumers.iter().flat_map(|name| (0..log.partitions()).map(|p| ((*name).to_owned(), p)));
        let lane = |key| (key, Lane::new());
        let shared =
            Arc::new(Shared { lanes: keys.map(lane).collect(), waiters: AtomicUsize::new(0), hurry: Notify::new() });
        let consumers = consumers.iter().map(|name| (*name).to_owned()).collect();
        tokio::spawn(watcher::run(shared.clone(), log, bus, consumers, shutdown));
        Self { shared }
    }

    /// What a consumer reaches from now on. Ends at once when the consumer is not among those watched.
    pub fn subscribe(&self, consumer: &str, partition: i32) -> broadcast::Receiver<Reached> {
        match self.shared.lane(consumer, partition) {
            Some(lane) => lane.reached.subscribe(),
            None => broadcast::Sender::new(1).subscribe(),
        }
    }

    /// Waits until a consumer has reached a position.
    ///
    /// # Errors
    /// How far it was known to be when `timeout` had passed.
    pub async fn wait(&self, consumer: &str, partition: i32, position: i64, timeout: Duration) -> Result<(), i64> {
        let Some(lane) = self.shared.lane(consumer, partition) else { return Err(0) };
        let mut known = lane.position.subscribe();
        if *known.borrow_and_update() >= position {
            return Ok(());
        }
        let _waiting = Waiting::new(&self.shared);
        match tokio::time::timeout(timeout, known.wait_for(|known| *known >= position)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(*lane.position.borrow()),
        }
    }
}

impl Shared {
    fn lane(&self, consumer: &str, partition: i32) -> Option<&Lane> {
        self.lanes.get(&(consumer.to_owned(), partition))
    }
}

impl Lane {
    fn new() -> Self {
        Self { position: watch::Sender::new(0), parked: AtomicI32::new(0), reached: broadcast::Sender::new(BUFFER) }
    }

    /// Takes in what a consumer told: in order, or not at all.
    fn told(&self, partition: i32, told: Told) {
        let mut complete = false;
        let grown = self.position.send_if_modified(|known| {
            complete = told.after == *known;
            let grown = told.position > *known;
            *known = told.position.max(*known);
            grown
        });
        if grown {
            // After a lost message nobody knows what else changed.
            let topics = if complete { told.topics.into_iter().collect() } else { Arc::default() };
            self.send(Reached { partition, position: told.position, topics });
        }
    }

    /// Takes in what the table says, which was asked when `before` was known. Lower than that: it is being rebuilt.
    fn read(&self, partition: i32, before: i64, position: i64, parked: i32) {
        // A tenant that is taken up again changes what its readers see, and no position.
        let unparked = self.parked.swap(parked, Ordering::Relaxed) != parked;
        let changed = self.position.send_if_modified(|known| {
            let changed = position > *known || position < before;
            if changed {
                *known = position;
            }
            changed
        });
        if changed || unparked {
            self.send(Reached { partition, position, topics: Arc::default() });
        }
    }

    fn send(&self, reached: Reached) {
        // Nobody may be listening.
        let _ = self.reached.send(reached);
    }
}

/// Counts as waiting until dropped.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiters.fetch_add(1, Ordering::Relaxed);
        shared.hurry.notify_one();
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells that a consumer has applied a page. A hint: it may get lost.
pub(crate) async fn tell(bus: &Bus, consumer: &str, partition: i32, after: i64, position: i64, touched: Touched) {
    let topics = if touched.0.len() > MAX_TOPICS { BTreeSet::new() } else { touched.0 };
    let Ok(body) = serde_json::to_vec(&Told { after, position, topics }) else { return };
    if let Err(error) = bus.client().publish(subject::progress(consumer, partition), body.into()).await {
        tracing::debug!(consumer, %error, "progress was not told");
    }
}
