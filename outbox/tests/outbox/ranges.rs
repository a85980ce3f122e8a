//! The ranges in which the events stand.

use domain::TenantId;
use domain::tenant::Tenant;
use outbox::{Log, Verdict};
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Database, connect, fill, first, next, tenant, uuid};

/// Has every range that is still to be made take so many positions.
async fn small_ranges(database: &Database, size: i64) {
    let sql = "UPDATE log.clock SET range_size = $1";
    sqlx::query(sql).bind(size).execute(&mut database.in_role("agentworks_owner").await).await.unwrap();
}

/// First, last and state of each range of a partition.
async fn ranges(log: &Log, partition: i32) -> Vec<(i64, i64, String)> {
    sqlx::query_as("SELECT first, last, state FROM log.ranges WHERE partition = $1 ORDER BY first")
        .bind(partition)
        .fetch_all(log.worker_pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_cross_many_ranges_and_readers_miss_nothing() {
    const WRITERS: usize = 16;
    const EACH: usize = 30;
    let database = Database::with(2).await;
    small_ranges(&database, 7).await;
    let logs = [connect(&database).await, connect(&database).await];
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let log = logs[writer % 2].clone();
        writers.spawn(async move {
            let (tenant, stream) = (tenant(), uuid());
            for turn in 0..EACH {
                let append = next(&log, tenant, stream, 1 + (writer + turn) % 3).await;
                let verdict = log.append(append).await.unwrap();
                assert!(matches!(verdict, Verdict::Stored(_)), "{verdict:?}");
            }
            // A stream that lies over many ranges, as it is loaded, read as a stream and as its tenant's.
            let loaded = log.load::<Tenant>(tenant, stream).await.unwrap();
            let versions =
                |events: Vec<schemas::Recorded>| events.iter().map(|event| event.version).collect::<Vec<_>>();
            let expected: Vec<_> = (1..=loaded.version).collect();
            assert!(expected.len() >= EACH);
            assert_eq!(versions(log.read_stream(tenant, stream, 0, 1_000).await.unwrap()), expected);
            assert_eq!(versions(log.read_stream(tenant, stream, 10, 5).await.unwrap()), expected[10..15]);
            assert_eq!(versions(log.read_tenant(tenant, 0, 1_000).await.unwrap()), expected);
            (log.partition_of(tenant), loaded.version)
        });
    }
    let written = writers.join_all().await;
    for partition in 0..2 {
        let head: i64 = written.iter().filter(|(of, _)| *of == partition).map(|(_, count)| count).sum();
        let positions: Vec<_> = logs[0].read(partition, 0, 10_000).await.unwrap().iter().map(|e| e.position).collect();
        assert_eq!(positions, (1..=head).collect::<Vec<_>>());
        let ranges = ranges(&logs[1], partition).await;
        // They follow one another.
        for (nth, (first, last, state)) in (0..).zip(&ranges) {
            assert_eq!((*first, *last), (nth * 7 + 1, nth * 7 + 7));
            // A range is closed when the next one but one is made.
            assert!(state == "open" || *last <= head, "{ranges:?}, {head}");
            assert!(state == "closed" || *last + 7 > head, "{ranges:?}, {head}");
        }
        assert!(ranges.last().is_none_or(|(_, last, _)| *last >= head));
    }
}

#[tokio::test]
async fn every_event_stands_in_the_range_of_its_position_and_nobody_changes_it_there() {
    let database = Database::with(1).await;
    small_ranges(&database, 10).await;
    let log = connect(&database).await;
    fill(&log, tenant(), 35).await;
    let mut owner = database.in_role("agentworks_owner").await;
    let tables: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT tableoid::regclass::text, min(position), max(position) FROM log.events GROUP BY 1 ORDER BY 2",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let expected = [
        ("log.events_0_1", 1, 10),
        ("log.events_0_11", 11, 20),
        ("log.events_0_21", 21, 30),
        ("log.events_0_31", 31, 35),
    ];
    assert_eq!(tables, expected.map(|(name, first, last)| (name.to_owned(), first, last)));
    for connection in [&mut owner, &mut database.admin().await] {
        for sql in ["UPDATE log.events_0_1 SET actor = ''", "DELETE FROM log.events_0_11", "TRUNCATE log.events_0_31"] {
            assert_eq!(code(sqlx::raw_sql(sql).execute(&mut *connection).await), "42501", "{sql}");
        }
    }
    for role in ["agentworks_app", "agentworks_worker"] {
        let mut connection = database.in_role(role).await;
        assert_eq!(code(sqlx::raw_sql("SELECT FROM log.events_0_1").execute(&mut connection).await), "42501", "{role}");
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, sqlx::Error>) -> String {
    result.unwrap_err().as_database_error().unwrap().code().unwrap().into_owned()
}

#[tokio::test]
async fn a_lock_on_the_table_is_not_waited_for_while_there_is_room() {
    let database = Database::with(1).await;
    small_ranges(&database, 10).await;
    let log = connect(&database).await;
    fill(&log, tenant(), 2).await;
    let mut admin = database.admin().await;
    let mut lock = admin.begin().await.unwrap();
    sqlx::query("LOCK TABLE log.events IN SHARE UPDATE EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    // Wants the next range, and goes on without it.
    fill(&log, tenant(), 8).await;
    assert_eq!(ranges(&log, 0).await.len(), 1);
    lock.rollback().await.unwrap();
    fill(&log, tenant(), 1).await;
    assert_eq!(ranges(&log, 0).await.len(), 2);
}

/// What a query of the requests' role touches: the tables that its plan really reads.
async fn touched(log: &Log, tenant: TenantId, sql: String) -> Vec<String> {
    let mut tx = log.tenant_read(tenant).await.unwrap();
    sqlx::raw_sql("SET LOCAL plan_cache_mode = force_generic_plan").execute(&mut *tx).await.unwrap();
    let sql = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql}");
    let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *tx).await.unwrap();
    let scanned =
        plan.iter().filter(|line| !line.contains("never executed")).filter_map(|line| line.split_once(" on "));
    let named = scanned.map(|(_, table)| table.split_whitespace().next().unwrap_or_default().to_owned());
    let mut tables: Vec<_> = named.filter(|table| table.starts_with("events_")).collect();
    tables.sort();
    tables
}

