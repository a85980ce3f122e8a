//! Snapshots: a load that had to fold many events leaves what they came to, so that the next one need not.
//!
//! Taken in the background, never on the way of a command. A snapshot is cut exactly at an event and says so with its
//! version and chain. It counts only while the stream has that event (`log.load` looks), the aggregate's state has the
//! same form ([`Decider::STATE`]), and no byte of it was changed. Disposable: `log.snapshots` may be emptied at any time.

use domain::{Decider, TenantId};
use schemas::evidence::Hash;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{Loaded, LogError, crash};

/// Events that a load folds before it leaves a snapshot, unless told otherwise.
pub(crate) const EVERY: usize = 50;
/// Snapshots that may wait to be written; more are not taken.
const QUEUE: usize = 64;

/// The way to the task that writes snapshots. The task ends when all of these are dropped.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots(mpsc::Sender<Snapshot>);

/// A state to be written.
struct Snapshot {
    tenant: TenantId,
    stream: Uuid,
    aggregate_type: &'static str,
    form: i32,
    version: i64,
    position: i64,
    chain: Hash,
    /// Its JSON, made by the task.
    state: Box<dyn FnOnce() -> serde_json::Result<String> + Send>,
}

impl Snapshots {
    /// Starts the task. `pool` is of role `agentworks_worker`.
    pub(crate) fn start(pool: PgPool) -> Self {
        let (sender, mut waiting) = mpsc::channel::<Snapshot>(QUEUE);
        tokio::spawn(async move {
            while let Some(snapshot) = waiting.recv().await {
                let stream = snapshot.stream;
                if let Err(error) = write(&pool, snapshot).await {
                    tracing::warn!(%stream, %error, "a snapshot was not written; loads go on without it");
                }
            }
        });
        Self(sender)
    }

    /// Has a snapshot written, when there is time for it.
    pub(crate) fn take<A: Decider>(&self, tenant: TenantId, stream: Uuid, loaded: &Loaded<A>) {
        let Ok(place) = self.0.try_reserve() else { return };
        let state = loaded.state.clone();
        place.send(Snapshot {
            tenant,
            stream,
            aggregate_type: A::TYPE,
            form: A::STATE,
            version: loaded.version,
            position: loaded.position,
            chain: loaded.chain,
            state: Box::new(move || serde_json::to_string(&state)),
        });
    }
}

async fn write(pool: &PgPool, snapshot: Snapshot) -> Result<(), LogError> {
    let Snapshot { tenant, stream, aggregate_type, form, version, position, chain, state } = snapshot;
    let state = state().map_err(|error| LogError::Row(error.to_string()))?;
    let digest = digest(tenant, stream, aggregate_type, form, version, &state);
    crash::point("snapshot.cut");
    sqlx::query(
        "INSERT INTO log.snapshots (tenant, stream, type, form, version, position, chain, state, digest) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::json, $9) ON CONFLICT (stream, tenant) DO UPDATE SET type = $3, form = $4, \
         version = $5, position = $6, chain = $7, state = $8::json, digest = $9",
    )
    .bind(tenant.uuid())
    .bind(stream)
    .bind(aggregate_type)
    .bind(form)
    .bind(version)
    .bind(position)
    .bind(&chain.0[..])
    .bind(&state)
    .bind(&digest[..])
    .execute(pool)
    .await?;
    crash::point("snapshot.written");
    metrics::counter!("agentworks_snapshots_total", "aggregate" => aggregate_type).increment(1);
    Ok(())
}

/// The state that a snapshot holds; `None` when it is not what was written there.
pub(crate) fn read<A: Decider>(
    tenant: TenantId,
    stream: Uuid,
    version: i64,
    state: &str,
    digest_of_then: &[u8],
) -> Option<A> {
    if digest(tenant, stream, A::TYPE, A::STATE, version, state) != digest_of_then {
        return None;
    }
    serde_json::from_str(state).ok()
}

fn digest(tenant: TenantId, stream: Uuid, aggregate_type: &str, form: i32, version: i64, state: &str) -> [u8; 32] {
    // Of fixed length but for the type, which has no NUL in it, and the state, which is last.
    Sha256::new()
        .chain_update(tenant.uuid())
        .chain_update(stream)
        .chain_update(form.to_be_bytes())
        .chain_update(version.to_be_bytes())
        .chain_update(aggregate_type)
        .chain_update([0])
        .chain_update(state)
        .finalize()
        .into()
}
