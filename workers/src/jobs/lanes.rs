//! What operators see of the queue, and do to it.

use domain::{RunId, TenantId};
use sqlx::{PgPool, Row as _};
use time::OffsetDateTime;

/// A tenant's lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its share, relative to the others'.
    pub weight: i32,
    /// Runs that may be under way at the same time.
    pub limit: i32,
    /// Runs that are.
    pub under_way: i32,
    /// Runs that wait and are due.
    pub waiting: i32,
    /// Since when it is paused.
    pub paused_since: Option<OffsetDateTime>,
    /// What a run of it is expected to cost, in seconds of environment.
    pub estimate_seconds: i64,
}

/// A run in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The run.
    pub run: RunId,
    /// The attempt that waits or is under way, from 1.
    pub attempt: i32,
    /// Whether a worker has it.
    pub under_way: bool,
    /// The higher comes first.
    pub priority: i32,
    /// Since when it waits, or when it was claimed.
    pub since: OffsetDateTime,
    /// Not to be claimed before.
    pub due: OffsetDateTime,
}

/// The lanes in which anything is or that are paused, in the order in which they come next; a single one when `tenant` is
/// named.
///
/// # Errors
/// When the database fails.
pub async fn lanes(pool: &PgPool, tenant: Option<TenantId>) -> Result<Vec<Lane>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT *, estimate / 1000000 AS estimate_seconds FROM work.lanes
         WHERE CASE WHEN $1 IS NULL THEN ready > 0 OR running > 0 OR paused_at IS NOT NULL ELSE tenant = $1 END
         ORDER BY open DESC, vtime, tenant",
    )
    .bind(tenant.map(TenantId::uuid))
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Lane {
                tenant: TenantId::from_uuid(row.try_get("tenant")?),
                weight: row.try_get("weight")?,
                limit: row.try_get("run_limit")?,
                under_way: row.try_get("running")?,
                waiting: row.try_get("ready")?,
                paused_since: row.try_get("paused_at")?,
                estimate_seconds: row.try_get("estimate_seconds")?,
            })
        })
        .collect()
}

/// The first `limit` runs of a tenant's lane: those under way, then those that wait, in the order in which they come next.
///
/// # Errors
/// When the database fails.
pub async fn places(pool: &PgPool, tenant: TenantId, limit: i64) -> Result<Vec<Place>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT *, coalesce(claimed_at, queued_at) AS since, holder IS NOT NULL AS under_way FROM work.jobs
         WHERE tenant = $1 AND NOT ended
         ORDER BY holder IS NULL, due_at > now(), priority DESC, due_at, run LIMIT $2",
    )
    .bind(tenant.uuid())
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Place {
                run: RunId::from_uuid(row.try_get("run")?),
                attempt: row.try_get("attempt")?,
                under_way: row.try_get("under_way")?,
                priority: row.try_get("priority")?,
                since: row.try_get("since")?,
                due: row.try_get("due_at")?,
            })
        })
        .collect()
}

/// Lets no run of a tenant start, or lets them start again; what is under way goes on. Whether that was a change.
///
/// # Errors
/// When the database fails.
pub async fn pause(pool: &PgPool, tenant: TenantId, paused: bool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT work.pause($1, $2)").bind(tenant.uuid()).bind(paused).fetch_one(pool).await
}

/// Puts a waiting run before all others of its tenant. Whether there is such a run.
///
/// # Errors
/// When the database fails.
pub async fn put_first(pool: &PgPool, run: RunId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT work.put_first($1)").bind(run.uuid()).fetch_one(pool).await
}
