//! Questions about history.

use domain::TenantId;
use domain::id::CardId;
use sqlx::PgConnection;

use super::row::HistoryRow;
use crate::page::{Lists, Page};

const LISTS: Lists = Lists { table: "card_history", whose: &["card = asked.owner"], by: "position", falling: false };

/// A part of the card's history, always in the order in which things happened; places are positions.
///
/// # Errors
/// When the database does not answer.
pub async fn history(
    conn: &mut PgConnection,
    tenant: TenantId,
    card: CardId,
    page: Page<i64>,
) -> Result<Vec<HistoryRow>, sqlx::Error> {
    Ok(histories(conn, tenant, &[(card, page)]).await?.pop().unwrap_or_default())
}

/// As [`history`], of several cards.
///
/// # Errors
/// When the database does not answer.
pub async fn histories(
    conn: &mut PgConnection,
    tenant: TenantId,
    asked: &[(CardId, Page<i64>)],
) -> Result<Vec<Vec<HistoryRow>>, sqlx::Error> {
    let asked: Vec<_> = asked.iter().map(|(card, page)| ((Some(card.uuid()), None), *page)).collect();
    LISTS.pages(conn, tenant.uuid(), &asked).await
}

/// How long the histories of these cards are.
///
/// # Errors
/// When the database does not answer.
pub async fn lengths(conn: &mut PgConnection, tenant: TenantId, cards: &[CardId]) -> Result<Vec<i64>, sqlx::Error> {
    let asked: Vec<_> = cards.iter().map(|card| (Some(card.uuid()), None)).collect();
    LISTS.counts(conn, tenant.uuid(), &asked).await
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
