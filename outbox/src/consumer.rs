//! Consumers: what is done with the events, in order, each exactly once.
//!
//! A consumer writes its position in the same transaction as what it does with the events, so both happen or neither
//! does. Where an event comes from (the bus or the log) makes no difference: `position == last + 1` is applied,
//! `<= last` is dropped, anything beyond is a gap and is read from the log. An event is never skipped: one that cannot be
//! applied holds its consumer up, visibly, until it can.

mod harness;
mod rebuild;

use std::collections::BTreeSet;

use async_trait::async_trait;
pub use harness::run;
pub use rebuild::rebuild;
use schemas::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::LogError;

/// Topics (ids of projects, runs, cards …) that a page changed; told to whoever watches the consumer's progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched(pub BTreeSet<Uuid>);

/// Why a page could not be applied. It is tried again for ever, never skipped.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An event makes no sense to this release.
    #[error("an event cannot be read: {0}")]
    Decode(#[from] domain::DecodeError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What is done with the events, in order, each exactly once.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Its durable identity: the row in `log.consumers` that holds its position. Letters, digits, `-` and `_` only.
    fn name(&self) -> &'static str;

    /// Applies a page of events of one partition, in order, inside the transaction that also moves the position
    /// (role `agentworks_worker`). Effects outside of `tx` may happen more than once.
    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError>;

    /// Called after the page is committed: the place to wake others. Not called when the process dies in between.
    async fn committed(&self, _page: &[Recorded]) {}

    /// Deletes everything that `apply` has written, of all partitions.
    async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error>;
}

/// The position of the last event of a partition that a consumer has applied; 0 when it has none. Both roles may ask,
/// best in the snapshot that also reads what the consumer wrote.
///
/// # Errors
/// When the database fails.
pub async fn position(conn: &mut PgConnection, consumer: &str, partition: i32) -> Result<i64, sqlx::Error> {
    let position = sqlx::query_scalar("SELECT position FROM log.consumers WHERE name = $1 AND partition = $2")
        .bind(consumer)
        .bind(partition)
        .fetch_optional(conn)
        .await?;
    Ok(position.unwrap_or(0))
}

/// Moves a consumer from one position to another, and holds the row until the transaction ends. False when it is not
/// (or no longer) at `from`.
async fn advance(
    tx: &mut PgConnection,
    consumer: &str,
    partition: i32,
    from: i64,
    to: i64,
) -> Result<bool, sqlx::Error> {
    let moved =
        sqlx::query("UPDATE log.consumers SET position = $4 WHERE name = $1 AND partition = $2 AND position = $3")
            .bind(consumer)
            .bind(partition)
            .bind(from)
            .bind(to)
            .execute(tx)
            .await?;
    Ok(moved.rows_affected() == 1)
}

/// Makes the row of a consumer that has none yet. Its position.
async fn register(conn: &mut PgConnection, consumer: &str, partition: i32) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO log.consumers (name, partition) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(consumer)
        .bind(partition)
        .execute(&mut *conn)
        .await?;
    position(conn, consumer, partition).await
}
