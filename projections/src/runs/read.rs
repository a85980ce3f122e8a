//! Questions about runs.

use domain::TenantId;
use domain::id::{CardId, ProjectId, RunId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::row::{RunRow, StepRow};

type Answer<T> = Result<T, sqlx::Error>;

/// One run.
///
/// # Errors
/// When the database does not answer.
pub async fn run(conn: &mut PgConnection, tenant: TenantId, id: RunId) -> Answer<Option<RunRow>> {
    sqlx::query_as("SELECT * FROM runs WHERE tenant = $1 AND run = $2")
        .bind(tenant.uuid())
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// Those of these runs that exist, in no order.
///
/// # Errors
/// When the database does not answer.
pub async fn runs_by_id(conn: &mut PgConnection, tenant: TenantId, ids: &[RunId]) -> Answer<Vec<RunRow>> {
    sqlx::query_as("SELECT * FROM runs WHERE tenant = $1 AND run = ANY ($2)")
        .bind(tenant.uuid())
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>())
        .fetch_all(conn)
        .await
}

/// At most `limit` runs of the project before `before`, the newest first; of one card when it is named.
///
/// # Errors
/// When the database does not answer.
pub async fn runs(
    conn: &mut PgConnection,
    tenant: TenantId,
    project: ProjectId,
    card: Option<CardId>,
    before: Option<RunId>,
    limit: i64,
) -> Answer<Vec<RunRow>> {
    sqlx::query_as(
        "SELECT * FROM runs WHERE tenant = $1 AND project = $2 AND ($3::uuid IS NULL OR card = $3) \
         AND ($4::uuid IS NULL OR run < $4) ORDER BY run DESC LIMIT $5",
    )
    .bind(tenant.uuid())
    .bind(project.uuid())
    .bind(card.map(domain::Id::uuid))
    .bind(before.map(domain::Id::uuid))
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// The steps of a run that were recorded after `position`, in the order in which they were.
///
/// # Errors
/// When the database does not answer.
pub async fn steps(conn: &mut PgConnection, tenant: TenantId, run: RunId, position: i64) -> Answer<Vec<StepRow>> {
    sqlx::query_as("SELECT * FROM run_steps WHERE tenant = $1 AND run = $2 AND position > $3 ORDER BY position")
        .bind(tenant.uuid())
        .bind(run.uuid())
        .bind(position)
        .fetch_all(conn)
        .await
}

/// The steps of several runs, each run's in the order in which they were recorded.
///
/// # Errors
/// When the database does not answer.
pub async fn steps_by_run(conn: &mut PgConnection, tenant: TenantId, runs: &[RunId]) -> Answer<Vec<StepRow>> {
    sqlx::query_as("SELECT * FROM run_steps WHERE tenant = $1 AND run = ANY ($2) ORDER BY position")
        .bind(tenant.uuid())
        .bind(runs.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>())
        .fetch_all(conn)
        .await
}

/// How many runs of the project are queued or under way.
///
/// # Errors
/// When the database does not answer.
pub async fn active_runs(conn: &mut PgConnection, tenant: TenantId, project: ProjectId) -> Answer<u32> {
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM runs WHERE tenant = $1 AND project = $2 AND ended_at IS NULL")
            .bind(tenant.uuid())
            .bind(project.uuid())
            .fetch_one(conn)
            .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}
