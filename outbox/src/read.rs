//! Reading the log: one stream's state, one command's answer, pages of events.

use std::sync::Arc;

use domain::id::CommandId;
use domain::{Decider, TenantId};
use futures::TryStreamExt as _;
use schemas::Recorded;
use schemas::evidence::Hash;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::log::{begin, set_tenant};
use crate::row::{self, events, recorded};
use crate::{Appended, Log, LogError, snapshot};

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

/// The columns of `log.load`: where the stream is, its snapshot, its events since.
const VERSION: usize = 0;
const POSITION: usize = 1;
const CHAIN: usize = 2;
const CUT: usize = 3;
const STATE: usize = 4;
const DIGEST: usize = 5;
const TYPES: usize = 6;
const VERSIONS: usize = 7;
const PAYLOADS: usize = 8;
/// What stands between two payloads.
const SEPARATOR: char = '\u{1e}';
/// The form that no snapshot has.
const NO_FORM: i32 = 0;

impl Log {
    /// The aggregate's state, in one round trip: its snapshot, when it has one that holds, and the events since. A stream
    /// of another aggregate or another tenant looks like none.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Decode`] or [`LogError::Row`] when an event makes no sense to this release.
    pub async fn load<A: Decider>(&self, tenant: TenantId, stream: Uuid) -> Result<Loaded<A>, LogError> {
        let Some(row) = self.row(tenant, A::TYPE, stream, A::STATE).await? else { return Ok(Loaded::default()) };
        let Some(cut) = row.try_get::<Option<i64>, _>(CUT)? else {
            return self.folded(tenant, stream, (A::default(), 0), &row).await;
        };
        if let Some(state) = snapshot::read(tenant, stream, cut, text(&row, STATE)?, row.try_get(DIGEST)?) {
            return self.folded(tenant, stream, (state, cut), &row).await;
        }
        tracing::warn!(%stream, aggregate = A::TYPE, version = cut, "a snapshot is damaged; it is not used");
        let Some(row) = self.row(tenant, A::TYPE, stream, NO_FORM).await? else { return Ok(Loaded::default()) };
        self.folded(tenant, stream, (A::default(), 0), &row).await
    }

    async fn row(
        &self,
        tenant: TenantId,
        aggregate_type: &str,
        stream: Uuid,
        form: i32,
    ) -> Result<Option<PgRow>, sqlx::Error> {
        sqlx::query(
            "SELECT version, position, chain, cut, state, digest, types, versions, payloads \
             FROM log.load($1, $2, $3, $4, $5)",
        )
        .bind(self.partition_of(tenant))
        .bind(tenant.uuid())
        .bind(aggregate_type)
        .bind(stream)
        .bind(form)
        .fetch_optional(self.app_pool())
        .await
    }

    /// What the row's events make of a state at a version. Many leave a snapshot.
    async fn folded<A: Decider>(
        &self,
        tenant: TenantId,
        stream: Uuid,
        (mut state, cut): (A, i64),
        row: &PgRow,
    ) -> Result<Loaded<A>, LogError> {
        let version: i64 = row.try_get(VERSION)?;
        let versions: Vec<i32> = row.try_get::<Option<_>, _>(VERSIONS)?.unwrap_or_default();
        if i64::try_from(versions.len()).is_ok_and(|count| cut + count != version) {
            // The others are in the archive.
            let loaded = self.load_archived(tenant, stream).await?;
            self.snapshots.take(tenant, stream, &loaded);
            return Ok(loaded);
        }
        let types: &str = row.try_get::<Option<_>, _>(TYPES)?.unwrap_or_default();
        let payloads: &str = row.try_get::<Option<_>, _>(PAYLOADS)?.unwrap_or_default();
        let events = types.split(' ').zip(payloads.split(SEPARATOR)).zip(&versions);
        for (((name, payload), event_version), before) in events.zip(cut..) {
            match schemas::event::decode_payload::<A>(name, row::event_version(*event_version)?, payload) {
                Ok(event) => state.evolve(&event),
                Err(source) => return Err(self.decode_error(tenant, stream, before, source).await),
            }
        }
        let loaded =
            Loaded { state, version, position: row.try_get(POSITION)?, chain: Hash(hash(row.try_get(CHAIN)?)?) };
        if versions.len() >= self.snapshot_events {
            self.snapshots.take(tenant, stream, &loaded);
        }
        Ok(loaded)
    }

