//! Questions about usage.

use domain::TenantId;
use domain::id::ProjectId;
use sqlx::PgConnection;
use time::Date;

use super::row::UsageRow;

/// What was used from `from` to `to`, both included, the earliest day first; in one project when it is named.
///
/// # Errors
/// When the database does not answer.
pub async fn usage(
    conn: &mut PgConnection,
    tenant: TenantId,
    from: Date,
    to: Date,
    project: Option<ProjectId>,
) -> Result<Vec<UsageRow>, sqlx::Error> {
    let one = project.map(|project| [project]);
    usage_in(conn, tenant, from, to, one.as_ref().map(<[ProjectId; 1]>::as_slice)).await
}

/// As [`usage`], only in these projects when some are named.
///
/// # Errors
/// When the database does not answer.
pub async fn usage_in(
    conn: &mut PgConnection,
    tenant: TenantId,
    from: Date,
    to: Date,
    projects: Option<&[ProjectId]>,
) -> Result<Vec<UsageRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM usage WHERE tenant = $1 AND day BETWEEN $2 AND $3 \
         AND ($4::uuid[] IS NULL OR project = ANY ($4)) ORDER BY day, project, provider, model",
    )
    .bind(tenant.uuid())
    .bind(from)
    .bind(to)
    .bind(projects.map(|ids| ids.iter().map(|id| id.uuid()).collect::<Vec<_>>()))
    .fetch_all(conn)
    .await
}
