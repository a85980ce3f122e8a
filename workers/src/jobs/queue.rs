//! The table `work.jobs`, and all that is done to it.
//!
//! Guarantees: a job is claimed by one worker at a time; the oldest job of the tenant with the fewest jobs under way
//! comes first; whoever has lost a lease can neither extend nor release it, because each claim has an environment of its
//! own; a job stays until its environment is ended, also when its run has. Never: a decision on what a run may do; that is its aggregate's, which refuses an attempt that is not current.

use std::time::Duration;

use domain::id::{EventId, ProjectId, RunId};
use domain::{EnvironmentId, TenantId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};
use uuid::Uuid;

use crate::control::Origin;

/// A run to be put into the queue.
#[derive(Debug, Clone)]
pub(crate) struct NewJob {
    pub(crate) run: RunId,
    pub(crate) project: ProjectId,
    pub(crate) origin: Origin,
}

/// A job that a worker holds, or has held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) tenant: TenantId,
    pub(crate) run: RunId,
    pub(crate) project: ProjectId,
    /// The attempt, from 1.
    pub(crate) attempt: u32,
    /// This claim's own environment.
    pub(crate) environment: EnvironmentId,
    pub(crate) origin: Origin,
}

/// A run that waits for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) tenant: TenantId,
    pub(crate) run: RunId,
    /// The attempt that it waits for.
    pub(crate) attempt: u32,
    pub(crate) origin: Origin,
}

/// What a holder learns when it extends its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    /// It holds on. How long the pod has been silent, once it has spoken at all.
    Held {
        /// Since the pod's last sign of life.
        pod_silent: Option<Duration>,
    },
    /// The job is another's, or gone.
    Gone,
}

fn number(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

/// Puts a run into the queue. Once more changes nothing.
pub(crate) async fn enqueue(connection: &mut PgConnection, tenant: TenantId, job: &NewJob) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO work.jobs (tenant, run, project, attempt, correlation, causation, traceparent)
         VALUES ($1, $2, $3, 1, $4, $5, $6) ON CONFLICT (run) DO NOTHING",
    )
    .bind(tenant.uuid())
    .bind(job.run.uuid())
    .bind(job.project.uuid())
    .bind(job.origin.correlation)
    .bind(job.origin.causation.map(EventId::uuid))
    .bind(job.origin.traceparent.as_deref())
    .execute(connection)
    .await
    .map(drop)
}

/// Puts a run back into the queue for its next attempt, unless it is there already or further on.
pub(crate) async fn requeue(
    connection: &mut PgConnection,
    tenant: TenantId,
    run: RunId,
    attempt: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE work.jobs SET attempt = $3, environment = NULL, holder = NULL, lease_until = NULL, pod_seen_at = NULL,
                queued_at = now()
         WHERE tenant = $1 AND run = $2 AND attempt < $3",
    )
    .bind(tenant.uuid())
    .bind(run.uuid())
    .bind(number(attempt))
    .execute(connection)
    .await
    .map(drop)
}

/// Takes a run that has ended out of the queue. One that is held is marked: its holder notices when it next extends its
/// lease, and has an environment to end before it [forgets](forget) the job.
pub(crate) async fn dequeue(connection: &mut PgConnection, tenant: TenantId, run: RunId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH held AS (
             UPDATE work.jobs SET ended = true WHERE tenant = $1 AND run = $2 AND holder IS NOT NULL RETURNING run)
         DELETE FROM work.jobs WHERE tenant = $1 AND run = $2 AND NOT EXISTS (SELECT FROM held)",
    )
    .bind(tenant.uuid())
    .bind(run.uuid())
    .execute(connection)
    .await
    .map(drop)
}

/// Deletes the job of a run that has ended, and whose `environment` has.
pub(crate) async fn forget(
    pool: &PgPool,
    tenant: TenantId,
    run: RunId,
    environment: EnvironmentId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM work.jobs WHERE tenant = $1 AND run = $2 AND environment = $3")
        .bind(tenant.uuid())
        .bind(run.uuid())
        .bind(environment.uuid())
        .execute(pool)
        .await
        .map(drop)
}

/// Claims the next job of any tenant that has fewer than `per_tenant` under way.
pub(crate) async fn claim(
    pool: &PgPool,
    holder: Uuid,
    environment: EnvironmentId,
    lease: Duration,
    per_tenant: u32,
) -> Result<Option<Job>, sqlx::Error> {
    let row = sqlx::query(
        "WITH busy AS (SELECT tenant, count(*) AS jobs FROM work.jobs
                       WHERE holder IS NOT NULL AND NOT ended GROUP BY tenant),
         next AS (
             SELECT waiting.run FROM work.jobs waiting LEFT JOIN busy USING (tenant)
             WHERE waiting.holder IS NULL AND coalesce(busy.jobs, 0) < $4
             ORDER BY coalesce(busy.jobs, 0), waiting.queued_at
             LIMIT 1 FOR UPDATE OF waiting SKIP LOCKED)
         UPDATE work.jobs job
         SET holder = $1, environment = $2, lease_until = now() + make_interval(secs => $3), pod_seen_at = NULL
         FROM next WHERE job.run = next.run
         RETURNING job.*",
    )
    .bind(holder)
    .bind(environment.uuid())
    .bind(lease.as_secs_f64())
    .bind(i64::from(per_tenant))
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(job).transpose()
}