    /// The event after a version of a stream makes no sense: which it is.
    async fn decode_error(&self, tenant: TenantId, stream: Uuid, before: i64, source: domain::DecodeError) -> LogError {
        match self.read_stream(tenant, stream, before, 1).await.as_deref() {
            Ok([event, ..]) => LogError::Decode { event: event.id, source: Arc::new(source) },
            Ok([]) => LogError::Row(format!("the event after version {before} of {stream}: {source}")),
            Err(error) => error.clone(),
        }
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

    /// Events of all tenants after a position, in order: `limit` of them, fewer only at the end of the log. For workers.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Row`] when a row makes no sense.
    pub async fn read(&self, partition: i32, after: i64, limit: i64) -> Result<Vec<Recorded>, LogError> {
        // Positions are dense, so that these are `limit` events. A bound instead of a LIMIT: without fresh statistics the
        // planner would read and sort all that is behind `after`.
        let mut rows =
            sqlx::query(events!("WHERE partition = $1 AND position > $2 AND position <= $3 ORDER BY position"))
                .bind(partition)
                .bind(after)
                .bind(after.saturating_add(limit))
                .fetch(self.worker_pool());
        // Each is decoded as it comes, while the server goes on.
        let mut page = Vec::new();
        while let Some(row) = rows.try_next().await? {
            page.push(recorded(&row)?);
        }
        drop(rows);
        self.completed(partition, after, limit, page).await
    }

    /// Events of one tenant after a position, in order: `limit` of them, fewer only at the end of the log; under row-level
    /// security.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Row`] when a row makes no sense.
    pub async fn read_tenant(&self, tenant: TenantId, after: i64, limit: i64) -> Result<Vec<Recorded>, LogError> {
        let mut tx = begin(self.app_pool()).await?;
        set_tenant(&mut tx, tenant).await?;
        let page = of_tenant(&mut tx, self.partition_of(tenant), tenant, after, i64::MAX, limit).await?;
        tx.commit().await?;
        self.completed_of_tenant(tenant, after, limit, page).await
    }

    /// The tenant's events at these positions, in order; under row-level security. What is not there, or is another
    /// tenant's, is left out.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Row`] when a row makes no sense.
    pub async fn read_at(&self, tenant: TenantId, positions: &[i64]) -> Result<Vec<Recorded>, LogError> {
        let mut tx = begin(self.app_pool()).await?;
        set_tenant(&mut tx, tenant).await?;
        let found = at(&mut tx, self.partition_of(tenant), tenant, positions).await?;
        tx.commit().await?;
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

/// Events of one tenant, which lives in `partition`, after a position and up to another, in order: `limit` of them, fewer
/// only where there are no more; without those of archived ranges.
pub(crate) async fn of_tenant(
    conn: &mut PgConnection,
    partition: i32,
    tenant: TenantId,
    after: i64,
    upto: i64,
    limit: i64,
) -> Result<Vec<Recorded>, LogError> {
    let positions: Vec<i64> = sqlx::query_scalar("SELECT log.tenant_positions($1, $2, $3, $4, $5)")
        .bind(partition)
        .bind(tenant.uuid())
        .bind(after)
        .bind(upto)
        .bind(limit)
        .fetch_one(&mut *conn)
        .await?;
    if positions.is_empty() { Ok(vec![]) } else { at(conn, partition, tenant, &positions).await }
}

/// A tenant's events at these positions, in order, as far as they are there.
async fn at(
    conn: &mut PgConnection,
    partition: i32,
    tenant: TenantId,
    positions: &[i64],
) -> Result<Vec<Recorded>, LogError> {
    let rows = sqlx::query(events!(
        "WHERE partition = $1 AND position = ANY ($2) AND position BETWEEN $3 AND $4 AND tenant = $5 ORDER BY position"
    ))
    .bind(partition)
    .bind(positions)
    // The bounds tell in which ranges to look.
    .bind(positions.iter().min())
    .bind(positions.iter().max())
    .bind(tenant.uuid())
    .fetch_all(conn)
    .await?;
    rows.iter().map(recorded).collect()
}

/// The text of a JSON value, as the database sent it.
fn text(row: &PgRow, column: usize) -> Result<&str, LogError> {
    row.try_get_raw(column)?.as_str().map_err(|error| LogError::Row(error.to_string()))
}

pub(crate) fn hash(bytes: &[u8]) -> Result<[u8; 32], LogError> {
    bytes.try_into().map_err(|_| LogError::Row(format!("a hash of {} bytes", bytes.len())))
}
