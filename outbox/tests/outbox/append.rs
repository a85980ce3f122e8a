//! Appending: order, deduplication, verdicts, groups.

use std::collections::BTreeMap;

use domain::tenant::Tenant;
use futures::FutureExt as _;
use futures::future::join_all;
use outbox::{Append, Appended, Log, LogError, Verdict};
use schemas::evidence::{Hash, link};
use sqlx::Connection as _;
use tokio::task::JoinSet;

use crate::support::{Database, connect, eventually, fill, first, next, tenant, uuid};

fn stored(verdict: Verdict) -> Appended {
    match verdict {
        Verdict::Stored(appended) => appended,
        other => panic!("not stored: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tailing_reader_misses_nothing_under_concurrent_writers() {
    const WRITERS: usize = 32;
    const EACH: usize = 40;
    let database = Database::with(1).await;
    // Two processes.
    let logs = [connect(&database).await, connect(&database).await];
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let log = logs[writer % 2].clone();
        writers.spawn(async move {
            let tenant = tenant();
            let mut positions = Vec::new();
            for i in 0..EACH {
                let append = first(tenant, uuid(), 1 + (writer + i) % 3);
                let count = append.events.len();
                positions.push((stored(log.append(append).await.unwrap()).position, count));
            }
            positions
        });
    }
    let reader = logs[0].clone();
    let total: usize = (0..WRITERS).flat_map(|w| (0..EACH).map(move |i| 1 + (w + i) % 3)).sum();
    let tail = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < total {
            let after = seen.last().copied().unwrap_or(0);
            seen.extend(reader.read(0, after, 64).await.unwrap().iter().map(|event| event.position));
        }
        seen
    });
    let answers: Vec<(i64, usize)> = writers.join_all().await.into_iter().flatten().collect();
    let seen = tail.await.unwrap();
    // In the order of reading, without a gap: nothing became visible behind the reader's back.
    assert_eq!(seen, (1..=i64::try_from(total).unwrap()).collect::<Vec<_>>());
    assert_eq!(logs[0].head(0).await.unwrap(), i64::try_from(total).unwrap());
    // Every answer names the last of its own events.
    let ends: BTreeMap<i64, usize> = answers.into_iter().collect();
    let mut reached = 0;
    for (end, count) in ends {
        reached += i64::try_from(count).unwrap();
        assert_eq!(end, reached);
    }
}

