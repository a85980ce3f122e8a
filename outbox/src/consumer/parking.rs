//! Tenants that are parked for a consumer, because it cannot apply one of their events.
//!
//! The consumer's row of the partition is held by whoever parks, retries or skips, as by every page: so each event is
//! applied once, whichever way it comes, while a live harness goes on between the steps.

use domain::{EventId, TenantId};
use schemas::Recorded;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row as _};
use time::OffsetDateTime;

use super::page::{advance, begin, guarded};
use super::{ApplyError, Consumer};
use crate::{Log, LogError, read};

/// Events that one step of a retry takes.
const PAGE: usize = 500;

/// A tenant that is parked for a consumer.
#[derive(Debug, Clone)]
pub struct Parked {
    /// Which consumer.
    pub consumer: String,
    /// Where the tenant lives.
    pub partition: i32,
    /// Whose events are left out.
    pub tenant: TenantId,
    /// The tenant's events before this are applied.
    pub position: i64,
    /// The event that could not be applied.
    pub event: EventId,
    /// Why not.
    pub error: String,
    /// Since when.
    pub since: OffsetDateTime,
    /// How often it was tried.
    pub tries: i32,
}

/// Why a tenant was not taken up again.
#[derive(Debug, thiserror::Error)]
pub enum ParkingError {
    /// There is nothing to take up.
    #[error("tenant {tenant} is not parked for {consumer}")]
    NotParked {
        /// The consumer.
        consumer: &'static str,
        /// The tenant.
        tenant: TenantId,
    },
    /// Another event is the one that holds the tenant up.
    #[error("the event that parks the tenant is {0}")]
    AnotherEvent(EventId),
    /// An event is refused, as before or as the first time. The tenant stays parked, there.
    #[error("event {event} at position {position} is refused: {error}")]
    Refused {
        /// The event.
        event: EventId,
        /// Where it stands.
        position: i64,
        /// Why.
        error: ApplyError,
    },
    /// The database failed, or something that the consumer needs.
    #[error(transparent)]
    Failed(#[from] ApplyError),
}

impl From<sqlx::Error> for ParkingError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<LogError> for ParkingError {
    fn from(error: LogError) -> Self {
        Self::Failed(error.into())
    }
}

impl FromRow<'_, PgRow> for Parked {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            consumer: row.try_get("consumer")?,
            partition: row.try_get("partition")?,
            tenant: TenantId::from_uuid(row.try_get("tenant")?),
            position: row.try_get("position")?,
            event: EventId::from_uuid(row.try_get("event")?),
            error: row.try_get("error")?,
            since: row.try_get("since")?,
            tries: row.try_get("tries")?,
        })
    }
}

/// Every parked tenant, of all consumers, the longest first.
///
/// # Errors
/// [`LogError::Database`].
pub async fn parked(log: &Log) -> Result<Vec<Parked>, LogError> {
    let all = sqlx::query_as("SELECT * FROM log.parked ORDER BY since, consumer, tenant");
    Ok(all.fetch_all(log.worker_pool()).await?)
}

