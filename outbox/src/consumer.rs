//! Consumers: what is done with the events, in order, each exactly once.
//!
//! A consumer writes its position in the same transaction as what it does with the events, so both happen or neither
//! does. Where an event comes from (the bus or the log) makes no difference: `position == last + 1` is applied,
//! `<= last` is dropped, anything beyond is a gap and is read from the log.
//!
//! # What cannot be applied
//!
//! A database that fails is tried again for ever. An event that is refused ([`ApplyError::refused`]) is looked for by
//! narrowing the page, tried a few times alone, and then its tenant is *parked* for this consumer: its events are left
//! out from that one on, and everybody else's go on. [`parking::retry`] takes a tenant up again where it was parked;
//! [`parking::skip`] does without an event. Nothing is ever skipped otherwise. A reader of a tenant's rows asks
//! [`tenant_position`], which claims no more than what was applied of that tenant.
//!
//! # Writing one
//!
//! It says who it is, what it does with a page inside the transaction that also moves its position, and how to undo all of
//! it. The whole program is `examples/counts.rs`.
//!
//! ```
//! use async_trait::async_trait;
//! use outbox::consumer::{ApplyError, Consumer, Touched};
//! use outbox::{Bus, Log, LogError};
//! use schemas::Recorded;
//! use sqlx::PgConnection;
//! use tokio_util::sync::CancellationToken;
//!
//! /// Counts events in a table of its own.
//! struct Counts;
//!
//! #[async_trait]
//! impl Consumer for Counts {
//!     fn name(&self) -> &'static str {
//!         "counts"
//!     }
//!
//!     async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
//!         let count = i64::try_from(page.len()).unwrap_or(i64::MAX);
//!         sqlx::query("UPDATE read.counts SET count = count + $1").bind(count).execute(tx).await?;
//!         Ok(Touched::default())
//!     }
//!
//!     async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
//!         sqlx::query("UPDATE read.counts SET count = 0").execute(tx).await.map(drop)
//!     }
//! }
//!
//! /// Counts what is in a partition, and what comes, until it is stopped.
//! async fn count(log: Log, bus: Option<Bus>, partition: i32, stop: CancellationToken) -> Result<(), LogError> {
//!     outbox::consumer::run(log, bus, std::sync::Arc::new(Counts), partition, stop).await
//! }
//! ```

mod harness;
mod page;
pub mod parking;
mod rebuild;

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::TenantId;
pub use harness::run;
pub use page::advance;
pub use rebuild::{catch_up, rebuild};
use schemas::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::LogError;

/// Topics (ids of projects, runs, cards …) that a page changed; told to whoever watches the consumer's progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched(pub BTreeSet<Uuid>);

/// Why a page could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database failed, or refused what it was given.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An event makes no sense to this release.
    #[error("an event cannot be read: {0}")]
    Decode(#[from] domain::DecodeError),
    /// The consumer refuses an event, for a reason that will be the same the next time.
    #[error("{0}")]
    Other(String),
    /// Something that the consumer needs is away. Tried again for ever; parks nobody.
    #[error("{0}")]
    Unavailable(String),
    /// The consumer panicked.
    #[error("the consumer panicked: {0}")]
    Panicked(String),
}

impl ApplyError {
    /// Whether an event is to blame, so that trying again changes nothing: it cannot be read, the consumer refuses it or
    /// panics over it, or the database will not store what follows from it (a value out of range, a violated constraint).
    pub fn refused(&self) -> bool {
        match self {
            Self::Decode(_) | Self::Other(_) | Self::Panicked(_) => true,
            Self::Database(error) => refuses_data(error),
            Self::Log(LogError::Database(error)) => refuses_data(error),
            Self::Log(error) => error.is_of_an_event(),
            Self::Unavailable(_) => false,
        }
    }
}

/// SQLSTATE classes 22 (data exception) and 23 (integrity constraint violation).
fn refuses_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// What is done with the events, in order, each exactly once.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Its durable identity: the row in `log.consumers` that holds its position. Letters, digits, `-` and `_` only.
    fn name(&self) -> &'static str;

    /// Applies a page of events of one partition, in order, inside the transaction that also moves the position
    /// (role `agentworks_worker`). Effects outside of `tx` may happen more than once.
    ///
    /// A tenant's events always come in their order. Those of a parked tenant come later than their neighbours', so
    /// nothing of one tenant may follow from another's.
    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError>;

    /// Called after the page is committed: the place to wake others. Not called when the process dies in between.
    async fn committed(&self, _page: &[Recorded]) {}

    /// Deletes everything that `apply` has written, of all partitions.
    async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error>;
}

/// The position up to which a consumer has come in a partition; 0 when it has not begun. Parked tenants may be further
/// back: who reads a tenant's rows asks [`tenant_position`].
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

/// The position up to which a consumer has applied the events of a tenant, which lives in `partition`; 0 when it has not
/// begun. Both roles may ask, best in the snapshot that also reads what the consumer wrote.
///
/// # Errors
/// When the database fails.
pub async fn tenant_position(
    conn: &mut PgConnection,
    consumer: &str,
    partition: i32,
    tenant: TenantId,
) -> Result<i64, sqlx::Error> {
    let position = sqlx::query_scalar(
        "SELECT least(c.position, (SELECT p.position - 1 FROM log.parked p WHERE p.consumer = $1 AND p.tenant = $3)) \
         FROM log.consumers c WHERE c.name = $1 AND c.partition = $2",
    )
    .bind(consumer)
    .bind(partition)
    .bind(tenant.uuid())
    .fetch_optional(conn)
    .await?;
    Ok(position.unwrap_or(0))
}

/// Makes the row of a consumer that has none yet. Its position.
///
/// # Errors
/// When the database fails.
pub async fn register(conn: &mut PgConnection, consumer: &str, partition: i32) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO log.consumers (name, partition) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(consumer)
        .bind(partition)
        .execute(&mut *conn)
        .await?;
    position(conn, consumer, partition).await
}