#[tokio::test]
async fn what_is_stored_is_what_was_given() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (tenant, stream) = (tenant(), uuid());
    let append = first(tenant, stream, 2);
    stored(log.append(append.clone()).await.unwrap());
    stored(log.append(next(&log, tenant, stream, 1).await).await.unwrap());
    let events = log.read_stream(tenant, stream, 0, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 3]);
    for (event, given) in events.iter().zip(&append.events) {
        assert_eq!(event.id, given.id);
        assert_eq!(event.payload.get(), given.payload);
        assert_eq!(event.event_type, "TenantRenamed");
        assert_eq!(event.metadata.actor, append.metadata.actor);
        assert_eq!(event.metadata.command, append.metadata.command);
        assert_eq!(event.metadata.traceparent, append.metadata.traceparent);
        assert!((event.metadata.occurred_at - append.metadata.occurred_at).abs() < time::Duration::MICROSECOND);
    }
    let loaded = log.load::<Tenant>(tenant, stream).await.unwrap();
    assert_eq!((loaded.version, loaded.position), (3, 3));
    // The chain of what was read is the chain that was stored.
    let mut chain = Hash::ZERO;
    for event in &events {
        assert_eq!(event.digest, event.expected_digest());
        chain = link(&chain, &event.digest);
        assert_eq!(event.chain, chain);
    }
    assert_eq!(loaded.chain, chain);
    assert_eq!(log.read_tenant(tenant, 1, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_repeated_command_answers_the_same_and_another_body_is_refused() {
    let database = Database::with(2).await;
    let log = connect(&database).await;
    let (tenant, stream) = (tenant(), uuid());
    let append = first(tenant, stream, 2);
    let answer = stored(log.append(append.clone()).await.unwrap());
    stored(log.append(next(&log, tenant, stream, 1).await).await.unwrap());

    assert_eq!(log.append(append.clone()).await.unwrap(), Verdict::Repeated(answer.clone()));
    let other = Append { fingerprint: [2; 32], ..append.clone() };
    assert_eq!(log.append(other).await.unwrap(), Verdict::Mismatch);
    let past = log.command(tenant, append.metadata.command).await.unwrap().unwrap();
    assert_eq!((past.fingerprint, past.appended), ([1; 32], answer));
    assert_eq!(log.load::<Tenant>(tenant, stream).await.unwrap().version, 3);
    // The same command id of another tenant is another command.
    let mut elsewhere = first(crate::support::tenant(), uuid(), 1);
    elsewhere.metadata.command = append.metadata.command;
    stored(log.append(elsewhere).await.unwrap());
}

#[tokio::test]
async fn the_same_command_many_times_at_once_happens_once() {
    let database = Database::with(1).await;
    let logs = [connect(&database).await, connect(&database).await];
    let append = first(tenant(), uuid(), 1);
    let verdicts = join_all((0..20).map(|i| logs[i % 2].append(append.clone()))).await;
    let stored = verdicts.iter().filter(|v| matches!(v, Ok(Verdict::Stored(_)))).count();
    let repeated = verdicts.iter().filter(|v| matches!(v, Ok(Verdict::Repeated(_)))).count();
    assert_eq!((stored, repeated), (1, 19));
    assert_eq!(logs[0].head(0).await.unwrap(), 1);
}

#[tokio::test]
async fn a_stream_that_moved_on_is_a_conflict() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (tenant, stream) = (tenant(), uuid());
    stored(log.append(first(tenant, stream, 2)).await.unwrap());
    assert_eq!(log.append(first(tenant, stream, 1)).await.unwrap(), Verdict::Conflict { version: 2 });
    let ahead = Append { expected_version: 3, ..next(&log, tenant, stream, 1).await };
    assert_eq!(log.append(ahead).await.unwrap(), Verdict::Conflict { version: 2 });
    let forked = Append { expected_chain: Hash([9; 32]), ..next(&log, tenant, stream, 1).await };
    assert_eq!(log.append(forked).await.unwrap(), Verdict::Conflict { version: 2 });
    let from_nothing = Append { expected_chain: Hash([9; 32]), ..first(tenant, uuid(), 1) };
    assert_eq!(log.append(from_nothing).await.unwrap(), Verdict::Conflict { version: 0 });
    let other_type = Append { aggregate_type: "card", ..next(&log, tenant, stream, 1).await };
    assert_eq!(log.append(other_type).await.unwrap(), Verdict::Conflict { version: 2 });
    assert_eq!(log.head(0).await.unwrap(), 2);

    // Many deciding on the same version: one wins, nothing is lost.
    let same = join_all((0..10).map(|_| next(&log, tenant, stream, 1))).await;
    let verdicts = join_all(same.into_iter().map(|append| log.append(append))).await;
    assert_eq!(verdicts.iter().filter(|v| matches!(v, Ok(Verdict::Stored(_)))).count(), 1);
    assert_eq!(verdicts.iter().filter(|v| matches!(v, Ok(Verdict::Conflict { version: 3 }))).count(), 9);
}

/// Appends that certainly stand in one group: on one thread all are queued before the writer's task runs.
async fn as_group(log: &Log, appends: Vec<Append>) -> Vec<Result<Verdict, LogError>> {
    join_all(appends.into_iter().map(|append| log.append(append))).await
}

#[tokio::test]
async fn each_append_of_a_group_has_its_own_verdict() {
    let database = Database::with(1).await;
    let (tenant, stream) = (tenant(), uuid());
    let past = first(tenant, stream, 1);
    stored(connect(&database).await.append(past.clone()).await.unwrap());

    let log = connect(&database).await;
    let mismatch = Append { fingerprint: [7; 32], ..first(tenant, uuid(), 1) };
    let mut used = mismatch.clone();
    used.metadata.command = past.metadata.command;
    let group = vec![
        first(tenant, uuid(), 2),
        past,
        used,
        Append { expected_version: 5, ..first(tenant, uuid(), 1) },
        first(crate::support::tenant(), uuid(), 3),
    ];
    let verdicts: Vec<_> = as_group(&log, group).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(stored(verdicts[0].clone()).position, 3);
    assert!(matches!(&verdicts[1], Verdict::Repeated(appended) if appended.position == 1));
    // The same command as the one before: it had to wait for the next group.
    assert_eq!(verdicts[2], Verdict::Mismatch);
    assert_eq!(verdicts[3], Verdict::Conflict { version: 0 });
    assert_eq!(stored(verdicts[4].clone()).position, 6);
    let commits: i64 = sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM log.events")
        .fetch_one(&mut database.admin().await)
        .await
        .unwrap();
    // The one before, and the group.
    assert_eq!(commits, 2);
}

#[tokio::test]
async fn a_bad_append_fails_alone() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let mut bad = first(tenant(), uuid(), 2);
    bad.events[1].payload = "{not json".to_owned();
    let good = (0..5).map(|_| first(tenant(), uuid(), 1));
    let verdicts = as_group(&log, std::iter::once(bad).chain(good).collect()).await;
    assert!(matches!(verdicts[0], Err(LogError::Database(_))), "{:?}", verdicts[0]);
    for verdict in verdicts.into_iter().skip(1) {
        stored(verdict.unwrap());
    }
    assert_eq!(log.head(0).await.unwrap(), 5);
    // And the writer goes on.
    fill(&log, tenant(), 1).await;
}

