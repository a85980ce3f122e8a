//! Ranges that leave the database are read like those in it.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::path::Path;

use domain::TenantId;
use domain::tenant::Tenant;
use outbox::archive::{self, Archive, ArchiveError, Candidate};
use outbox::tail::{Scope, Tail};
use outbox::{Log, LogError, Place, Verdict};
use schemas::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::{Database, connect, fill, first, next, tenant, uuid};

const SIZE: i64 = 50;

/// A log whose ranges are small, and a store for them.
async fn small_ranges() -> (Database, Log, tempfile::TempDir) {
    let database = Database::with(1).await;
    let mut owner = database.in_role("agentworks_owner").await;
    sqlx::query("UPDATE log.clock SET range_size = $1").bind(SIZE).execute(&mut owner).await.unwrap();
    let log = connect(&database).await;
    (database, log, tempfile::tempdir().unwrap())
}

fn store(folder: &Path) -> Archive {
    Archive::new(Place::new(&format!("file://{}", folder.display()), &[]).unwrap()).unwrap()
}

async fn grow(log: &Log, tenant: TenantId, stream: Uuid) {
    let append = next(log, tenant, stream, 3).await;
    assert!(matches!(log.append(append).await.unwrap(), Verdict::Stored(_)));
}

async fn archive_all(owner: &mut PgConnection, log: &Log, store: &Archive) -> Vec<Candidate> {
    let candidates = archive::candidates(owner, 0).await.unwrap();
    for candidate in &candidates {
        archive::archive(owner, log, store, candidate).await.unwrap();
    }
    candidates
}

fn text(events: &[Recorded]) -> Vec<String> {
    events.iter().map(|event| serde_json::to_string(event).unwrap()).collect()
}

