//! Reading the log: one stream's state, one command's answer, pages of events.

use std::sync::Arc;

use domain::id::CommandId;
use domain::{Decider, EventId, TenantId};
use schemas::Recorded;
use schemas::evidence::Hash;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::log::{begin, set_tenant};
use crate::row::{self, events, recorded};
use crate::{Appended, Log, LogError};

/// An aggregate as the log has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded<A> {
    /// The fold of its events.
    pub state: A,
    /// How many events it has; 0 when it does not exist.
    pub version: i64,
    /// The position of its last event; 0 when it does not exist.
    pub position: i64,
    /// The chain after its last event; zeros when it does not exist.
    pub chain: Hash,
}

/// A command that was appended before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastCommand {
    /// What it said, digested.
    pub fingerprint: [u8; 32],
    /// What it led to.
    pub appended: Appended,
}

impl Log {
    /// The aggregate's state, in one round trip. A stream of another aggregate or another tenant looks like none.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Decode`] or [`LogError::Row`] when an event makes no sense to this release.
    pub async fn load<A: Decider>(&self, tenant: TenantId, stream: Uuid) -> Result<Loaded<A>, LogError> {
        let rows = sqlx::query(
            "SELECT id, version, position, chain, event_type, event_version, payload::text FROM log.load($1, $2, $3, $4)",
        )
        .bind(self.partition_of(tenant))
        .bind(tenant.uuid())
        .bind(A::TYPE)
        .bind(stream)
        .fetch_all(self.app_pool())
        .await?;
        let whole = rows.first().map(|first| first.try_get::<i64, _>("version")).transpose()? == Some(1);
        if !whole {
            return self.load_archived(tenant, stream).await;
        }
        let mut loaded = Loaded::<A>::default();
        for row in &rows {
            let name: &str = row.try_get("event_type")?;
            let event = schemas::event::decode_payload::<A>(
                name,
                row::event_version(row.try_get("event_version")?)?,
                row.try_get("payload")?,
            )
            .map_err(|source| decode_error(row, source))?;
            loaded.state.evolve(&event);
        }
        if let Some(last) = rows.last() {
            loaded.version = last.try_get("version")?;
            loaded.position = last.try_get("position")?;
            loaded.chain = Hash(hash(last.try_get("chain")?)?);
        }
        Ok(loaded)
    }

    /// What a command led to, when it was appended before.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn command(&self, tenant: TenantId, command: CommandId) -> Result<Option<PastCommand>, LogError> {
        let row = sqlx::query("SELECT fingerprint, aggregate_type, stream, version, position FROM log.command($1, $2)")
            .bind(tenant.uuid())
            .bind(command.uuid())
            .fetch_optional(self.app_pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let appended = Appended {
            aggregate_type: row.try_get("aggregate_type")?,
            stream: row.try_get("stream")?,
            version: row.try_get("version")?,
            position: row.try_get("position")?,
            partition: self.partition_of(tenant),
        };
        Ok(Some(PastCommand { fingerprint: hash(row.try_get("fingerprint")?)?, appended }))
    }

