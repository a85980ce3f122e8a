//! What can be asked of a tenant's Merkle log: its size, roots, checkpoints and proofs.
//!
//! Each takes a connection of either role. In role `agentworks_app` it must be in a transaction of the tenant
//! ([`crate::Log::tenant_read`]), and a proof is then of the same moment as what else is read in it.

use domain::TenantId;
use schemas::evidence::{Hash, merkle};
use sqlx::{PgConnection, Row as _};

use super::tree::{self, count, number};
use crate::LogError;
use crate::read::hash;

/// Where an event stands in its tenant's Merkle log, and the proof of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// Its leaf, from 0.
    pub index: u64,
    /// The size of the tree that the proof is for.
    pub size: u64,
    /// The event's digest; the leaf is made of it.
    pub digest: Hash,
    /// The proof; see [`merkle::verify_inclusion`].
    pub path: Vec<Hash>,
}

/// How many events a tenant's Merkle log has. It may lag behind the log.
///
/// # Errors
/// [`LogError::Database`].
pub async fn size(conn: &mut PgConnection, tenant: TenantId) -> Result<u64, LogError> {
    let size = sqlx::query_scalar("SELECT size FROM log.trees WHERE tenant = $1").bind(tenant.uuid());
    Ok(count(size.fetch_optional(conn).await?.unwrap_or(0)))
}

/// How many events a tenant's Merkle log has up to a position, with it.
///
/// # Errors
/// [`LogError::Database`].
pub async fn size_at(conn: &mut PgConnection, tenant: TenantId, position: i64) -> Result<u64, LogError> {
    let size: i64 = sqlx::query_scalar(
        "SELECT coalesce( \
             (SELECT max(index) + 1 FROM log.tree_ends WHERE tenant = $1 AND level = 0 AND position <= $2), \
             (SELECT tile * 256 + (SELECT count(*) FROM unnest(positions) AS p WHERE p <= $2) FROM log.tree_tiles \
              WHERE tenant = $1 AND level = 0 AND positions[1] <= $2 ORDER BY positions[1] DESC LIMIT 1), \
             0)",
    )
    .bind(tenant.uuid())
    .bind(position)
    .fetch_one(conn)
    .await?;
    Ok(count(size))
}

/// The root that a tenant's Merkle log had at a size; `None` when it has not grown so far.
///
/// # Errors
/// [`LogError::Database`].
pub async fn root(conn: &mut PgConnection, tenant: TenantId, size: u64) -> Result<Option<Hash>, LogError> {
    tree::root(conn, tenant.uuid(), size).await
}

/// The newest checkpoint of a tenant's Merkle log, as it was signed, and its size.
///
/// # Errors
/// [`LogError::Database`].
pub async fn checkpoint(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<(u64, String)>, LogError> {
    let row = sqlx::query("SELECT size, note FROM log.checkpoints WHERE tenant = $1 ORDER BY size DESC LIMIT 1")
        .bind(tenant.uuid())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((count(row.try_get("size")?), row.try_get("note")?))).transpose()
}

/// The checkpoints of sizes above `after` up to `to`, as they were signed, in order.
///
/// # Errors
/// [`LogError::Database`].
pub async fn checkpoints(
    conn: &mut PgConnection,
    tenant: TenantId,
    after: u64,
    to: u64,
) -> Result<Vec<String>, LogError> {
    let notes = sqlx::query_scalar(
        "SELECT note FROM log.checkpoints WHERE tenant = $1 AND size > $2 AND size <= $3 ORDER BY size",
    );
    Ok(notes.bind(tenant.uuid()).bind(number(after)).bind(number(to)).fetch_all(conn).await?)
}

/// The proof that the event at a position is in the tree of a size; `None` when it is not.
///
/// # Errors
/// [`LogError::Database`].
pub async fn inclusion(
    conn: &mut PgConnection,
    tenant: TenantId,
    position: i64,
    size: u64,
) -> Result<Option<Inclusion>, LogError> {
    let row = sqlx::query(
        "SELECT index, hash FROM log.tree_ends WHERE tenant = $1 AND level = 0 AND position = $2 \
         UNION ALL \
         SELECT tile * 256 + place - 1, substr(hashes, 32 * place - 31, 32) FROM ( \
             SELECT tile, hashes, array_position(positions, $2) AS place FROM log.tree_tiles \
             WHERE tenant = $1 AND level = 0 AND positions[1] <= $2 ORDER BY positions[1] DESC LIMIT 1 \
         ) t WHERE place IS NOT NULL",
    )
    .bind(tenant.uuid())
    .bind(position)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (index, digest) = (count(row.try_get("index")?), Hash(hash(row.try_get("hash")?)?));
    let Some(ranges) = merkle::inclusion(index, size) else { return Ok(None) };
    let path = tree::roots(conn, tenant.uuid(), &ranges).await?;
    Ok(path.map(|path| Inclusion { index, size, digest, path }))
}

/// The proof that the tree of size `new` begins with that of size `old`; `None` when there is no such tree.
///
/// # Errors
/// [`LogError::Database`].
pub async fn consistency(
    conn: &mut PgConnection,
    tenant: TenantId,
    old: u64,
    new: u64,
) -> Result<Option<Vec<Hash>>, LogError> {
    let Some(ranges) = merkle::consistency(old, new) else { return Ok(None) };
    tree::roots(conn, tenant.uuid(), &ranges).await
}
