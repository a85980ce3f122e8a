//! Moves full ranges into the archive.
//!
//! Write, read back and compare, mark, detach, drop. Killed anywhere, the next run goes on: a file that was not marked is
//! written anew, a range that was marked but still has its table loses it then.

use std::sync::Arc;

use object_store::buffered::BufWriter;
use schemas::Recorded;
use schemas::evidence::{Digested, Hash, What, digest};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use tokio::io::AsyncWriteExt as _;

use super::file::Encoder;
use super::shelf::damaged;
use super::{Archive, ArchiveError, Range};
use crate::{Log, crash};

/// Events that one read takes.
const PAGE: i64 = 5_000;

/// A range that is full, and what keeps it from being archived.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Candidate {
    /// The part of the log.
    pub partition: i32,
    /// Its first position.
    pub first: i64,
    /// Its last position.
    pub last: i64,
    /// A consumer that has not got past it yet, if there is one.
    pub awaited: Option<String>,
}

/// What came of archiving a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The range, and where it is now.
    pub range: Range,
    /// Bytes of its file.
    pub bytes: u64,
}

/// A connection that may move ranges: in role `agentworks_owner`, with no bound on how long a statement takes.
///
/// # Errors
/// When the database cannot be reached, or its user is no member of the role.
pub async fn owner(log: &Log) -> Result<PgConnection, ArchiveError> {
    let mut owner = log.worker_pool().connect_options().connect().await?;
    sqlx::raw_sql("SET ROLE agentworks_owner; SET statement_timeout = 0").execute(&mut owner).await?;
    Ok(owner)
}

/// The full ranges that are still in the database, the oldest first; without the newest `keep` of each partition. The range
/// that is being filled, and the one before the log's end, are never among them. Where the log is tells what is full: a
/// range is marked as closed only when another one is made.
///
/// # Errors
/// When the database fails.
pub async fn candidates(owner: &mut PgConnection, keep: u32) -> Result<Vec<Candidate>, ArchiveError> {
    let candidates = sqlx::query_as(
        "SELECT partition, first, last, coalesce( \
             (SELECT min(name) FROM log.consumers c WHERE c.partition = r.partition AND c.position < r.last), \
             (SELECT min(consumer) || ' (a tenant is parked)' FROM log.parked p \
              WHERE p.partition = r.partition AND p.position <= r.last)) AS awaited \
         FROM (SELECT r.*, row_number() OVER (PARTITION BY r.partition ORDER BY r.first DESC) AS nth \
             FROM log.ranges r JOIN log.clock c ON c.partition = r.partition AND c.position > r.last \
             WHERE r.state <> 'archived') r \
         WHERE nth > $1 ORDER BY partition, first",
    )
    .bind(i64::from(keep))
    .fetch_all(owner)
    .await?;
    Ok(candidates)
}

/// Archives a range: one of the [`candidates`] that awaits nobody. `owner` is a connection in role `agentworks_owner`.
///
/// # Errors
/// When the store or the database fails, or what was written is not what the log has. The range is in the database then as
/// before, unless it had been marked already; calling this again goes on.
pub async fn archive(
    owner: &mut PgConnection,
    log: &Log,
    archive: &Archive,
    candidate: &Candidate,
) -> Result<Done, ArchiveError> {
    let path = format!("ranges/{}/{:020}-{:020}.aw1", candidate.partition, candidate.first, candidate.last);
    let (sha256, bytes) = write(log, archive, candidate, &path).await?;
    let Candidate { partition, first, last, .. } = *candidate;
    let range = Range { partition, first, last, archive: path, sha256 };
    crash::point("archive.written");
    compare(log, archive, &range).await?;
    sqlx::query(
        "UPDATE log.ranges SET state = 'archived', archive = $3, sha256 = $4 WHERE partition = $1 AND first = $2",
    )
    .bind(partition)
    .bind(first)
    .bind(&range.archive)
    .bind(&range.sha256)
    .execute(&mut *owner)
    .await?;
    crash::point("archive.marked");
    drop_table(owner, &range).await?;
    Ok(Done { range, bytes })
}

