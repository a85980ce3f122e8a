//! The notary: signs checkpoints of what has moved, puts them into the platform's log, and publishes that log's own.
//!
//! A checkpoint is only signed when the tree begins with what the last one said; anything else is an alarm, and stays
//! unsigned. Several notaries are harmless: the platform's tree is locked by whoever signs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::TenantId;
use schemas::evidence::Hash;
use schemas::evidence::checkpoint::{Checkpoint, Keys, origin, platform_origin};
use schemas::evidence::merkle::Frontier;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::tree::{Leaf, count, number};
use super::{PLATFORM, proof, publish, tree};
use crate::log::begin;
use crate::{Log, LogError, Place, PlaceError, crash};

/// Trees that one transaction signs.
const BATCH: i64 = 100;

/// How often to sign, and where to.
#[derive(Debug)]
pub struct NotarySettings {
    /// What the installation calls itself: the first part of every log's name.
    pub installation: String,
    /// The longest that an event waits for a checkpoint.
    pub interval: Duration,
    /// Events after which there is one at once.
    pub events: usize,
    /// Where the platform's checkpoints are published.
    pub places: Vec<Place>,
}

/// Why nothing was signed or published.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A tree does not begin with what was signed before.
    #[error("the tree of {origin} does not begin with its checkpoint of size {size}: the log was altered")]
    Altered {
        /// Which log.
        origin: String,
        /// The checkpoint that it contradicts.
        size: u64,
    },
    /// A tenant has no events.
    #[error("tenant {0} has no events")]
    Empty(TenantId),
    /// The tree is smaller than what is to be signed.
    #[error("the tree of {origin} does not have {size} leaves yet")]
    Behind {
        /// Which log.
        origin: String,
        /// The size that was asked for.
        size: u64,
    },
    /// A place failed, or says what is not so.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl From<sqlx::Error> for NotaryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// Tells a notary how much there is to sign.
#[derive(Debug, Clone)]
pub(super) struct Wake(Arc<Moved>);

#[derive(Debug)]
struct Moved {
    events: AtomicUsize,
    enough: usize,
    notify: Notify,
}

impl Wake {
    pub(super) fn moved(&self, events: usize) {
        if self.0.events.fetch_add(events, Ordering::Relaxed) + events >= self.0.enough {
            self.0.notify.notify_one();
        }
    }
}

/// Signs and publishes.
#[derive(Debug)]
pub struct Notary {
    log: Log,
    keys: Arc<Keys>,
    settings: NotarySettings,
    moved: Arc<Moved>,
}

impl Notary {
    /// A notary of a log.
    pub fn new(log: Log, keys: Arc<Keys>, settings: NotarySettings) -> Self {
        let moved = Moved { events: AtomicUsize::new(0), enough: settings.events.max(1), notify: Notify::new() };
        Self { log, keys, settings, moved: Arc::new(moved) }
    }

    pub(super) fn wake(&self) -> Wake {
        Wake(Arc::clone(&self.moved))
    }