#[tokio::test]
async fn appends_to_one_stream_go_one_after_the_other() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (tenant, stream) = (tenant(), uuid());
    let verdicts = join_all((0..8).map(|_| log.append(first(tenant, stream, 1)))).await;
    let stored = verdicts.iter().filter(|v| matches!(v, Ok(Verdict::Stored(_)))).count();
    let conflicts = verdicts.iter().filter(|v| matches!(v, Ok(Verdict::Conflict { version: 1 }))).count();
    assert_eq!((stored, conflicts), (1, 7));
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_is_survived() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    fill(&log, tenant(), 1).await;
    // The append hangs on the clock, so that its connection can be cut while it is under way.
    let mut admin = database.admin().await;
    let mut lock = admin.begin().await.unwrap();
    sqlx::query("SELECT FROM log.clock FOR UPDATE").execute(&mut *lock).await.unwrap();
    let append = first(tenant(), uuid(), 1);
    let writing = tokio::spawn({
        let (log, append) = (log.clone(), append.clone());
        async move { log.append(append).await }
    });
    let mut killer = database.admin().await;
    let killer = tokio::sync::Mutex::new(&mut killer);
    eventually("the writer was cut off", || async {
        let killed: Option<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%log.append%'",
        )
        .fetch_optional(&mut **killer.lock().await)
        .await
        .unwrap();
        killed == Some(true)
    })
    .await;
    lock.rollback().await.unwrap();
    let answer = stored(writing.await.unwrap().unwrap());
    assert_eq!(answer.position, 2);
    assert_eq!(log.append(append).await.unwrap(), Verdict::Repeated(answer));
}

#[tokio::test]
async fn partitions_have_their_own_positions() {
    let database = Database::with(4).await;
    let log = connect(&database).await;
    let mut heads = [0; 4];
    for _ in 0..40 {
        let tenant = tenant();
        let answer = stored(log.append(first(tenant, uuid(), 1)).await.unwrap());
        assert_eq!(answer.partition, log.partition_of(tenant));
        let head = &mut heads[usize::try_from(answer.partition).unwrap()];
        *head += 1;
        assert_eq!(answer.position, *head);
    }
    assert!(matches!(log.head(4).await, Err(LogError::Partition(4))));
}

#[tokio::test]
async fn a_tenant_that_floods_waits_behind_itself() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (busy, quiet) = (tenant(), tenant());
    // On one thread: all have come before the writer's task runs.
    let flood = join_all((0..3_000).map(|_| log.append(first(busy, uuid(), 1))));
    let mut flood = Box::pin(tokio::task::unconstrained(flood));
    assert!(flood.as_mut().now_or_never().is_none());
    let (flood, other) = tokio::join!(flood, log.append(first(quiet, uuid(), 1)));
    assert_eq!(stored(other.unwrap()).position, 2);
    let positions: Vec<_> = flood.into_iter().map(|verdict| stored(verdict.unwrap()).position).collect();
    assert!(positions.is_sorted() && positions.last() == Some(&3_001));
}
