//! Trees as they are stored: leaves are added, nodes and roots are read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemas::evidence::Hash;
use schemas::evidence::merkle::{self, Frontier, Range, Subtree};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::{LogError, crash};

/// Nodes of a tile; 2^8.
const TILE: u64 = 1 << HEIGHT;
const HEIGHT: u32 = 8;

/// What a leaf is made of, and where in the log it comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) position: i64,
    pub(super) data: Hash,
}

/// The rows that new leaves make.
#[derive(Default)]
struct Rows {
    tenant: Vec<Uuid>,
    level: Vec<i16>,
    index: Vec<i64>,
    position: Vec<i64>,
    hash: Vec<Vec<u8>>,
    /// Tiles that became full: tenant, level, tile.
    full: (Vec<Uuid>, Vec<i16>, Vec<i64>),
}

impl Rows {
    /// Adds a leaf, and a node on each level above whose tile it completes.
    fn push(&mut self, tenant: Uuid, tree: &mut Frontier, leaf: Leaf) {
        let index = tree.size();
        self.node(tenant, 0, index, leaf.position, leaf.data);
        let mut completed = Vec::new();
        tree.push_and_tell(merkle::leaf(&leaf.data.0), |height, root| {
            if height % HEIGHT == 0 {
                completed.push((height, root));
            }
        });
        for (height, root) in completed {
            self.node(tenant, height / HEIGHT, index >> height, leaf.position, root);
        }
    }

    fn node(&mut self, tenant: Uuid, level: u32, index: u64, position: i64, hash: Hash) {
        let level = i16::try_from(level).unwrap_or(i16::MAX);
        self.tenant.push(tenant);
        self.level.push(level);
        self.index.push(number(index));
        self.position.push(position);
        self.hash.push(hash.0.to_vec());
        if index % TILE == TILE - 1 {
            self.full.0.push(tenant);
            self.full.1.push(level);
            self.full.2.push(number(index / TILE));
        }
    }
}

/// Adds leaves to trees, each tenant's in order. The caller sees to it that nobody else adds to the same trees.
pub(super) async fn append(tx: &mut PgConnection, new: &BTreeMap<Uuid, Vec<Leaf>>) -> Result<(), LogError> {
    let tenants: Vec<Uuid> = new.keys().copied().collect();
    let stored =
        sqlx::query("SELECT tenant, size, frontier FROM log.trees WHERE tenant = ANY($1) ORDER BY tenant FOR UPDATE")
            .bind(&tenants)
            .fetch_all(&mut *tx)
            .await?;
    let mut trees = HashMap::new();
    for row in &stored {
        trees.insert(row.try_get::<Uuid, _>("tenant")?, frontier(row)?);
    }
    let mut rows = Rows::default();
    let (mut sizes, mut frontiers) = (Vec::new(), Vec::new());
    for (tenant, leaves) in new {
        let mut tree = trees.remove(tenant).unwrap_or_default();
        leaves.iter().for_each(|leaf| rows.push(*tenant, &mut tree, *leaf));
        sizes.push(number(tree.size()));
        frontiers.push(tree.to_bytes());
    }
    sqlx::query(
        "INSERT INTO log.trees (tenant, size, frontier) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) \
         ON CONFLICT (tenant) DO UPDATE SET size = excluded.size, frontier = excluded.frontier",
    )
    .bind(tenants)
    .bind(sizes)
    .bind(frontiers)
    .execute(&mut *tx)
    .await?;
    insert(tx, rows).await
}

async fn insert(tx: &mut PgConnection, rows: Rows) -> Result<(), LogError> {
    sqlx::query(
        "INSERT INTO log.tree_ends (tenant, level, index, position, hash) \
         SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bytea[])",
    )
    .bind(rows.tenant)
    .bind(rows.level)
    .bind(rows.index)
    .bind(rows.position)
    .bind(rows.hash)
    .execute(&mut *tx)
    .await?;
    crash::point("evidence.leaves");
    if rows.full.0.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "WITH gone AS ( \
             DELETE FROM log.tree_ends e USING unnest($1::uuid[], $2::smallint[], $3::bigint[]) AS f (tenant, level, tile) \
             WHERE e.tenant = f.tenant AND e.level = f.level AND e.index BETWEEN f.tile * 256 AND f.tile * 256 + 255 \
             RETURNING e.* \
         ) \
         INSERT INTO log.tree_tiles (tenant, level, tile, positions, hashes) \
         SELECT tenant, level, index / 256, array_agg(position ORDER BY index), string_agg(hash, '' ORDER BY index) \
         FROM gone GROUP BY tenant, level, index / 256",
    )
    .bind(rows.full.0)
    .bind(rows.full.1)
    .bind(rows.full.2)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// The tree of a row with `size` and `frontier`.