    /// What commands said, digested; without those that were never appended.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn fingerprints(
        &self,
        tenant: TenantId,
        commands: &[CommandId],
    ) -> Result<Vec<(CommandId, [u8; 32])>, LogError> {
        let mut tx = begin(self.app_pool()).await?;
        set_tenant(&mut tx, tenant).await?;
        let rows = sqlx::query("SELECT command, fingerprint FROM log.commands WHERE tenant = $1 AND command = ANY($2)")
            .bind(tenant.uuid())
            .bind(commands.iter().map(|command| command.uuid()).collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await?;
        tx.commit().await?;
        let known =
            |row: &PgRow| Ok((CommandId::from_uuid(row.try_get("command")?), hash(row.try_get("fingerprint")?)?));
        rows.iter().map(known).collect()
    }

    /// Events of all tenants after a position, in order, at most `limit`. For workers.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Row`] when a row makes no sense.
    pub async fn read(&self, partition: i32, after: i64, limit: i64) -> Result<Vec<Recorded>, LogError> {
        let rows = sqlx::query(events!("WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3"))
            .bind(partition)
            .bind(after)
            .bind(limit)
            .fetch_all(self.worker_pool())
            .await?;
        let page = rows.iter().map(recorded).collect::<Result<_, _>>()?;
        self.completed(partition, after, limit, page).await
    }

    /// Events of one tenant after a position, in order, at most `limit`; under row-level security.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Row`] when a row makes no sense.
    pub async fn read_tenant(&self, tenant: TenantId, after: i64, limit: i64) -> Result<Vec<Recorded>, LogError> {
        let mut tx = begin(self.app_pool()).await?;
        set_tenant(&mut tx, tenant).await?;
        let rows =
            sqlx::query(events!("WHERE partition = $1 AND tenant = $2 AND position > $3 ORDER BY position LIMIT $4"))
                .bind(self.partition_of(tenant))
                .bind(tenant.uuid())
                .bind(after)
                .bind(limit)
                .fetch_all(&mut *tx)
                .await?;
        tx.commit().await?;
        // Asked last: whatever left the tables before they were read has its mark by now.
        match self.archived_of_tenant(tenant, after, limit).await? {
            Some(page) => Ok(page),
            None => rows.iter().map(recorded).collect(),
        }
    }

    /// The tenant's events at these positions, in order; under row-level security. What is not there, or is another
    /// tenant's, is left out.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Row`] when a row makes no sense.
    pub async fn read_at(&self, tenant: TenantId, positions: &[i64]) -> Result<Vec<Recorded>, LogError> {
        let mut tx = begin(self.app_pool()).await?;
        set_tenant(&mut tx, tenant).await?;
        let rows = sqlx::query(events!(
            "WHERE partition = $1 AND position = ANY ($2) AND position BETWEEN $3 AND $4 AND tenant = $5 ORDER BY position"
        ))
        .bind(self.partition_of(tenant))
        .bind(positions)
        // The bounds tell in which ranges to look.
        .bind(positions.iter().min())
        .bind(positions.iter().max())
        .bind(tenant.uuid())
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let found = rows.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
        if found.len() == positions.len() { Ok(found) } else { self.archived_at(tenant, positions, found).await }
    }

    /// Events of one stream after a version, in order, at most `limit`; under row-level security.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Row`] when a row makes no sense.
    pub async fn read_stream(
        &self,
        tenant: TenantId,
        stream: Uuid,
        after_version: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, LogError> {
        let mut tx = begin(self.app_pool()).await?;
        set_tenant(&mut tx, tenant).await?;
        let rows = sqlx::query(events!(
            "WHERE partition = $1 AND tenant = $2 AND stream = $3 AND version > $4 \
             AND position >= (SELECT first_position FROM log.streams WHERE tenant = $2 AND stream = $3) \
             AND position <= (SELECT position FROM log.streams WHERE tenant = $2 AND stream = $3) \
             ORDER BY version LIMIT $5"
        ))
        .bind(self.partition_of(tenant))
        .bind(tenant.uuid())
        .bind(stream)
        .bind(after_version)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let page = rows.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
        if page.first().is_some_and(|first| first.version == after_version + 1) {
            return Ok(page);
        }
        self.archived_of_stream(tenant, stream, after_version, limit, page).await
    }

    /// The position of a partition's last event; 0 when it has none.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Partition`] when there is no such partition.
    pub async fn head(&self, partition: i32) -> Result<i64, LogError> {
        sqlx::query_scalar("SELECT position FROM log.clock WHERE partition = $1")
            .bind(partition)
            .fetch_optional(self.worker_pool())
            .await?
            .ok_or(LogError::Partition(partition))
    }
}

/// Events of one tenant, which lives in `partition`, after a position and up to another, in order, at most `limit`; seen by a worker, in its transaction.
pub(crate) async fn of_tenant(
    tx: &mut PgConnection,
    partition: i32,
    tenant: TenantId,
    after: i64,
    upto: i64,
    limit: usize,
) -> Result<Vec<Recorded>, LogError> {
    let rows = sqlx::query(events!(
        "WHERE partition = $1 AND tenant = $2 AND position > $3 AND position <= $4 ORDER BY position LIMIT $5"
    ))
    .bind(partition)
    .bind(tenant.uuid())
    .bind(after)
    .bind(upto)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await?;
    rows.iter().map(recorded).collect()
}

pub(crate) fn hash(bytes: &[u8]) -> Result<[u8; 32], LogError> {
    bytes.try_into().map_err(|_| LogError::Row(format!("a hash of {} bytes", bytes.len())))
}

fn decode_error(row: &PgRow, source: domain::DecodeError) -> LogError {
    match row.try_get("id") {
        Ok(id) => LogError::Decode { event: EventId::from_uuid(id), source: Arc::new(source) },
        Err(error) => error.into(),
    }
}
