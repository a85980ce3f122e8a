//! Snapshots make loads short and change nothing else.

use domain::TenantId;
use domain::tenant::Tenant;
use futures::future::join_all;
use outbox::{Loaded, Log, Verdict};
use uuid::Uuid;

use crate::support::{Database, connect, eventually, first, next, tenant, uuid};

/// What the stream's events came to at the loaded version, folded without the load.
async fn assert_is_the_fold(log: &Log, tenant: TenantId, stream: Uuid, loaded: &Loaded<Tenant>) {
    let events = log.read_stream(tenant, stream, 0, 10_000).await.unwrap();
    let events: Vec<_> = events.into_iter().filter(|event| event.version <= loaded.version).collect();
    let decoded: Vec<_> = events.iter().map(|event| event.decode::<Tenant>().unwrap().unwrap()).collect();
    let last = events.last().unwrap();
    assert_eq!(loaded.state, <Tenant as domain::Decider>::fold(&decoded));
    assert_eq!((loaded.version, loaded.position, loaded.chain), (last.version, last.position, last.chain));
}

async fn append(log: &Log, tenant: TenantId, stream: Uuid, count: usize) {
    let append = next(log, tenant, stream, count).await;
    assert!(matches!(log.append(append).await.unwrap(), Verdict::Stored(_)));
}

/// Waits until the stream has a snapshot of that version.
async fn snapshot_at(log: &Log, stream: Uuid, version: i64) {
    eventually("a snapshot is written", || async {
        let at = sqlx::query_scalar("SELECT version FROM log.snapshots WHERE stream = $1").bind(stream);
        at.fetch_optional(log.worker_pool()).await.unwrap() == Some(version)
    })
    .await;
}