/// Finishes what an earlier run was killed in: drops the tables of ranges that are archived. How many there were.
///
/// # Errors
/// When the database fails.
pub async fn finish(owner: &mut PgConnection) -> Result<usize, ArchiveError> {
    let left: Vec<Range> = sqlx::query_as(
        "SELECT partition, first, last, archive, sha256 FROM log.ranges \
         WHERE state = 'archived' AND to_regclass(format('log.events_%s_%s', partition, first)) IS NOT NULL",
    )
    .fetch_all(&mut *owner)
    .await?;
    for range in &left {
        drop_table(owner, range).await?;
    }
    Ok(left.len())
}

/// Writes the file. The SHA-256 of its contents, and its size.
async fn write(
    log: &Log,
    archive: &Archive,
    candidate: &Candidate,
    path: &str,
) -> Result<(Vec<u8>, u64), ArchiveError> {
    let mut writer = BufWriter::new(Arc::clone(&archive.place.store), archive.place.at(path));
    let mut bytes = 0;
    let mut encoder = Encoder::new(candidate.partition);
    let mut after = candidate.first - 1;
    let unwritable = |source| ArchiveError::File { path: path.to_owned(), source };
    while after < candidate.last {
        let page = log.read(candidate.partition, after, PAGE.min(candidate.last - after)).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        for event in &page {
            if let Some(part) = encoder.push(event).map_err(unwritable)? {
                bytes += part.len() as u64;
                writer.put(part).await?;
            }
        }
    }
    let (rest, contents) = encoder.finish().map_err(unwritable)?;
    bytes += rest.len() as u64;
    writer.put(rest).await?;
    writer.shutdown().await.map_err(|error| unwritable(error.into()))?;
    Ok((contents.0.to_vec(), bytes))
}

/// Reads the file back and compares it with what the database has, and each event with its own digest.
async fn compare(log: &Log, archive: &Archive, range: &Range) -> Result<(), ArchiveError> {
    let contents = archive.contents(range).await?;
    let mut at = range.first - 1;
    let differs = |position, what| ArchiveError::Differs {
        partition: range.partition,
        first: range.first,
        last: range.last,
        position,
        what,
    };
    for nth in 0..contents.frames.len() {
        let frame = archive.frame(range, &contents, nth).await?;
        let count = i64::try_from(frame.len()).unwrap_or(i64::MAX);
        let page = log.read(range.partition, at, count).await?;
        if page.len() != frame.len() {
            return Err(differs(at + 1, "the log has fewer events"));
        }
        for (kept, event) in frame.iter().zip(&page) {
            at += 1;
            if event.position != at || kept.position != at {
                return Err(differs(at, "a position is missing"));
            }
            if digest_of(kept) != kept.digest {
                return Err(differs(at, "the event is not what its digest says"));
            }
            if !equal(kept, event) {
                return Err(differs(at, "the file has another event"));
            }
        }
    }
    if at == range.last { Ok(()) } else { Err(damaged(range, super::FileError::Contents)) }
}

/// The digest that an event should have.
fn digest_of(event: &Recorded) -> Hash {
    let actor = event.metadata.actor.to_string();
    let what = What {
        id: event.id.uuid(),
        aggregate_type: &event.aggregate_type,
        stream: event.stream,
        version: event.version,
        event_type: &event.event_type,
        event_version: event.event_version,
        payload: event.payload.get(),
    };
    digest(&Digested::of(&event.metadata, &actor, what))
}

fn equal(one: &Recorded, other: &Recorded) -> bool {
    // The digest covers everything but these.
    one.digest == other.digest
        && one.chain == other.chain
        && one.partition == other.partition
        && one.recorded_at == other.recorded_at
}

/// Detaches and drops the table of a range. Readers are not held up, and those who are at it finish first.
async fn drop_table(owner: &mut PgConnection, range: &Range) -> Result<(), ArchiveError> {
    // Of numbers alone.
    let table = format!("log.events_{}_{}", range.partition, range.first);
    let pending: Option<bool> =
        sqlx::query_scalar("SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass($1)")
            .bind(&table)
            .fetch_optional(&mut *owner)
            .await?;
    if let Some(pending) = pending {
        // Pending: an earlier run was killed in the middle.
        let how = if pending { "FINALIZE" } else { "CONCURRENTLY" };
        let detach = format!("ALTER TABLE log.events DETACH PARTITION {table} {how}");
        sqlx::raw_sql(AssertSqlSafe(detach)).execute(&mut *owner).await?;
    }
    crash::point("archive.detached");
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}"))).execute(&mut *owner).await?;
    Ok(())
}