/// All that can be read of a log, by every way.
async fn everything(log: &Log, tenants: &[TenantId], stream: Uuid) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = log.read(0, after, 70).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.position;
        all.extend(page);
    }
    for tenant in tenants {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let page = log.read_tenant(*tenant, after, 33).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.position;
            events.extend(page);
        }
        let positions: Vec<i64> = events.iter().map(|event| event.position).step_by(3).collect();
        seen.push(text(&log.read_at(*tenant, &positions).await.unwrap()));
        seen.push(text(&events));
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let page = log.read_stream(*tenant, stream, after, 7).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.version;
            events.extend(page);
        }
        seen.push(text(&events));
        seen.push(vec![format!("{:?}", log.load::<Tenant>(*tenant, stream).await.unwrap())]);
    }
    seen.push(text(&all));
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_archived_is_read_as_before_and_is_gone_from_the_database() {
    let (database, log, folder) = small_ranges().await;
    let (one, two) = (tenant(), tenant());
    let stream = uuid();
    log.append(first(one, stream, 2)).await.unwrap();
    for _ in 0..6 {
        fill(&log, two, 20).await;
        grow(&log, one, stream).await;
        fill(&log, one, 21).await;
    }
    let old = uuid();
    log.append(first(two, old, 1)).await.unwrap();
    let before = everything(&log, &[one, two], stream).await;
    let head = log.head(0).await.unwrap();

    let mut owner = database.in_role("agentworks_owner").await;
    let log = log.with_archive(store(folder.path()));
    let archived = archive_all(&mut owner, &log, &store(folder.path())).await;
    assert!(archived.len() >= 3, "{archived:?}");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM log.events").fetch_one(&mut owner).await.unwrap();
    assert_eq!(left, head - archived.last().unwrap().last);
    assert_eq!(everything(&log, &[one, two], stream).await, before);

    // The stream goes on where it was, and a whole new process reads the same.
    grow(&log, one, stream).await;
    let again = connect(&database).await.with_archive(store(folder.path()));
    let loaded = again.load::<Tenant>(one, stream).await.unwrap();
    assert_eq!(loaded.version, 2 + 7 * 3);
    // A stream of which nothing is left in the database is still there.
    let first_of_all: Uuid = before.last().unwrap()[0].split("\"stream\":\"").nth(1).unwrap()[..36].parse().unwrap();
    assert_eq!(first_of_all, stream);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_wholly_archived_is_loaded_and_can_go_on() {
    let (database, log, folder) = small_ranges().await;
    let (tenant, stream) = (tenant(), uuid());
    log.append(first(tenant, stream, 4)).await.unwrap();
    fill(&log, tenant, 3 * usize::try_from(SIZE).unwrap()).await;
    let before = log.load::<Tenant>(tenant, stream).await.unwrap();
    let mut owner = database.in_role("agentworks_owner").await;
    let log = log.with_archive(store(folder.path()));
    archive_all(&mut owner, &log, &store(folder.path())).await;
    let log = connect(&database).await.with_archive(store(folder.path()));
    assert_eq!(log.load::<Tenant>(tenant, stream).await.unwrap(), before);
    grow(&log, tenant, stream).await;
    assert_eq!(log.load::<Tenant>(tenant, stream).await.unwrap().version, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_short_only_at_the_end_so_that_whoever_follows_misses_nothing() {
    let (database, log, folder) = small_ranges().await;
    let (one, many) = (tenant(), tenant());
    // Few events of the one in each range, and some behind the last that is archived.
    for _ in 0..25 {
        fill(&log, one, 2).await;
        fill(&log, many, 18).await;
    }
    let mut owner = database.in_role("agentworks_owner").await;
    let log = log.with_archive(store(folder.path()));
    let archived = archive_all(&mut owner, &log, &store(folder.path())).await;
    assert!(archived.len() >= 5, "{archived:?}");
    assert_eq!(log.read_tenant(one, 0, 1_000).await.unwrap().len(), 50);
    assert_eq!(log.read_tenant(one, 0, 23).await.unwrap().len(), 23);
    assert_eq!(log.read(0, 0, 10_000).await.unwrap().len(), 500);
    assert_eq!(log.read(0, 3, 120).await.unwrap().len(), 120);

    let mut follower = Tail::new(log.clone(), None).follow(Scope::Tenant(one), 0).unwrap();
    let mut followed = Vec::new();
    while followed.len() < 50 {
        followed.extend(follower.next().await.unwrap());
    }
    assert_eq!(text(&followed), text(&log.read_tenant(one, 0, 1_000).await.unwrap()));

    // A time is found among archived events as well.
    for event in log.read(0, 0, 10_000).await.unwrap().iter().step_by(61) {
        let at = log.position_at(0, event.recorded_at).await.unwrap();
        let found = log.read(0, at - 1, 2).await.unwrap();
        assert!(at >= event.position && found[0].recorded_at <= event.recorded_at, "{at}");
        assert!(found.get(1).is_none_or(|next| next.recorded_at > event.recorded_at), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_an_archived_event_is_an_error_and_never_left_out() {
    let (database, log, folder) = small_ranges().await;
    let (tenant, stream) = (tenant(), uuid());
    log.append(first(tenant, stream, 4)).await.unwrap();
    fill(&log, tenant, 3 * usize::try_from(SIZE).unwrap()).await;
    let mut owner = database.in_role("agentworks_owner").await;
    archive_all(&mut owner, &log.clone().with_archive(store(folder.path())), &store(folder.path())).await;
    let log = connect(&database).await;
    assert!(matches!(log.read(0, 0, 10).await, Err(LogError::Archived { first: 1, .. })));
    assert!(matches!(log.read_tenant(tenant, 0, 10).await, Err(LogError::Archived { .. })));
    assert!(matches!(log.read_stream(tenant, stream, 0, 10).await, Err(LogError::Archived { .. })));
    assert!(matches!(log.load::<Tenant>(tenant, stream).await, Err(LogError::Archived { .. })));
    assert!(matches!(log.read_at(tenant, &[1]).await, Err(LogError::Archived { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_stays_while_a_consumer_is_behind_and_while_its_file_is_wrong() {
    let (database, log, folder) = small_ranges().await;
    let tenant = tenant();
    fill(&log, tenant, 3 * usize::try_from(SIZE).unwrap() + 1).await;
    let mut owner = database.in_role("agentworks_owner").await;
    sqlx::query("INSERT INTO log.consumers (name, partition, position) VALUES ('slow', 0, $1)")
        .bind(SIZE)
        .execute(&mut owner)
        .await
        .unwrap();
    let candidates = archive::candidates(&mut owner, 0).await.unwrap();
    let awaited: Vec<_> = candidates.iter().map(|candidate| candidate.awaited.as_deref()).collect();
    assert_eq!(awaited, [None, Some("slow"), Some("slow")]);
    assert_eq!(archive::candidates(&mut owner, 2).await.unwrap().len(), 1, "the newest two are kept");

    // A file that was damaged after it was archived is found out, and never read as something else.
    let log = log.with_archive(store(folder.path()));
    let done = archive::archive(&mut owner, &log, &store(folder.path()), &candidates[0]).await.unwrap();
    let file = folder.path().join(&done.range.archive);
    let whole = std::fs::read(&file).unwrap();
    let right = text(&log.read(0, 0, SIZE).await.unwrap());
    for at in (0..whole.len()).step_by(whole.len() / 97 + 1) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        std::fs::write(&file, damaged).unwrap();
        let log = connect(&database).await.with_archive(store(folder.path()));
        match log.read(0, 0, SIZE).await {
            // What the damage did not touch is as it was.
            Ok(page) => assert!(text(&page) == right, "{at}: something else was read"),
            Err(LogError::Archive(error)) => assert!(matches!(*error, ArchiveError::File { .. }), "{error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_every_event_while_ranges_are_archived_under_them() {
    let (database, log, folder) = small_ranges().await;
    let (tenant, stream) = (tenant(), uuid());
    log.append(first(tenant, stream, 4)).await.unwrap();
    fill(&log, tenant, 8 * usize::try_from(SIZE).unwrap()).await;
    let head = log.head(0).await.unwrap();
    let reader = connect(&database).await.with_archive(store(folder.path()));
    let reading = async {
        for _ in 0..60 {
            let of_tenant = pages(async |after| reader.read_tenant(tenant, after, 90).await.unwrap()).await;
            assert_eq!(of_tenant, (1..=head).collect::<Vec<_>>());
            let all = pages(async |after| reader.read(0, after, 90).await.unwrap()).await;
            assert_eq!(all, (1..=head).collect::<Vec<_>>());
            assert_eq!(reader.load::<Tenant>(tenant, stream).await.unwrap().version, 4);
        }
    };
    let mut owner = database.in_role("agentworks_owner").await;
    let log = log.with_archive(store(folder.path()));
    let store = store(folder.path());
    let ((), archived) = tokio::join!(reading, archive_all(&mut owner, &log, &store));
    assert_eq!(archived.len(), 8);
}

async fn pages(read: impl AsyncFn(i64) -> Vec<Recorded>) -> Vec<i64> {
    let mut positions = Vec::new();
    loop {
        let page = read(positions.last().copied().unwrap_or(0)).await;
        if page.is_empty() {
            return positions;
        }
        positions.extend(page.iter().map(|event| event.position));
    }
}
