//! Why the log could not do what was asked.

use std::sync::Arc;

/// Why the log could not do what was asked. A verdict (conflict, mismatch) is no error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The driver failed: no connection, a time-out, a statement that the database refused.
    #[error("the database failed: {0}")]
    Database(#[source] Arc<sqlx::Error>),
    /// What a row holds makes no sense to this release.
    #[error("event {event} cannot be read: {source}")]
    Decode {
        /// The event's id.
        event: domain::EventId,
        /// What does not fit.
        source: Arc<domain::DecodeError>,
    },
    /// A column of a row makes no sense.
    #[error("a row of the log makes no sense: {0}")]
    Row(String),
    /// An event has no JSON form.
    #[error("an event cannot be written as JSON: {0}")]
    Encode(#[source] Arc<serde_json::Error>),
    /// An append has no events, or too many.
    #[error("an append holds 1 to {max} events, not {count}", max = crate::append::MAX_EVENTS)]
    EventCount {
        /// How many it has.
        count: usize,
    },
    /// Events that were asked for are archived, and no archive is at hand.
    #[error(
        "positions {first} to {last} of partition {partition} are archived: name the store that holds them in archive.store"
    )]
    Archived {
        /// The part of the log.
        partition: i32,
        /// The first archived position.
        first: i64,
        /// The last.
        last: i64,
    },
    /// Events that were asked for are archived, and could not be read from there.
    #[error("the archive could not be read: {0}")]
    Archive(#[source] Arc<crate::archive::ArchiveError>),
    /// The log has no such partition.
    #[error("the log has no partition {0}")]
    Partition(i32),
    /// The database has no log yet.
    #[error("this database holds no log yet: run `agentworks migrate`")]
    NotMigrated,
    /// The log was created with another number of partitions, which is fixed.
    #[error(
        "the log was created with {existing} partition(s), which cannot be changed to {wanted}: set {existing}, or use a new database"
    )]
    Partitions {
        /// How many there are.
        existing: i32,
        /// How many were asked for.
        wanted: i32,
    },
    /// A migration failed.
    #[error("a migration failed: {0}")]
    Migrate(#[source] Arc<sqlx::migrate::MigrateError>),
    /// The process is stopping: the writer takes no more appends.
    #[error("the log's writer has stopped")]
    Stopped,
}

impl LogError {
    /// Whether what an event holds is to blame, so that trying again changes nothing.
    pub(crate) fn is_of_an_event(&self) -> bool {
        matches!(self, Self::Decode { .. } | Self::Row(_) | Self::Encode(_) | Self::EventCount { .. })
    }
}

impl From<sqlx::Error> for LogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<sqlx::migrate::MigrateError> for LogError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate(Arc::new(error))
    }
}
