//! The task behind [`Progress`](super::Progress).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use schemas::subject;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Shared, Told};
use crate::{Bus, Log};

/// How often the table is asked.
const POLL: Duration = Duration::from_secs(1);
/// How often while somebody waits.
const HURRIED_POLL: Duration = Duration::from_millis(250);

/// Takes in progress messages and what the table says, until `shutdown`.
pub(super) async fn run(
    shared: Arc<Shared>,
    log: Log,
    bus: Option<Bus>,
    consumers: Vec<String>,
    shutdown: CancellationToken,
) {
    let mut messages = subscribe(&shared, bus.as_ref()).await;
    let mut asked = Instant::now();
    poll(&shared, &log, &consumers).await;
    loop {
        let every = if shared.waiters.load(Ordering::Relaxed) > 0 { HURRIED_POLL } else { POLL };
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(message) = messages.next() => take(&shared, &message),
            // Wakes the loop, which then knows that somebody waits.
            () = shared.hurry.notified() => {}
            () = tokio::time::sleep_until(asked + every) => {
                asked = Instant::now();
                poll(&shared, &log, &consumers).await;
            }
        }
    }
}

async fn subscribe(shared: &Shared, bus: Option<&Bus>) -> SelectAll<Subscriber> {
    let mut all = Vec::new();
    if let Some(bus) = bus {
        for (consumer, partition) in shared.lanes.keys() {
            match bus.client().subscribe(subject::progress(consumer, *partition)).await {
                Ok(subscriber) => all.push(subscriber),
                Err(error) => tracing::warn!(consumer, %error, "cannot subscribe to progress; polling instead"),
            }
        }
    }
    select_all(all)
}

fn take(shared: &Shared, message: &async_nats::Message) {
    let mut parts = message.subject.split('.').skip(1);
    let key = parts.next().zip(parts.next().and_then(|partition| partition.parse().ok()));
    let Some((consumer, partition)) = key else { return };
    let Some(lane) = shared.lane(consumer, partition) else { return };
    match serde_json::from_slice::<Told>(&message.payload) {
        Ok(told) => lane.told(partition, told),
        Err(error) => tracing::debug!(consumer, %error, "a progress message makes no sense"),
    }
}

async fn poll(shared: &Shared, log: &Log, consumers: &[String]) {
    let before: Vec<_> = shared.lanes.iter().map(|(key, lane)| (key, *lane.position.borrow())).collect();
    let rows = sqlx::query_as::<_, (String, i32, i64, i32)>(
        "SELECT name, partition, position, parked FROM log.consumers WHERE name = ANY($1)",
    )
    .bind(consumers)
    .fetch_all(log.worker_pool())
    .await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            tracing::debug!(%error, "cannot ask how far consumers are");
            return;
        }
    };
    for (name, partition, position, parked) in rows {
        let key = (name, partition);
        let known = before.iter().find(|(known, _)| **known == key);
        if let (Some(lane), Some((_, before))) = (shared.lanes.get(&key), known) {
            lane.read(partition, *before, position, parked);
        }
    }
}
