//! One page, in one transaction that also moves the position.

use std::borrow::Cow;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use schemas::Recorded;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::{ApplyError, Consumer, Touched};
use crate::{Log, crash};

/// A page that is committed.
pub(super) struct Applied<'a> {
    /// What it changed.
    pub(super) touched: Touched,
    /// What was applied of it: all but the events of parked tenants.
    pub(super) kept: Cow<'a, [Recorded]>,
    /// How many tenants are parked.
    pub(super) parked: i32,
}

/// Applies a page, which must follow on the consumer's position. `None` when the position is elsewhere: another harness
/// was quicker, or it is being rebuilt.
pub(super) async fn apply<'a>(
    log: &Log,
    consumer: &dyn Consumer,
    page: &'a [Recorded],
) -> Result<Option<Applied<'a>>, ApplyError> {
    let Some((first, last)) = page.first().zip(page.last()) else { return Ok(None) };
    let mut tx = begin(log).await?;
    let moved = advance(&mut tx, consumer.name(), first.partition, first.position - 1, last.position).await?;
    let Some(parked) = moved else { return Ok(None) };
    let kept = leave_out(&mut tx, consumer.name(), parked, page).await?;
    let touched = if kept.is_empty() { nothing() } else { guarded(consumer, &mut tx, &kept).await? };
    crash::point("consumer.applied");
    tx.commit().await?;
    crash::point("consumer.committed");
    let events = u64::try_from(kept.len()).unwrap_or(u64::MAX);
    metrics::counter!("agentworks_consumer_events_total", "consumer" => consumer.name()).increment(events);
    Ok(Some(Applied { touched, kept, parked }))
}

/// A transaction whose commit does not wait for the disk. The effect and the position are lost together or not at all,
/// and the log, which does wait, has what is to be done again.
pub(super) async fn begin(log: &Log) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    log.worker_pool().begin_with("BEGIN; SET LOCAL synchronous_commit = off").await
}

/// Applies events within a transaction. A panic is an error like another: the transaction is to be rolled back.
pub(super) async fn guarded(
    consumer: &dyn Consumer,
    tx: &mut PgConnection,
    page: &[Recorded],
) -> Result<Touched, ApplyError> {
    match AssertUnwindSafe(consumer.apply(tx, page)).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why");
            Err(ApplyError::Panicked(said.to_owned()))
        }
    }
}

/// Moves a consumer from one position to another, and holds its row until the transaction ends: how many tenants are
/// parked. `None` when it is not (or no longer) at `from`.
///
/// # Errors
/// When the database fails.
pub async fn advance(
    tx: &mut PgConnection,
    consumer: &str,
    partition: i32,
    from: i64,
    to: i64,
) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE log.consumers SET position = $4 WHERE name = $1 AND partition = $2 AND position = $3 RETURNING parked",
    )
    .bind(consumer)
    .bind(partition)
    .bind(from)
    .bind(to)
    .fetch_optional(tx)
    .await
}

/// The page without the events of parked tenants. The consumer's row must be held.
async fn leave_out<'a>(
    tx: &mut PgConnection,
    consumer: &str,
    parked: i32,
    page: &'a [Recorded],
) -> Result<Cow<'a, [Recorded]>, sqlx::Error> {
    if parked == 0 {
        return Ok(Cow::Borrowed(page));
    }
    let parked: Vec<Uuid> =
        sqlx::query_scalar("SELECT tenant FROM log.parked WHERE consumer = $1").bind(consumer).fetch_all(tx).await?;
    let parked: HashSet<Uuid> = parked.into_iter().collect();
    let goes_on = |event: &&Recorded| !parked.contains(&event.metadata.tenant.uuid());
    if page.iter().all(|event| goes_on(&event)) {
        return Ok(Cow::Borrowed(page));
    }
    Ok(page.iter().filter(goes_on).cloned().collect())
}

/// No topics would mean that nobody knows what changed: the topic that is nobody's wakes nobody.
pub(super) fn nothing() -> Touched {
    Touched([Uuid::nil()].into())
}