pub(super) fn frontier(row: &sqlx::postgres::PgRow) -> Result<Frontier, LogError> {
    let size = count(row.try_get("size")?);
    let broken = || LogError::Row(format!("a Merkle tree of size {size}"));
    Frontier::from_bytes(size, row.try_get("frontier")?).ok_or_else(broken)
}

/// The roots of ranges of a tree. `None` when it does not have all of their leaves.
pub(super) async fn roots(
    conn: &mut PgConnection,
    tenant: Uuid,
    ranges: &[Range],
) -> Result<Option<Vec<Hash>>, LogError> {
    let wanted: Vec<Vec<Subtree>> = ranges.iter().map(|range| range.subtrees()).collect();
    let tiles = tiles(conn, tenant, wanted.iter().flatten().map(|subtree| place(*subtree))).await?;
    let hash = |subtree: &Subtree| {
        let (level, tile) = place(*subtree);
        let height = subtree.height % HEIGHT;
        let from = usize::try_from((subtree.index << height) % TILE).ok()?;
        let nodes = tiles.get(&(level, tile))?.get(from..from + (1 << height))?;
        Some(complete(nodes, level))
    };
    let root = |(range, subtrees): (&Range, &Vec<Subtree>)| {
        let roots: Option<Vec<Hash>> = subtrees.iter().map(hash).collect();
        roots.map(|roots| range.root(&roots))
    };
    Ok(ranges.iter().zip(&wanted).map(root).collect())
}

/// The root of the whole tree when it had that size.
pub(super) async fn root(conn: &mut PgConnection, tenant: Uuid, size: u64) -> Result<Option<Hash>, LogError> {
    Ok(roots(conn, tenant, &[Range::whole(size)]).await?.and_then(|roots| roots.first().copied()))
}

/// The root of a complete subtree, from nodes of a level.
fn complete(nodes: &[Hash], level: u32) -> Hash {
    let mut tree = Frontier::default();
    nodes.iter().for_each(|node| tree.push(if level == 0 { merkle::leaf(&node.0) } else { *node }));
    tree.root()
}

/// The level and the tile that a subtree's nodes stand in.
fn place(subtree: Subtree) -> (u32, u64) {
    (subtree.height / HEIGHT, (subtree.index << (subtree.height % HEIGHT)) / TILE)
}

/// The nodes of tiles, full or not.
async fn tiles(
    conn: &mut PgConnection,
    tenant: Uuid,
    wanted: impl Iterator<Item = (u32, u64)>,
) -> Result<HashMap<(u32, u64), Vec<Hash>>, LogError> {
    let wanted: BTreeSet<(u32, u64)> = wanted.collect();
    let levels: Vec<i16> = wanted.iter().map(|(level, _)| i16::try_from(*level).unwrap_or(i16::MAX)).collect();
    let numbers: Vec<i64> = wanted.iter().map(|(_, tile)| number(*tile)).collect();
    let rows = sqlx::query(
        "SELECT t.level, t.tile, t.hashes FROM unnest($2::smallint[], $3::bigint[]) AS w (level, tile) \
         JOIN log.tree_tiles t ON t.tenant = $1 AND t.level = w.level AND t.tile = w.tile \
         UNION ALL \
         SELECT level, index / 256, string_agg(hash, '' ORDER BY index) FROM log.tree_ends WHERE tenant = $1 \
         GROUP BY level, index / 256",
    )
    .bind(tenant)
    .bind(levels)
    .bind(numbers)
    .fetch_all(conn)
    .await?;
    let mut tiles = HashMap::new();
    for row in &rows {
        let level: i16 = row.try_get("level")?;
        let bytes: &[u8] = row.try_get("hashes")?;
        let hashes =
            bytes.chunks(32).map(|hash| Ok(Hash(crate::read::hash(hash)?))).collect::<Result<_, LogError>>()?;
        tiles.insert((u32::from(level.unsigned_abs()), count(row.try_get("tile")?)), hashes);
    }
    Ok(tiles)
}

/// A count as the database holds it.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count that the database holds.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
