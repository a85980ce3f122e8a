//! Questions about runs.

use domain::TenantId;
use domain::id::{CardId, ProjectId, RunId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::row::{RunRow, StepRow};
use crate::page::{Lists, Page, Whose};

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

/// Whose runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunsOf {
    /// The project's.
    pub project: ProjectId,
    /// Only those of this card.
    pub card: Option<CardId>,
}

const LISTS: Lists = Lists {
    table: "runs",
    whose: &["asked.part IS NULL AND project = asked.owner", "card = asked.part AND project = asked.owner"],
    by: "run",
    falling: true,
};

impl RunsOf {
    fn whose(self) -> Whose {
        (Some(self.project.uuid()), self.card.map(domain::Id::uuid))
    }
}

/// A part of each of these lists, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn runs(
    conn: &mut PgConnection,
    tenant: TenantId,
    asked: &[(RunsOf, Page<RunId>)],
) -> Answer<Vec<Vec<RunRow>>> {
    let asked: Vec<_> = asked.iter().map(|(of, page)| (of.whose(), *page)).collect();
    LISTS.pages(conn, tenant.uuid(), &asked).await
}

/// How long each of these lists is.
///
/// # Errors
/// When the database does not answer.
pub async fn counts(conn: &mut PgConnection, tenant: TenantId, asked: &[RunsOf]) -> Answer<Vec<i64>> {
    let asked: Vec<_> = asked.iter().map(|of| of.whose()).collect();
    LISTS.counts(conn, tenant.uuid(), &asked).await
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
