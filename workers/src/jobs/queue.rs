//! The queue: lanes (`work.lanes`), jobs (`work.jobs`), and what workers do to them.
//!
//! Guarantees: a job is claimed by one worker at a time; of the lanes that have a job due, are not paused and not at their
//! limit, the one whose jobs have cost the least by its weight comes first, and in it the job of the highest priority that
//! is due for longest; whoever has lost a lease can neither extend nor release it, because each claim has an environment of
//! its own; a job stays until its environment is ended, also when its run has; a lane's counts are those of its jobs, since
//! the database changes both together (`migrations/0034_work_queue.sql`). Never: a decision on what a run may do; that is
//! its aggregate's, which refuses an attempt that is not current.

use std::collections::HashMap;
use std::time::Duration;

use domain::id::{EventId, ProjectId, RunId};
use domain::{EnvironmentId, TenantId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};
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

/// Locks the lanes of tenants, and makes those that are missing. Who changes several tenants' jobs in one transaction does
/// this first, so that no two wait for each other.
pub(crate) async fn lock(connection: &mut PgConnection, tenants: &[TenantId]) -> Result<(), sqlx::Error> {
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.uuid()).collect();
    sqlx::query("SELECT work.lock_lanes($1)").bind(tenants).execute(connection).await.map(drop)
}

/// Puts a run into the queue. Once more changes nothing.
pub(crate) async fn enqueue(connection: &mut PgConnection, tenant: TenantId, job: &NewJob) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT work.enqueue($1, $2, $3, $4, $5, $6)")
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

/// How long a run waits before this attempt: 1 s before the second, four times as long before each further one, at most a
/// minute.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let factor = 4_u32.saturating_pow(attempt.saturating_sub(2));
    Duration::from_secs(1).saturating_mul(factor).min(Duration::from_secs(60))
}

/// Puts a run back into the queue for its next attempt, due after `delay`, unless it is there already or further on.
pub(crate) async fn requeue(
    connection: &mut PgConnection,
    tenant: TenantId,
    run: RunId,
    attempt: u32,
    delay: Duration,
) -> Result<(), sqlx::Error> {
    put_back(tenant, run, None, attempt, delay).execute(connection).await.map(drop)
}

fn put_back(
    tenant: TenantId,
    run: RunId,
    environment: Option<EnvironmentId>,
    attempt: u32,
    delay: Duration,
) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query("SELECT work.put_back($1, $2, $3, $4, make_interval(secs => $5))")
        .bind(tenant.uuid())
        .bind(run.uuid())
        .bind(environment.map(EnvironmentId::uuid))
        .bind(number(attempt))
        .bind(delay.as_secs_f64())
}

/// Takes a run that has ended out of the queue. One that is held is marked: its holder notices when it next extends its
/// lease, and has an environment to end before it [forgets](forget) the job.
pub(crate) async fn dequeue(connection: &mut PgConnection, tenant: TenantId, run: RunId) -> Result<(), sqlx::Error> {
    let query = sqlx::query("SELECT work.end_run($1, $2)").bind(tenant.uuid()).bind(run.uuid());
    query.execute(connection).await.map(drop)
}

/// Empties the queue, to be filled again from the log.
pub(crate) async fn clear(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT work.clear()").execute(connection).await.map(drop)
}

/// Deletes jobs whose runs have ended, and whose environments have; of those that have another environment by now, none.
pub(crate) async fn forget(pool: &PgPool, jobs: &[&Job]) -> Result<(), sqlx::Error> {
    let (mut tenants, mut runs, mut environments) = (vec![], vec![], vec![]);
    for job in jobs {
        tenants.push(job.tenant.uuid());
        runs.push(job.run.uuid());
        environments.push(job.environment.uuid());
    }
    let query = sqlx::query("SELECT work.finish($1, $2, $3)").bind(tenants).bind(runs).bind(environments);
    query.execute(pool).await.map(drop)
}

/// Says how many runs of one tenant may be under way, where its lane says nothing else; and forgets workers that have not
/// been seen for a day.
pub(crate) async fn set_limit(pool: &PgPool, per_tenant: u32) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT work.set_limit($1)").bind(number(per_tenant)).execute(pool).await?;
    let query = sqlx::query("DELETE FROM work.workers WHERE seen_at < now() - interval '1 day'");
    query.execute(pool).await.map(drop)
}

