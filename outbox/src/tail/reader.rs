//! Finds what is new in a partition, for all who follow it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::TenantId;
use futures::future::{Either, pending};
use futures::{FutureExt as _, StreamExt as _};
use schemas::subject;
use tokio::sync::broadcast;

use super::{News, Shared, Told};
use crate::{Log, LogError};

/// News that a follower may be behind before it has to ask the log.
const BEHIND: usize = 64;
/// Positions of one piece of news, at most.
const LIMIT: i64 = 1_000;
/// What comes within this time is told at once: the cost of looking does not grow with the number of appends.
const BREATH: Duration = Duration::from_millis(2);
/// The net under the wake-ups.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// As [`SLOW_POLL`] where appends of other processes wake nobody.
const POLL: Duration = Duration::from_millis(200);

/// Starts the reader of a partition. It ends when nobody follows any more.
pub(super) fn start(shared: Arc<Shared>, partition: i32) -> Told {
    let told = broadcast::Sender::new(BEHIND);
    tokio::spawn(run(shared, partition, told.clone()));
    told
}

async fn run(shared: Arc<Shared>, partition: i32, told: Told) {
    let reading = look(&shared, partition, &told);
    let mut reading = pin!(reading);
    loop {
        tokio::select! {
            () = &mut reading => return,
            () = told.closed() => {}
        }
        let mut followed = shared.followed();
        // Somebody may have come in the meantime.
        if told.receiver_count() == 0 {
            followed.remove(&partition);
            return;
        }
    }
}

/// Tells of what comes, for ever.
async fn look(shared: &Shared, partition: i32, told: &Told) {
    let Shared { log, bus, .. } = shared;
    let mut appended = log.appended(partition);
    let subscribed = match bus {
        Some(bus) => bus.client().subscribe(subject::partition(partition)).await.ok(),
        None => None,
    };
    let poll = if subscribed.is_some() { SLOW_POLL } else { POLL };
    let mut messages = subscribed.map_or_else(|| Either::Left(futures::stream::pending()), Either::Right);
    let mut seen = None;
    loop {
        let more = match news(log, partition, seen).await {
            Ok(None) => false,
            Ok(Some(news)) => {
                let more = seen.is_some_and(|seen| news.upto - seen >= LIMIT);
                seen = Some(news.upto);
                // Nobody listens: this reader is about to end.
                let _ = told.send(Arc::new(news));
                more
            }
            Err(error) => {
                tracing::warn!(partition, %error, "cannot look for what is new in the log; trying again");
                tokio::time::sleep(SLOW_POLL).await;
                continue;
            }
        };
        if more {
            continue;
        }
        tokio::time::sleep(BREATH).await;
        let handed_over = async {
            if let Some(appended) = &mut appended
                && appended.changed().await.is_ok()
            {
                return;
            }
            pending::<()>().await;
        };
        tokio::select! {
            () = handed_over => {}
            Some(_) = messages.next() => while messages.next().now_or_never().flatten().is_some() {},
            () = tokio::time::sleep(poll) => {}
        }
    }
}

/// What is in a partition after a position. At first, that it reaches to its head: who follows reads up to there.
async fn news(log: &Log, partition: i32, seen: Option<i64>) -> Result<Option<News>, LogError> {
    let Some(after) = seen else {
        let head = log.head(partition).await?;
        return Ok(Some(News { after: head, upto: head, tenants: Vec::new() }));
    };
    let rows: Vec<(i64, uuid::Uuid)> = sqlx::query_as(
        "SELECT position, tenant FROM log.events WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3",
    )
    .bind(partition)
    .bind(after)
    .bind(LIMIT)
    .fetch_all(log.worker_pool())
    .await?;
    let Some((upto, _)) = rows.last().copied() else { return Ok(None) };
    let mut tenants: Vec<_> = rows.into_iter().map(|(_, tenant)| TenantId::from_uuid(tenant)).collect();
    tenants.sort_unstable();
    tenants.dedup();
    Ok(Some(News { after, upto, tenants }))
}