/// Takes a parked tenant up again: applies the rest of its events from the log and unparks it. How many were applied.
/// A harness that runs goes on meanwhile.
///
/// # Errors
/// [`ParkingError`]; the tenant stays parked then, behind what was applied.
pub async fn retry(log: &Log, consumer: &dyn Consumer, tenant: TenantId) -> Result<u64, ParkingError> {
    let mut applied = 0;
    let mut limit = PAGE;
    loop {
        match step(log, consumer, tenant, limit).await {
            Ok(Step { events, done }) => {
                applied += u64::try_from(events).unwrap_or(u64::MAX);
                if done {
                    tracing::info!(consumer = consumer.name(), %tenant, applied, "a tenant is no longer parked");
                    return Ok(applied);
                }
                limit = (limit * 2).min(PAGE);
            }
            // Up to the event that is to blame.
            Err(ParkingError::Failed(error)) if error.refused() && limit > 1 => limit /= 2,
            Err(ParkingError::Failed(error)) if error.refused() => {
                return Err(still_refused(log, consumer, tenant, error).await);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Does without the event that parks a tenant, for this consumer and for ever, and takes the tenant up again behind it.
/// Who decided that, and why, is kept in `log.skipped`. How many events were applied.
///
/// # Errors
/// [`ParkingError`]; what was skipped stays skipped when a later event is refused.
pub async fn skip(
    log: &Log,
    consumer: &dyn Consumer,
    tenant: TenantId,
    event: EventId,
    by: &str,
    reason: &str,
) -> Result<u64, ParkingError> {
    let mut tx = log.worker_pool().begin().await?;
    let held = hold(&mut tx, log, consumer, tenant).await?;
    let rest =
        read::of_tenant(&mut tx, log.partition_of(tenant), tenant, held.parked.position - 1, held.upto, 1).await?;
    let next = rest.first().map_or(held.parked.event, |next| next.id);
    if next != event {
        return Err(ParkingError::AnotherEvent(next));
    }
    sqlx::query(
        "INSERT INTO log.skipped (consumer, event, tenant, partition, position, error, reason, skipped_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(consumer.name())
    .bind(event.uuid())
    .bind(tenant.uuid())
    .bind(held.parked.partition)
    .bind(held.parked.position)
    .bind(&held.parked.error)
    .bind(reason)
    .bind(by)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    tracing::warn!(consumer = consumer.name(), %tenant, %event, by, reason, "an event is skipped");
    retry(log, consumer, tenant).await
}

/// Parks the tenant of the event that follows on the position, or passes the event over when it was decided to do without
/// it. False when the position is elsewhere.
pub(super) async fn park(
    log: &Log,
    consumer: &str,
    event: &Recorded,
    error: &ApplyError,
    tries: i32,
) -> Result<bool, sqlx::Error> {
    let mut tx = log.worker_pool().begin().await?;
    let (partition, position) = (event.partition, event.position);
    if advance(&mut tx, consumer, partition, position - 1, position).await?.is_none() {
        return Ok(false);
    }
    let tenant = event.metadata.tenant;
    if is_skipped(&mut tx, consumer, event.id).await? {
        tracing::warn!(consumer, %tenant, event = %event.id, position, "an event is passed over, as was decided");
    } else {
        insert(&mut tx, consumer, event, error, tries).await?;
        metrics::counter!("agentworks_consumer_parked_total", "consumer" => consumer.to_owned()).increment(1);
        tracing::error!(
            consumer,
            partition,
            %tenant,
            event = %event.id,
            position,
            %error,
            "an event cannot be applied: its tenant is parked, the others go on; see `agentworks parked`"
        );
    }
    tx.commit().await?;
    Ok(true)
}

async fn insert(
    tx: &mut PgConnection,
    consumer: &str,
    event: &Recorded,
    error: &ApplyError,
    tries: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO log.parked (consumer, tenant, partition, position, event, error, tries) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(consumer)
    .bind(event.metadata.tenant.uuid())
    .bind(event.partition)
    .bind(event.position)
    .bind(event.id.uuid())
    .bind(error.to_string())
    .bind(tries)
    .execute(&mut *tx)
    .await?;
    count(tx, consumer, event.partition, 1).await
}

struct Step {
    events: usize,
    done: bool,
}

/// Applies the next events of a parked tenant, at most `limit`, and unparks it when there are no more.
async fn step(log: &Log, consumer: &dyn Consumer, tenant: TenantId, limit: usize) -> Result<Step, ParkingError> {
    let mut tx = begin(log).await?;
    let Held { parked, upto } = hold(&mut tx, log, consumer, tenant).await?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut page = read::of_tenant(&mut tx, log.partition_of(tenant), tenant, parked.position - 1, upto, most).await?;
    let (read, last) = (page.len(), page.last().map_or(upto, |last| last.position));
    if let [only] = page.as_slice()
        && is_skipped(&mut tx, consumer.name(), only.id).await?
    {
        page.clear();
    }
    if !page.is_empty() {
        guarded(consumer, &mut tx, &page).await?;
    }
    let done = read < limit;
    if done {
        sqlx::query("DELETE FROM log.parked WHERE consumer = $1 AND tenant = $2")
            .bind(consumer.name())
            .bind(tenant.uuid())
            .execute(&mut *tx)
            .await?;
        count(&mut tx, consumer.name(), parked.partition, -1).await?;
    } else {
        sqlx::query("UPDATE log.parked SET position = $3 WHERE consumer = $1 AND tenant = $2")
            .bind(consumer.name())
            .bind(tenant.uuid())
            .bind(last + 1)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    consumer.committed(&page).await;
    Ok(Step { events: page.len(), done })
}

struct Held {
    parked: Parked,
    /// The consumer's position.
    upto: i64,
}

/// Holds the consumer's row, so that nobody applies anything, and finds where the tenant is parked.
async fn hold(
    tx: &mut PgConnection,
    log: &Log,
    consumer: &dyn Consumer,
    tenant: TenantId,
) -> Result<Held, ParkingError> {
    let upto = sqlx::query_scalar("SELECT position FROM log.consumers WHERE name = $1 AND partition = $2 FOR UPDATE")
        .bind(consumer.name())
        .bind(log.partition_of(tenant))
        .fetch_optional(&mut *tx)
        .await?;
    let parked = sqlx::query_as("SELECT * FROM log.parked WHERE consumer = $1 AND tenant = $2")
        .bind(consumer.name())
        .bind(tenant.uuid())
        .fetch_optional(tx)
        .await?;
    match (upto, parked) {
        (Some(upto), Some(parked)) => Ok(Held { parked, upto }),
        _ => Err(ParkingError::NotParked { consumer: consumer.name(), tenant }),
    }
}

/// Notes that the next event of a parked tenant was refused, again or now.
async fn still_refused(log: &Log, consumer: &dyn Consumer, tenant: TenantId, error: ApplyError) -> ParkingError {
    let noted = async {
        let mut tx = log.worker_pool().begin().await?;
        let Held { parked, upto } = hold(&mut tx, log, consumer, tenant).await?;
        let rest = read::of_tenant(&mut tx, log.partition_of(tenant), tenant, parked.position - 1, upto, 1).await?;
        let (event, position) = rest.first().map_or((parked.event, parked.position), |next| (next.id, next.position));
        sqlx::query(
            "UPDATE log.parked SET position = $3, event = $4, error = $5, tries = CASE event WHEN $4 THEN tries ELSE 0 END + 1 \
             WHERE consumer = $1 AND tenant = $2",
        )
        .bind(consumer.name())
        .bind(tenant.uuid())
        .bind(position)
        .bind(event.uuid())
        .bind(error.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok::<_, ParkingError>((event, position))
    };
    match noted.await {
        Ok((event, position)) => ParkingError::Refused { event, position, error },
        Err(error) => error,
    }
}

async fn is_skipped(tx: &mut PgConnection, consumer: &str, event: EventId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM log.skipped WHERE consumer = $1 AND event = $2)")
        .bind(consumer)
        .bind(event.uuid())
        .fetch_one(tx)
        .await
}

/// Keeps the number of parked tenants. The consumer's row must be held.
async fn count(tx: &mut PgConnection, consumer: &str, partition: i32, more: i32) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE log.consumers SET parked = parked + $3 WHERE name = $1 AND partition = $2")
        .bind(consumer)
        .bind(partition)
        .bind(more)
        .execute(tx)
        .await
        .map(drop)
}
