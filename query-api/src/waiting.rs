//! Why runs wait, as the queue itself says (`work.waiting`, which answers for the transaction's tenant).

use domain::RunId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// Why a run waits.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct WaitingRow {
    pub(crate) run: Uuid,
    pub(crate) reason: String,
    pub(crate) ahead: i32,
    pub(crate) since: OffsetDateTime,
    pub(crate) until: Option<OffsetDateTime>,
    pub(crate) run_limit: i32,
    pub(crate) under_way: i32,
}

/// Why those of these runs wait that do.
///
/// # Errors
/// When the database fails.
pub(crate) async fn waiting(connection: &mut PgConnection, runs: &[RunId]) -> Result<Vec<WaitingRow>, sqlx::Error> {
    let runs: Vec<Uuid> = runs.iter().map(|run| run.uuid()).collect();
    sqlx::query_as("SELECT * FROM work.waiting($1)").bind(runs).fetch_all(connection).await
}
