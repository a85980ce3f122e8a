//! The log: its connections and its partitions.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use domain::TenantId;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Postgres, Transaction};
use tokio::sync::watch;

use crate::append::Sealed;
use crate::archive::Archive;
use crate::snapshot::{self, Snapshots};
use crate::writer::Writer;
use crate::{Append, LogError, Verdict};

/// Connections that have been idle for longer are tried before they are given out.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long a query waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(10);

/// How to reach the log.
#[derive(Clone)]
pub struct LogSettings {
    /// `postgres://…`. The user must be a member of the roles that the migrations made. May hold a password: never shown.
    pub url: String,
    /// Connections of each of the two pools.
    pub max_connections: u32,
    /// Whether each group of appends tells the relays in other processes at once.
    pub notify: bool,
}

impl fmt::Debug for LogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSettings")
            .field("max_connections", &self.max_connections)
            .field("notify", &self.notify)
            .finish_non_exhaustive()
    }
}

/// The log. Cheap to clone; all clones share the pools and the writers.
#[derive(Debug, Clone)]
pub struct Log {
    app: PgPool,
    worker: PgPool,
    pub(crate) snapshots: Snapshots,
    pub(crate) snapshot_events: usize,
    /// One a partition.
    writers: Arc<[Writer]>,
    /// Where archived ranges are, when that is known.
    pub(crate) archive: Option<Archive>,
}

impl Log {
    /// Connects, and starts a writer task for each partition.
    ///
    /// # Errors
    /// [`LogError::NotMigrated`] on a database without a log; [`LogError::Database`].
    pub async fn connect(settings: &LogSettings) -> Result<Self, LogError> {
        let options = PgConnectOptions::from_str(&settings.url)?;
        let worker = pool(settings, as_role(&options, "agentworks_worker")).await.map_err(missing)?;
        let partitions: i32 =
            sqlx::query_scalar("SELECT count(*)::int FROM log.clock").fetch_one(&worker).await.map_err(missing)?;
        if partitions == 0 {
            return Err(LogError::NotMigrated);
        }
        let app_options = as_role(&options, "agentworks_app");
        let app = pool(settings, app_options.clone()).await?;
        let writers = (0..partitions).map(|p| Writer::start(app_options.clone(), p, settings.notify)).collect();
        let snapshots = Snapshots::start(worker.clone());
        Ok(Self { app, worker, snapshots, snapshot_events: snapshot::EVERY, writers, archive: None })
    }

    /// The same, where a load leaves a snapshot after so many events instead of 50.
    #[must_use]
    pub fn snapshot_after(mut self, events: usize) -> Self {
        self.snapshot_events = events.max(1);
        self
    }

    /// Connections in role `agentworks_app`: every read is under row-level security.
    pub fn app_pool(&self) -> &PgPool {
        &self.app
    }

    /// Connections in role `agentworks_worker`: reads all tenants; writes read models, jobs and positions; cannot write
    /// the log.
    pub fn worker_pool(&self) -> &PgPool {
        &self.worker
    }

    /// How many partitions the log has, fixed when it was created.
    pub fn partitions(&self) -> i32 {
        i32::try_from(self.writers.len()).unwrap_or(i32::MAX)
    }

    /// The partition that a tenant lives in: the first 8 bytes of the SHA-256 of its UUID, as a big-endian number,
    /// modulo the number of partitions.
    pub fn partition_of(&self, tenant: TenantId) -> i32 {
        i32::try_from(self.index_of(tenant)).unwrap_or(i32::MAX)
    }

    fn index_of(&self, tenant: TenantId) -> usize {
        let hash = Sha256::digest(tenant.uuid().as_bytes());
        let number = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        usize::try_from(number % self.writers.len() as u64).unwrap_or(0)
    }

    /// Appends a command's events, all or none. Safe to repeat with the same command id: it happens once.
    ///
    /// Waits while the writer's queue is full. When the connection is lost in the middle it is tried once more; the
    /// command id tells whether the first try came through.
    ///
    /// # Errors
    /// [`LogError::EventCount`], [`LogError::Database`] (the outcome is unknown then; repeat it), [`LogError::Stopped`].
    pub async fn append(&self, append: Append) -> Result<Verdict, LogError> {
        self.append_sealed(Sealed::new(append)?).await
    }

    pub(crate) async fn append_sealed(&self, sealed: Sealed) -> Result<Verdict, LogError> {
        let writer = self.writers.get(self.index_of(sealed.append.metadata.tenant)).ok_or(LogError::Stopped)?;
        writer.append(sealed).await
    }

    /// The highest position of a partition that *this process* has appended, as it grows: wakes a relay in the same
    /// process. `None` when there is no such partition.
    pub fn appended(&self, partition: i32) -> Option<watch::Receiver<i64>> {
        self.writers.get(usize::try_from(partition).ok()?).map(Writer::appended)
    }

    /// A transaction that sees one tenant's rows as of one moment: repeatable read, read only, role `agentworks_app`.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn tenant_read(&self, tenant: TenantId) -> Result<Transaction<'static, Postgres>, LogError> {
        let mut tx = self.snapshot().await?;
        set_tenant(&mut tx, tenant).await?;
        Ok(tx)
    }

    /// As [`Log::tenant_read`], without a tenant: there are no rows until its first statement sets one. That statement's
    /// moment is the transaction's.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, LogError> {
        Ok(begin_with(&self.app, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
    }
}

/// Begins a transaction that is safe to give up at any moment.
///
/// The driver counts a transaction as open only once `BEGIN` was answered. A caller that goes away in between (a client
/// that hung up) would leave the connection in the pool inside a transaction, and whoever got it next in an old
/// snapshot. So it is begun in a task of its own, which always hears the answer.
///
/// # Errors
/// When the database fails.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    begin_with(pool, "BEGIN").await
}

async fn begin_with(pool: &PgPool, statement: &'static str) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    // The task is not there any more only when the process is stopping.
    tokio::spawn(async move { pool.begin_with(statement).await }).await.unwrap_or(Err(sqlx::Error::PoolClosed))
}

/// Sets the tenant that row-level security lets through, until the transaction's end.
pub(crate) async fn set_tenant(tx: &mut Transaction<'static, Postgres>, tenant: TenantId) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT set_config('agentworks.tenant', $1, true)")
        .bind(tenant.uuid().to_string())
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// The same server and user, acting in a role of less power.
pub(crate) fn as_role(options: &PgConnectOptions, role: &str) -> PgConnectOptions {
    options.clone().application_name(role).options([("role", role)])
}

async fn pool(settings: &LogSettings, options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(settings.max_connections.max(1))
        .acquire_timeout(ACQUIRE)
        // A ping before every query would double its round trips; a connection that was just used is trusted.
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options.options([("statement_timeout", "60s"), ("idle_in_transaction_session_timeout", "60s")]))
        .await
}

/// A table, schema or role that is not there (or not granted) means that nobody has migrated yet.
fn missing(error: sqlx::Error) -> LogError {
    let code = error.as_database_error().and_then(|error| error.code());
    if code.is_some_and(|code| ["42P01", "3F000", "42501", "22023"].contains(&code.as_ref())) {
        return LogError::NotMigrated;
    }
    error.into()
}