/// Events that a load of the stream takes.
async fn events(log: &Log, tenant: TenantId, stream: Uuid) -> i32 {
    sqlx::query_scalar("SELECT coalesce(cardinality(versions), 0) FROM log.load(0, $1, 'tenant', $2, 1)")
        .bind(tenant.uuid())
        .bind(stream)
        .fetch_one(log.app_pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_long_load_leaves_a_snapshot_and_the_next_reads_only_what_came_since() {
    let database = Database::with(1).await;
    let log = connect(&database).await.snapshot_after(10);
    let (tenant, stream) = (tenant(), uuid());
    let mut admin = database.admin().await;
    log.append(first(tenant, stream, 9)).await.unwrap();
    log.load::<Tenant>(tenant, stream).await.unwrap();
    append(&log, tenant, stream, 3).await;
    assert_eq!(events(&log, tenant, stream).await, 12);
    let full = log.load::<Tenant>(tenant, stream).await.unwrap();
    snapshot_at(&log, stream, 12).await;
    assert_eq!(events(&log, tenant, stream).await, 0);
    assert_eq!(log.load::<Tenant>(tenant, stream).await.unwrap(), full);
    append(&log, tenant, stream, 2).await;
    assert_eq!(events(&log, tenant, stream).await, 2);
    let loaded = log.load::<Tenant>(tenant, stream).await.unwrap();
    assert_is_the_fold(&log, tenant, stream, &loaded).await;
    // Nothing but time is lost with it.
    sqlx::raw_sql("DELETE FROM log.snapshots").execute(&mut admin).await.unwrap();
    assert_eq!(log.load::<Tenant>(tenant, stream).await.unwrap(), loaded);
}

/// Everything that may be wrong with a snapshot.
const DAMAGES: [&str; 8] = [
    "UPDATE log.snapshots SET form = 2",
    "UPDATE log.snapshots SET version = version + 1",
    "UPDATE log.snapshots SET version = version + 1000, position = position + 1000",
    "UPDATE log.snapshots SET state = '{\"Active\":{\"name\":\"forged\"}}'",
    "UPDATE log.snapshots SET state = '[]'",
    "UPDATE log.snapshots SET chain = digest",
    "UPDATE log.snapshots SET digest = chain",
    "UPDATE log.snapshots SET position = position - 1, version = version - 1",
];

#[tokio::test]
async fn a_snapshot_that_is_damaged_or_foreign_or_ahead_of_its_stream_changes_nothing() {
    let database = Database::with(1).await;
    let log = connect(&database).await.snapshot_after(5);
    let mut admin = database.admin().await;
    for damage in DAMAGES {
        let (tenant, stream) = (tenant(), uuid());
        log.append(first(tenant, stream, 8)).await.unwrap();
        let full = log.load::<Tenant>(tenant, stream).await.unwrap();
        snapshot_at(&log, stream, 8).await;
        let changed = sqlx::raw_sql(damage).execute(&mut admin).await.unwrap();
        assert!(changed.rows_affected() > 0);
        assert_eq!(log.load::<Tenant>(tenant, stream).await.unwrap(), full, "{damage}");
        eventually("the load has left a good one", || async { events(&log, tenant, stream).await == 0 }).await;
        append(&log, tenant, stream, 1).await;
        let loaded = log.load::<Tenant>(tenant, stream).await.unwrap();
        assert_is_the_fold(&log, tenant, stream, &loaded).await;
    }
    // That of another stream, with all that it says of itself.
    let (tenant, one, other) = (tenant(), uuid(), uuid());
    log.append(first(tenant, one, 8)).await.unwrap();
    log.append(first(tenant, other, 6)).await.unwrap();
    let full = log.load::<Tenant>(tenant, other).await.unwrap();
    log.load::<Tenant>(tenant, one).await.unwrap();
    snapshot_at(&log, one, 8).await;
    snapshot_at(&log, other, 6).await;
    let moved = "UPDATE log.snapshots s SET state = o.state, digest = o.digest, version = o.version, position = o.position, \
                 chain = o.chain FROM log.snapshots o WHERE o.stream = $1 AND s.stream = $2";
    sqlx::query(moved).bind(one).bind(other).execute(&mut admin).await.unwrap();
    assert_eq!(log.load::<Tenant>(tenant, other).await.unwrap(), full);
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_with_snapshots_are_folds_while_many_append() {
    let database = Database::with(1).await;
    // Two processes.
    let logs = [connect(&database).await.snapshot_after(3), connect(&database).await.snapshot_after(7)];
    let tenant = tenant();
    let streams: Vec<Uuid> = (0..4).map(|_| uuid()).collect();
    for stream in &streams {
        logs[0].append(first(tenant, *stream, 1)).await.unwrap();
    }
    let work = (0..8_usize).map(|worker| {
        let (log, streams) = (logs[worker % 2].clone(), streams.clone());
        async move {
            for turn in 0..30 {
                let stream = streams[(worker * 7 + turn) % streams.len()];
                let loaded = log.load::<Tenant>(tenant, stream).await.unwrap();
                assert_is_the_fold(&log, tenant, stream, &loaded).await;
                let given = first(tenant, stream, 1 + turn % 4);
                let given = outbox::Append { expected_version: loaded.version, expected_chain: loaded.chain, ..given };
                // Others may have been quicker; that is no matter here.
                log.append(given).await.unwrap();
            }
        }
    });
    join_all(work.map(tokio::spawn)).await.into_iter().for_each(|done| done.unwrap());
    let mut admin = database.admin().await;
    let taken: i64 = sqlx::query_scalar("SELECT count(*) FROM log.snapshots").fetch_one(&mut admin).await.unwrap();
    assert!(taken > 0);
}

#[tokio::test]
async fn snapshots_are_their_tenants_own_and_requests_cannot_write_them() {
    let database = Database::with(1).await;
    let log = connect(&database).await.snapshot_after(2);
    let (mine, other, stream) = (tenant(), tenant(), uuid());
    log.append(first(mine, stream, 3)).await.unwrap();
    log.load::<Tenant>(mine, stream).await.unwrap();
    snapshot_at(&log, stream, 3).await;
    let mut seen = Vec::new();
    for tenant in [mine, other] {
        let mut tx = log.tenant_read(tenant).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM log.snapshots").fetch_one(&mut *tx).await.unwrap();
        seen.push(count);
    }
    assert_eq!(seen, [1, 0]);
    assert_eq!(log.load::<Tenant>(other, stream).await.unwrap().version, 0);
    let write = sqlx::raw_sql("DELETE FROM log.snapshots").execute(log.app_pool()).await.unwrap_err();
    assert_eq!(write.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"));
}