    /// Signs and publishes whenever there is something, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            match self.round().await {
                Ok(_) => {}
                Err(error @ NotaryError::Altered { .. }) => alarm(&error),
                Err(error) => tracing::warn!(%error, "checkpoints could not be signed; trying again"),
            }
            for place in &self.settings.places {
                if let Err(error) = self.publish(place).await {
                    tracing::warn!(%error, "a checkpoint could not be published; trying again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.settings.interval) => {}
                () = self.moved.notify.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Signs a checkpoint of each tree that has moved. How many were signed.
    ///
    /// # Errors
    /// [`NotaryError::Log`].
    pub async fn round(&self) -> Result<usize, NotaryError> {
        self.moved.events.store(0, Ordering::Relaxed);
        let (mut signed, mut after) = (0, PLATFORM);
        loop {
            let mut tx = begin(self.log.worker_pool()).await?;
            self.lock_platform(&mut tx).await?;
            // A tree that is being added to is left for the next round: nobody waits for the other with a lock in hand.
            let rows = sqlx::query(
                "SELECT tenant, size, frontier FROM log.trees WHERE size > signed AND tenant > $1 \
                 ORDER BY tenant LIMIT $2 FOR UPDATE SKIP LOCKED",
            )
            .bind(after)
            .bind(BATCH)
            .fetch_all(&mut *tx)
            .await?;
            let Some(last) = rows.last() else { return Ok(signed) };
            after = last.try_get("tenant")?;
            let mut made = Vec::new();
            for row in &rows {
                match self.sign_moved(&mut tx, row).await {
                    Ok(checkpoint) => made.extend(checkpoint),
                    Err(error @ NotaryError::Altered { .. }) => alarm(&error),
                    Err(error) => return Err(error),
                }
            }
            signed += made.len();
            self.store(&mut tx, made).await?;
            crash::point("checkpoint.signed");
            tx.commit().await?;
            crash::point("checkpoint.stored");
        }
    }

    /// Signs a checkpoint of a tenant's tree at a size, when there is none yet; at its present size when none is named.
    /// The size.
    ///
    /// # Errors
    /// [`NotaryError`].
    pub async fn sign(&self, tenant: TenantId, size: Option<u64>) -> Result<u64, NotaryError> {
        let mut tx = begin(self.log.worker_pool()).await?;
        self.lock_platform(&mut tx).await?;
        let row = sqlx::query("SELECT size, frontier FROM log.trees WHERE tenant = $1 FOR UPDATE")
            .bind(tenant.uuid())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(NotaryError::Empty(tenant))?;
        let tree = tree::frontier(&row)?;
        let size = size.unwrap_or(tree.size());
        let origin = self.origin(tenant.uuid());
        self.check_last(&mut tx, tenant.uuid(), &tree).await?;
        let known: Option<i64> = sqlx::query_scalar("SELECT size FROM log.checkpoints WHERE tenant = $1 AND size = $2")
            .bind(tenant.uuid())
            .bind(number(size))
            .fetch_optional(&mut *tx)
            .await?;
        if known.is_none() {
            let root = proof::root(&mut tx, tenant, size).await?;
            let root = root.ok_or(NotaryError::Behind { origin: origin.clone(), size })?;
            self.store(&mut tx, vec![(tenant.uuid(), Checkpoint { origin, size, root })]).await?;
            tx.commit().await?;
        }
        Ok(size)
    }

    /// What a row of `log.trees` that has moved comes to. `None` when it was said before.
    async fn sign_moved(&self, tx: &mut PgConnection, row: &PgRow) -> Result<Option<(Uuid, Checkpoint)>, NotaryError> {
        let tenant: Uuid = row.try_get("tenant")?;
        let tree = tree::frontier(row)?;
        let last = self.check_last(tx, tenant, &tree).await?;
        if last >= tree.size() {
            // Said before, and the tree was built anew since.
            set_signed(tx, tenant, last).await?;
            return Ok(None);
        }
        let checkpoint = Checkpoint { origin: self.origin(tenant), size: tree.size(), root: tree.root() };
        Ok(Some((tenant, checkpoint)))
    }

    /// The size of the last checkpoint of a tree, which begins with it if it is that large.
    async fn check_last(&self, tx: &mut PgConnection, tenant: Uuid, tree: &Frontier) -> Result<u64, NotaryError> {
        let last = sqlx::query("SELECT size, root FROM log.checkpoints WHERE tenant = $1 ORDER BY size DESC LIMIT 1");
        let Some(last) = last.bind(tenant).fetch_optional(&mut *tx).await? else { return Ok(0) };
        let (size, root) = (count(last.try_get("size")?), Hash(crate::read::hash(last.try_get("root")?)?));
        if size <= tree.size() && tree::root(tx, tenant, size).await? != Some(root) {
            return Err(NotaryError::Altered { origin: self.origin(tenant), size });
        }
        Ok(size)
    }

    async fn lock_platform(&self, tx: &mut PgConnection) -> Result<(), NotaryError> {
        sqlx::query("INSERT INTO log.trees (tenant, size, frontier) VALUES ($1, 0, '') ON CONFLICT DO NOTHING")
            .bind(PLATFORM)
            .execute(&mut *tx)
            .await?;
        sqlx::query("SELECT FROM log.trees WHERE tenant = $1 FOR UPDATE").bind(PLATFORM).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO log.evidence_keys (public) SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING")
            .bind(self.keys.public().iter().map(|key| key.0.to_vec()).collect::<Vec<_>>())
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Signs and stores checkpoints, each with its leaf in the platform's log; then the platform's own.
    async fn store(&self, tx: &mut PgConnection, made: Vec<(Uuid, Checkpoint)>) -> Result<(), NotaryError> {
        if made.is_empty() {
            return Ok(());
        }
        let row = sqlx::query("SELECT size, frontier FROM log.trees WHERE tenant = $1").bind(PLATFORM);
        let platform = tree::frontier(&row.fetch_one(&mut *tx).await?)?;
        self.check_last(tx, PLATFORM, &platform).await?;
        let mut leaves = Vec::new();
        for ((tenant, checkpoint), entry) in made.into_iter().zip(platform.size()..) {
            let note = checkpoint.sign(self.keys.newest()).to_string();
            leaves.push(Leaf { position: number(entry), data: Hash(Sha256::digest(&note).into()) });
            insert(tx, tenant, &checkpoint, &note, Some(entry)).await?;
            set_signed(tx, tenant, checkpoint.size).await?;
        }
        tree::append(tx, &BTreeMap::from([(PLATFORM, leaves)])).await?;
        let row = sqlx::query("SELECT size, frontier FROM log.trees WHERE tenant = $1").bind(PLATFORM);
        let platform = tree::frontier(&row.fetch_one(&mut *tx).await?)?;
        let origin = self.origin(PLATFORM);
        let checkpoint = Checkpoint { origin, size: platform.size(), root: platform.root() };
        insert(tx, PLATFORM, &checkpoint, &checkpoint.sign(self.keys.newest()).to_string(), None).await?;
        Ok(set_signed(tx, PLATFORM, checkpoint.size).await?)
    }

    fn origin(&self, tenant: Uuid) -> String {
        if tenant == PLATFORM {
            platform_origin(&self.settings.installation)
        } else {
            origin(&self.settings.installation, TenantId::from_uuid(tenant))
        }
    }

    /// Publishes the platform's newest checkpoint at a place that does not have it. What stands there must be ours, and
    /// the platform's log must begin with it.
    ///
    /// # Errors
    /// [`NotaryError::Place`] when the place fails; [`NotaryError::Altered`], and an alarm, when it contradicts us.
    pub async fn publish(&self, place: &Place) -> Result<(), NotaryError> {
        let mut connection = self.log.worker_pool().acquire().await.map_err(LogError::from)?;
        let platform = TenantId::from_uuid(PLATFORM);
        let Some((size, note)) = proof::checkpoint(&mut connection, platform).await? else { return Ok(()) };
        if let Some(there) = publish::read(place).await? {
            let known: Vec<Vec<u8>> =
                sqlx::query_scalar("SELECT public FROM log.evidence_keys").fetch_all(&mut *connection).await?;
            let known =
                known.iter().filter_map(|key| Some(schemas::evidence::note::PublicKey(key[..].try_into().ok()?)));
            let known: Vec<_> = known.collect();
            let contradiction = match Checkpoint::open(&there, &known) {
                Ok((seen, Some(_))) if seen.origin == self.origin(PLATFORM) => {
                    let ours = proof::root(&mut connection, platform, seen.size).await?;
                    (ours != Some(seen.root)).then_some(seen.size)
                }
                _ => Some(0),
            };
            if let Some(size) = contradiction {
                let error =
                    NotaryError::Altered { origin: format!("{} as published at {place}", self.origin(PLATFORM)), size };
                alarm(&error);
                return Err(error);
            }
            if there == note {
                return Ok(());
            }
        }
        publish::write(place, size, &note).await?;
        crash::point("checkpoint.published");
        Ok(())
    }
}

async fn insert(
    tx: &mut PgConnection,
    tenant: Uuid,
    checkpoint: &Checkpoint,
    note: &str,
    entry: Option<u64>,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO log.checkpoints (tenant, size, root, note, entry) VALUES ($1, $2, $3, $4, $5)")
        .bind(tenant)
        .bind(number(checkpoint.size))
        .bind(&checkpoint.root.0[..])
        .bind(note)
        .bind(entry.map(number))
        .execute(tx)
        .await
        .map(drop)
}

async fn set_signed(tx: &mut PgConnection, tenant: Uuid, size: u64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE log.trees SET signed = greatest(signed, $2) WHERE tenant = $1")
        .bind(tenant)
        .bind(number(size))
        .execute(tx)
        .await
        .map(drop)
}

fn alarm(error: &NotaryError) {
    metrics::counter!("agentworks_evidence_alarms_total").increment(1);
    tracing::error!(%error, "ALARM: the evidence contradicts itself; nothing more is signed or published for it");
}