/// Extends the lease of the claim that has this environment. When its run has ended, that leaves time to end the environment.
pub(crate) async fn extend(
    pool: &PgPool,
    tenant: TenantId,
    run: RunId,
    environment: EnvironmentId,
    lease: Duration,
) -> Result<Lease, sqlx::Error> {
    let held: Option<(bool, Option<f64>)> = sqlx::query_as(
        "UPDATE work.jobs SET lease_until = now() + make_interval(secs => $4)
         WHERE tenant = $1 AND run = $2 AND environment = $3
         RETURNING ended, extract(epoch FROM now() - pod_seen_at)::float8",
    )
    .bind(tenant.uuid())
    .bind(run.uuid())
    .bind(environment.uuid())
    .bind(lease.as_secs_f64())
    .fetch_optional(pool)
    .await?;
    Ok(match held {
        Some((false, silent)) => {
            Lease::Held { pod_silent: silent.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()) }
        }
        Some((true, _)) | None => Lease::Gone,
    })
}

/// Notes a pod's sign of life. Whether the claim that it belongs to still stands.
pub(crate) async fn pod_seen(
    pool: &PgPool,
    tenant: TenantId,
    run: RunId,
    environment: EnvironmentId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE work.jobs SET pod_seen_at = now() WHERE tenant = $1 AND run = $2 AND environment = $3 AND NOT ended",
    )
    .bind(tenant.uuid())
    .bind(run.uuid())
    .bind(environment.uuid())
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a run in the queue follows from.
pub(crate) async fn origin_of(pool: &PgPool, tenant: TenantId, run: RunId) -> Result<Option<Origin>, sqlx::Error> {
    let row = sqlx::query("SELECT correlation, causation, traceparent FROM work.jobs WHERE tenant = $1 AND run = $2")
        .bind(tenant.uuid())
        .bind(run.uuid())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(origin).transpose()
}

/// Gives a claim back, for `attempt`, without anything having come of it. A claim that was lost meanwhile stays as it is.
pub(crate) async fn release(
    pool: &PgPool,
    tenant: TenantId,
    run: RunId,
    environment: EnvironmentId,
    attempt: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE work.jobs SET attempt = $4, environment = NULL, holder = NULL, lease_until = NULL, pod_seen_at = NULL,
                queued_at = CASE WHEN attempt = $4 THEN queued_at ELSE now() END
         WHERE tenant = $1 AND run = $2 AND environment = $3",
    )
    .bind(tenant.uuid())
    .bind(run.uuid())
    .bind(environment.uuid())
    .bind(number(attempt))
    .execute(pool)
    .await
    .map(drop)
}

/// Jobs of all tenants whose lease has run out, or that are held by `self_before`: by the holder itself in an earlier
/// life, asked for at its start.
pub(crate) async fn lost(pool: &PgPool, self_before: Option<Uuid>, limit: i64) -> Result<Vec<Job>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT * FROM work.jobs WHERE holder = $1 OR $1 IS NULL AND lease_until < now() ORDER BY lease_until LIMIT $2",
    )
    .bind(self_before)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(job).collect()
}

/// Runs that have waited in the queue for longer than `bound`, of all tenants.
pub(crate) async fn stale(pool: &PgPool, bound: Duration, limit: i64) -> Result<Vec<Stale>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT * FROM work.jobs WHERE holder IS NULL AND queued_at < now() - make_interval(secs => $1)
         ORDER BY queued_at LIMIT $2",
    )
    .bind(bound.as_secs_f64())
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Stale {
                tenant: TenantId::from_uuid(row.try_get("tenant")?),
                run: RunId::from_uuid(row.try_get("run")?),
                attempt: attempt(row)?,
                origin: origin(row)?,
            })
        })
        .collect()
}

fn attempt(row: &PgRow) -> Result<u32, sqlx::Error> {
    let attempt: i32 = row.try_get("attempt")?;
    u32::try_from(attempt).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn job(row: &PgRow) -> Result<Job, sqlx::Error> {
    Ok(Job {
        tenant: TenantId::from_uuid(row.try_get("tenant")?),
        run: RunId::from_uuid(row.try_get("run")?),
        project: ProjectId::from_uuid(row.try_get("project")?),
        attempt: attempt(row)?,
        environment: EnvironmentId::from_uuid(row.try_get("environment")?),
        origin: origin(row)?,
    })
}

fn origin(row: &PgRow) -> Result<Origin, sqlx::Error> {
    Ok(Origin {
        correlation: row.try_get("correlation")?,
        causation: Some(EventId::from_uuid(row.try_get("causation")?)),
        traceparent: row.try_get("traceparent")?,
    })
}
