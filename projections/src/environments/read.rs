//! Questions about environments.

use domain::TenantId;
use domain::id::{EnvironmentId, ProjectId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::row::EnvironmentRow;
use crate::page::{Lists, Page};

type Answer<T> = Result<T, sqlx::Error>;

/// One environment.
///
/// # Errors
/// When the database does not answer.
pub async fn environment(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: EnvironmentId,
) -> Answer<Option<EnvironmentRow>> {
    sqlx::query_as("SELECT * FROM environments WHERE tenant = $1 AND environment = $2")
        .bind(tenant.uuid())
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// Those of these environments that exist, in no order.
///
/// # Errors
/// When the database does not answer.
pub async fn environments_by_id(
    conn: &mut PgConnection,
    tenant: TenantId,
    ids: &[EnvironmentId],
) -> Answer<Vec<EnvironmentRow>> {
    sqlx::query_as("SELECT * FROM environments WHERE tenant = $1 AND environment = ANY ($2)")
        .bind(tenant.uuid())
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>())
        .fetch_all(conn)
        .await
}

const LISTS: Lists =
    Lists { table: "environments", whose: &["project = asked.owner"], by: "environment", falling: true };

/// A part of each of these projects' environments, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn environments(
    conn: &mut PgConnection,
    tenant: TenantId,
    asked: &[(ProjectId, Page<EnvironmentId>)],
) -> Answer<Vec<Vec<EnvironmentRow>>> {
    let asked: Vec<_> = asked.iter().map(|(project, page)| ((Some(project.uuid()), None), *page)).collect();
    LISTS.pages(conn, tenant.uuid(), &asked).await
}

/// How many environments each of these projects has and had.
///
/// # Errors
/// When the database does not answer.
pub async fn counts(conn: &mut PgConnection, tenant: TenantId, projects: &[ProjectId]) -> Answer<Vec<i64>> {
    let asked: Vec<_> = projects.iter().map(|project| (Some(project.uuid()), None)).collect();
    LISTS.counts(conn, tenant.uuid(), &asked).await
}

/// At most `limit` environments of the project that changed after `position`, in that order; without those that are over
/// when `position` is 0.
///
/// # Errors
/// When the database does not answer.
pub async fn changed(
    conn: &mut PgConnection,
    tenant: TenantId,
    project: ProjectId,
    position: i64,
    limit: i64,
) -> Answer<Vec<EnvironmentRow>> {
    sqlx::query_as(
        "SELECT * FROM environments WHERE tenant = $1 AND project = $2 AND position > $3 \
         AND ($3 > 0 OR ended_at IS NULL) ORDER BY position LIMIT $4",
    )
    .bind(tenant.uuid())
    .bind(project.uuid())
    .bind(position)
    .bind(limit)
    .fetch_all(conn)
    .await
}