/// Claims the next jobs, as many as there are `environments` for them, in the order in which they are to start. Where others
/// have all lanes locked that could be claimed from, it waits for one and looks once more.
pub(crate) async fn claim(
    pool: &PgPool,
    holder: Uuid,
    environments: &[EnvironmentId],
    lease: Duration,
) -> Result<Vec<Job>, sqlx::Error> {
    let jobs = claim_unlocked(pool, holder, environments, lease).await?;
    if !jobs.is_empty() || !sqlx::query_scalar("SELECT work.await_lane()").fetch_one(pool).await? {
        return Ok(jobs);
    }
    claim_unlocked(pool, holder, environments, lease).await
}

/// As [`claim`], and leaves lanes alone that others have locked.
pub(crate) async fn claim_unlocked(
    database: impl PgExecutor<'_>,
    holder: Uuid,
    environments: &[EnvironmentId],
    lease: Duration,
) -> Result<Vec<Job>, sqlx::Error> {
    let environments: Vec<Uuid> = environments.iter().map(|environment| environment.uuid()).collect();
    let rows = sqlx::query("SELECT * FROM work.claim($1, $2, make_interval(secs => $3))")
        .bind(holder)
        .bind(environments)
        .bind(lease.as_secs_f64())
        .fetch_all(database)
        .await?;
    rows.iter().map(job).collect()
}

/// Extends the leases of those claims of a worker that have these environments, and notes that the worker is alive. What it
/// learns of each; those that are missing are [`Lease::Gone`]. When a run has ended, that leaves time to end its environment.
pub(crate) async fn extend(
    pool: &PgPool,
    holder: Uuid,
    environments: &[EnvironmentId],
    lease: Duration,
) -> Result<HashMap<EnvironmentId, Lease>, sqlx::Error> {
    let environments: Vec<Uuid> = environments.iter().map(|environment| environment.uuid()).collect();
    let held: Vec<(Uuid, bool, Option<f64>)> = sqlx::query_as(
        "WITH alive AS (
             INSERT INTO work.workers (holder, seen_at) VALUES ($1, now())
             ON CONFLICT (holder) DO UPDATE SET seen_at = now())
         UPDATE work.jobs SET lease_until = now() + make_interval(secs => $3)
         WHERE holder = $1 AND environment = ANY ($2)
         RETURNING environment, ended, extract(epoch FROM now() - pod_seen_at)::float8",
    )
    .bind(holder)
    .bind(environments)
    .bind(lease.as_secs_f64())
    .fetch_all(pool)
    .await?;
    let learned = held.into_iter().map(|(environment, ended, silent)| {
        let pod_silent = silent.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let lease = if ended { Lease::Gone } else { Lease::Held { pod_silent } };
        (EnvironmentId::from_uuid(environment), lease)
    });
    Ok(learned.collect())
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
    put_back(tenant, run, Some(environment), attempt, Duration::ZERO).execute(pool).await.map(drop)
}

/// Jobs of all tenants whose lease has run out, or that are held by `self_before`: by the holder itself in an earlier
/// life, asked for at its start.
pub(crate) async fn lost(pool: &PgPool, self_before: Option<Uuid>, limit: i64) -> Result<Vec<Job>, sqlx::Error> {
    let rows = match self_before {
        Some(holder) => sqlx::query("SELECT * FROM work.jobs WHERE holder = $1 LIMIT $2").bind(holder),
        None => sqlx::query(
            "SELECT * FROM work.jobs WHERE holder IS NOT NULL AND lease_until < now() AND $1::uuid IS NULL
             ORDER BY lease_until LIMIT $2",
        )
        .bind(None::<Uuid>),
    };
    let rows = rows.bind(limit).fetch_all(pool).await?;
    rows.iter().map(job).collect()
}

/// Runs that are due for longer than `bound` and still wait, of all tenants but those that are paused.
pub(crate) async fn stale(pool: &PgPool, bound: Duration, limit: i64) -> Result<Vec<Stale>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT job.* FROM work.jobs job JOIN work.lanes USING (tenant)
         WHERE holder IS NULL AND job.ready AND due_at < now() - make_interval(secs => $1) AND paused_at IS NULL
         ORDER BY due_at LIMIT $2",
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
