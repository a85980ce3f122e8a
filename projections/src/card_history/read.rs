//! Questions about history.

use domain::TenantId;
use domain::id::CardId;
use sqlx::PgConnection;

use super::row::HistoryRow;

/// Which part of a history: at most `limit` rows, from its beginning or from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only what happened after this position.
    pub after: Option<i64>,
    /// Only what happened before this position.
    pub before: Option<i64>,
    /// Whether the last rows of that range are wanted, not the first.
    pub last: bool,
    /// How many.
    pub limit: i64,
}

/// A part of the card's history, always in the order in which things happened.
///
/// # Errors
/// When the database does not answer.
pub async fn history(
    conn: &mut PgConnection,
    tenant: TenantId,
    card: CardId,
    page: Page,
) -> Result<Vec<HistoryRow>, sqlx::Error> {
    let select = if page.last {
        "SELECT * FROM card_history WHERE tenant = $1 AND card = $2 AND position > $3 AND position < $4 \
         ORDER BY position DESC LIMIT $5"
    } else {
        "SELECT * FROM card_history WHERE tenant = $1 AND card = $2 AND position > $3 AND position < $4 \
         ORDER BY position LIMIT $5"
    };
    let mut rows: Vec<HistoryRow> = sqlx::query_as(select)
        .bind(tenant.uuid())
        .bind(card.uuid())
        .bind(page.after.unwrap_or(0))
        .bind(page.before.unwrap_or(i64::MAX))
        .bind(page.limit)
        .fetch_all(conn)
        .await?;
    if page.last {
        rows.reverse();
    }
    Ok(rows)
}

/// The positions of the events that concern the card, after one and up to another, in order, at most `limit`.
///
/// # Errors
/// When the database does not answer.
pub async fn positions(
    conn: &mut PgConnection,
    tenant: TenantId,
    card: CardId,
    after: i64,
    upto: i64,
    limit: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT position FROM card_history WHERE tenant = $1 AND card = $2 AND position > $3 AND position <= $4 \
         ORDER BY position LIMIT $5",
    )
    .bind(tenant.uuid())
    .bind(card.uuid())
    .bind(after)
    .bind(upto)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Whether anything is known of the card.
///
/// # Errors
/// When the database does not answer.
pub async fn exists(conn: &mut PgConnection, tenant: TenantId, card: CardId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM card_history WHERE tenant = $1 AND card = $2)")
        .bind(tenant.uuid())
        .bind(card.uuid())
        .fetch_one(conn)
        .await
}