#[tokio::test]
async fn a_read_touches_only_the_ranges_that_it_needs() {
    let database = Database::with(1).await;
    small_ranges(&database, 10).await;
    let log = connect(&database).await;
    let (tenant, stream) = (tenant(), uuid());
    fill(&log, tenant, 12).await;
    log.append(first(tenant, stream, 3)).await.unwrap();
    fill(&log, tenant, 70).await;
    let of = tenant.uuid();
    let tail = "SELECT * FROM log.events WHERE partition = 0 AND position > 41 AND position <= 46 ORDER BY position"
        .to_owned();
    assert_eq!(touched(&log, tenant, tail).await, ["events_0_41"]);
    let of_tenant = format!(
        "SELECT * FROM log.events WHERE partition = 0 AND position = ANY ('{{42,44}}') AND position BETWEEN 42 AND 44 \
         AND tenant = '{of}' ORDER BY position"
    );
    assert_eq!(touched(&log, tenant, of_tenant).await, ["events_0_41"]);
    let bound = |column| format!("(SELECT {column} FROM log.streams WHERE tenant = '{of}' AND stream = '{stream}')");
    let of_stream = format!(
        "SELECT * FROM log.events WHERE partition = 0 AND tenant = '{of}' AND stream = '{stream}' AND version > 0 \
         AND position >= {} AND position <= {} ORDER BY version LIMIT 5",
        bound("first_position"),
        bound("position"),
    );
    assert_eq!(touched(&log, tenant, of_stream).await, ["events_0_11"]);
}

/// One event in the log of an earlier release, appended as that release did.
async fn append_before(owner: &mut PgConnection, tenant: TenantId, stream: Uuid, version: i64) {
    sqlx::query(
        "SELECT log.append(0, ARRAY[$1], ARRAY[gen_random_uuid()], ARRAY['\\x01'::bytea], ARRAY['tenant'], ARRAY[$2], \
         ARRAY[$3 - 1], ARRAY[$4], ARRAY['system:test'], ARRAY[gen_random_uuid()], ARRAY[NULL::uuid], \
         ARRAY[NULL], ARRAY[now()], ARRAY[gen_random_uuid()], ARRAY[$3], ARRAY['TenantRenamed'], ARRAY[1], \
         ARRAY['{ \"name\" : \"x\" }'], ARRAY['{}'], ARRAY[$5], ARRAY[$5], ARRAY[true], false)",
    )
    .bind(tenant.uuid())
    .bind(stream)
    .bind(version)
    .bind([u8::try_from(version - 1).unwrap(); 32].as_slice())
    .bind([u8::try_from(version).unwrap(); 32].as_slice())
    .execute(owner)
    .await
    .unwrap();
}

#[tokio::test]
async fn the_log_of_an_earlier_release_moves_into_ranges() {
    let database = Database::before(5).await;
    let mut owner = database.in_role("agentworks_owner").await;
    sqlx::raw_sql("INSERT INTO log.clock (partition) VALUES (0)").execute(&mut owner).await.unwrap();
    let tenants = [tenant(), tenant()];
    let streams = [uuid(), uuid(), uuid()];
    for version in 1..=4 {
        for (nth, stream) in streams.into_iter().enumerate() {
            append_before(&mut owner, tenants[nth % 2], stream, version).await;
        }
    }
    let sql = "SELECT row_to_json(e)::text FROM log.events e ORDER BY position";
    let before: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut owner).await.unwrap();
    outbox::migrate::run(&database.url, 1).await.unwrap();
    let after: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut owner).await.unwrap();
    assert_eq!((before.len(), before), (12, after));

    let log = connect(&database).await;
    assert_eq!(ranges(&log, 0).await, [(1, 1_000_000, "open".to_owned())]);
    for (nth, stream) in (1..).zip(streams) {
        let row = sqlx::query("SELECT first_position, position, version FROM log.streams WHERE stream = $1")
            .bind(stream)
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1), row.get::<i64, _>(2)), (nth, nth + 9, 4));
    }
    // And it goes on: the next event of a stream of then, and a new one.
    let loaded = log.load::<Tenant>(tenants[0], streams[0]).await.unwrap();
    assert_eq!((loaded.version, loaded.position, loaded.chain.0), (4, 10, [4; 32]));
    assert!(matches!(log.append(next(&log, tenants[0], streams[0], 1).await).await.unwrap(), Verdict::Stored(_)));
    fill(&log, tenants[1], 1).await;
    assert_eq!(log.head(0).await.unwrap(), 14);
}
