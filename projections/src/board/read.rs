//! Questions to the board.

use std::collections::BTreeSet;

use domain::TenantId;
use domain::id::{CardId, ProjectId, ProviderId, WorkspaceId};
use domain::value::LaneKey;
use sqlx::PgConnection;
use uuid::Uuid;

use super::row::{CardRow, ProjectRow, ProviderRow, TenantRow, WorkspaceRow};
use crate::page::{Lists, Page};

type Answer<T> = Result<T, sqlx::Error>;

fn uuids<K>(ids: &[domain::Id<K>]) -> Vec<Uuid> {
    ids.iter().map(|id| id.uuid()).collect()
}

/// The tenant itself.
///
/// # Errors
/// When the database does not answer.
pub async fn tenant(conn: &mut PgConnection, tenant: TenantId) -> Answer<Option<TenantRow>> {
    sqlx::query_as("SELECT * FROM tenants WHERE tenant = $1").bind(tenant.uuid()).fetch_optional(conn).await
}

/// Every workspace, the oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn workspaces(conn: &mut PgConnection, tenant: TenantId) -> Answer<Vec<WorkspaceRow>> {
    sqlx::query_as("SELECT * FROM workspaces WHERE tenant = $1 ORDER BY workspace")
        .bind(tenant.uuid())
        .fetch_all(conn)
        .await
}

/// Those of these workspaces that exist, in no order.
///
/// # Errors
/// When the database does not answer.
pub async fn workspaces_by_id(
    conn: &mut PgConnection,
    tenant: TenantId,
    ids: &[WorkspaceId],
) -> Answer<Vec<WorkspaceRow>> {
    sqlx::query_as("SELECT * FROM workspaces WHERE tenant = $1 AND workspace = ANY ($2)")
        .bind(tenant.uuid())
        .bind(uuids(ids))
        .fetch_all(conn)
        .await
}

/// Every provider, the oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn providers(conn: &mut PgConnection, tenant: TenantId) -> Answer<Vec<ProviderRow>> {
    sqlx::query_as("SELECT * FROM providers WHERE tenant = $1 ORDER BY provider")
        .bind(tenant.uuid())
        .fetch_all(conn)
        .await
}

/// Those of these providers that exist, in no order.
///
/// # Errors
/// When the database does not answer.
pub async fn providers_by_id(
    conn: &mut PgConnection,
    tenant: TenantId,
    ids: &[ProviderId],
) -> Answer<Vec<ProviderRow>> {
    sqlx::query_as("SELECT * FROM providers WHERE tenant = $1 AND provider = ANY ($2)")
        .bind(tenant.uuid())
        .bind(uuids(ids))
        .fetch_all(conn)
        .await
}

/// One project.
///
/// # Errors
/// When the database does not answer.
pub async fn project(conn: &mut PgConnection, tenant: TenantId, id: ProjectId) -> Answer<Option<ProjectRow>> {
    sqlx::query_as("SELECT * FROM projects WHERE tenant = $1 AND project = $2")
        .bind(tenant.uuid())
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// Those of these projects that exist, in no order.
///
/// # Errors
/// When the database does not answer.
pub async fn projects_by_id(conn: &mut PgConnection, tenant: TenantId, ids: &[ProjectId]) -> Answer<Vec<ProjectRow>> {
    sqlx::query_as("SELECT * FROM projects WHERE tenant = $1 AND project = ANY ($2)")
        .bind(tenant.uuid())
        .bind(uuids(ids))
        .fetch_all(conn)
        .await
}

const PROJECTS: Lists = Lists {
    table: "projects",
    whose: &["asked.owner IS NULL", "workspace = asked.owner"],
    by: "project",
    falling: false,
};

/// A part of each of these workspaces' projects, the oldest first; of all the tenant's where no workspace is named.
///
/// # Errors
/// When the database does not answer.
pub async fn projects(
    conn: &mut PgConnection,
    tenant: TenantId,
    asked: &[(Option<WorkspaceId>, Page<ProjectId>)],
) -> Answer<Vec<Vec<ProjectRow>>> {
    let asked: Vec<_> = asked.iter().map(|(of, page)| ((of.map(domain::Id::uuid), None), *page)).collect();
    PROJECTS.pages(conn, tenant.uuid(), &asked).await
}

/// How many projects each of these workspaces has; the tenant where no workspace is named.
///
/// # Errors
/// When the database does not answer.
pub async fn count_projects(
    conn: &mut PgConnection,
    tenant: TenantId,
    asked: &[Option<WorkspaceId>],
) -> Answer<Vec<i64>> {
    let asked: Vec<_> = asked.iter().map(|of| (of.map(domain::Id::uuid), None)).collect();
    PROJECTS.counts(conn, tenant.uuid(), &asked).await
}

/// The cards on the project's board, in the order of their places in their lanes.
///
/// # Errors
/// When the database does not answer.
pub async fn cards(conn: &mut PgConnection, tenant: TenantId, project: ProjectId) -> Answer<Vec<CardRow>> {
    sqlx::query_as("SELECT * FROM cards WHERE tenant = $1 AND project = $2 AND NOT archived ORDER BY lane, rank, card")
        .bind(tenant.uuid())
        .bind(project.uuid())
        .fetch_all(conn)
        .await
}

/// The project's cards that changed after `position`, archived ones among them, in the order of their last change.
///
/// # Errors
/// When the database does not answer.
pub async fn cards_changed(
    conn: &mut PgConnection,
    tenant: TenantId,
    project: ProjectId,
    position: i64,
) -> Answer<Vec<CardRow>> {
    sqlx::query_as("SELECT * FROM cards WHERE tenant = $1 AND project = $2 AND position > $3 ORDER BY position, card")
        .bind(tenant.uuid())
        .bind(project.uuid())
        .bind(position)
        .fetch_all(conn)
        .await
}

/// One card, on the board or off it.
///
/// # Errors
/// When the database does not answer.
pub async fn card(conn: &mut PgConnection, tenant: TenantId, id: CardId) -> Answer<Option<CardRow>> {
    sqlx::query_as("SELECT * FROM cards WHERE tenant = $1 AND card = $2")
        .bind(tenant.uuid())
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// Those of these cards that exist, on the board or off it, in no order.
///
/// # Errors
/// When the database does not answer.
pub async fn cards_by_id(conn: &mut PgConnection, tenant: TenantId, ids: &[CardId]) -> Answer<Vec<CardRow>> {
    sqlx::query_as("SELECT * FROM cards WHERE tenant = $1 AND card = ANY ($2)")
        .bind(tenant.uuid())
        .bind(uuids(ids))
        .fetch_all(conn)
        .await
}

/// The lanes of the project that hold cards.
///
/// # Errors
/// When the database does not answer.
pub async fn occupied_lanes(
    conn: &mut PgConnection,
    tenant: TenantId,
    project: ProjectId,
) -> Answer<BTreeSet<LaneKey>> {
    let lanes: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT lane FROM cards WHERE tenant = $1 AND project = $2 AND NOT archived")
            .bind(tenant.uuid())
            .bind(project.uuid())
            .fetch_all(conn)
            .await?;
    // What a card stands in was a valid key when it was written.
    Ok(lanes.iter().filter_map(|lane| LaneKey::new(lane).ok()).collect())
}
