//! An event that cannot be applied holds up its tenant, and nobody else; and its tenant is taken up again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{EventId, TenantId};
use outbox::consumer::parking::{self, ParkingError};
use outbox::{Log, Progress, Verdict, consumer};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::seen::{How, NAME, Seen};
use crate::support::{Database, connect, eventually, fill, first, tenant, uuid};

async fn set_up() -> (Database, Log, Arc<Seen>) {
    let database = Database::with(1).await;
    Seen::table(&database).await;
    let log = connect(&database).await;
    (database, log, Arc::default())
}

/// One more event of a tenant, which `seen` will not take when that is said: its id and position.
async fn event(log: &Log, seen: &Seen, tenant: TenantId, refused: Option<How>) -> (EventId, i64) {
    let append = first(tenant, uuid(), 1);
    let id = append.events[0].id;
    if let Some(how) = refused {
        seen.refused.lock().unwrap().insert(id.uuid(), how);
    }
    let Verdict::Stored(appended) = log.append(append).await.unwrap() else { panic!("not stored") };
    (id, appended.position)
}

/// Waits until the consumer has come to the head, parked tenants aside.
async fn at_the_head(log: &Log) {
    let head = log.head(0).await.unwrap();
    eventually("the consumer is at the head", || async {
        let mut connection = log.worker_pool().acquire().await.unwrap();
        consumer::position(&mut connection, NAME, 0).await.unwrap() >= head
    })
    .await;
}

/// The positions of a tenant's events that were applied, in the order in which they were.
async fn applied(log: &Log, tenant: TenantId) -> Vec<i64> {
    sqlx::query_scalar("SELECT position FROM read.seen WHERE tenant = $1 ORDER BY nth")
        .bind(tenant.uuid())
        .fetch_all(log.worker_pool())
        .await
        .unwrap()
}

/// The positions of all of a tenant's events.
async fn all(log: &Log, tenant: TenantId) -> Vec<i64> {
    log.read_tenant(tenant, 0, 100_000).await.unwrap().iter().map(|event| event.position).collect()
}

async fn position_of(log: &Log, tenant: TenantId) -> i64 {
    let mut tx = log.tenant_read(tenant).await.unwrap();
    consumer::tenant_position(&mut tx, NAME, 0, tenant).await.unwrap()
}

#[tokio::test]
async fn whatever_is_wrong_with_an_event_only_its_tenant_is_parked() {
    let (_database, log, seen) = set_up().await;
    let healthy = tenant();
    let mut ill = Vec::new();
    for how in [How::Decode, How::Refusal, How::Panic, How::Data, How::Constraint] {
        let tenant = tenant();
        let (_, before) = event(&log, &seen, tenant, None).await;
        fill(&log, healthy, 50).await;
        let (id, position) = event(&log, &seen, tenant, Some(how)).await;
        fill(&log, healthy, 50).await;
        event(&log, &seen, tenant, None).await;
        ill.push((how, tenant, before, id, position));
    }
    let _running = seen.run(&log, None);
    at_the_head(&log).await;
    // Those that come while tenants are parked are left out as well.
    for (_, tenant, ..) in &ill {
        event(&log, &seen, *tenant, None).await;
    }
    fill(&log, healthy, 50).await;
    at_the_head(&log).await;

    assert_eq!(applied(&log, healthy).await, all(&log, healthy).await);
    assert_eq!(position_of(&log, healthy).await, log.head(0).await.unwrap());
    let parked = parking::parked(&log).await.unwrap();
    assert_eq!(parked.len(), ill.len());
    for (how, tenant, before, id, position) in ill {
        assert_eq!(applied(&log, tenant).await, [before], "{how:?}");
        assert_eq!(position_of(&log, tenant).await, position - 1, "{how:?}");
        let row = parked.iter().find(|row| row.tenant == tenant).unwrap();
        assert_eq!((row.consumer.as_str(), row.partition, row.position, row.event), (NAME, 0, position, id), "{how:?}");
        assert!(!row.error.is_empty() && row.tries >= 1, "{row:?}");
    }
    assert!(seen.failures.load(Ordering::Relaxed) < 200, "tried {:?} times", seen.failures);
}

#[tokio::test]
async fn what_is_away_parks_nobody() {
    let (_database, log, seen) = set_up().await;
    fill(&log, tenant(), 5).await;
    seen.broken.store(true, Ordering::Relaxed);
    let _running = seen.run(&log, None);
    eventually("it was tried again", || async { seen.failures.load(Ordering::Relaxed) >= 5 }).await;
    assert!(parking::parked(&log).await.unwrap().is_empty());
    assert!(Seen::positions(&log).await.is_empty());
    seen.broken.store(false, Ordering::Relaxed);
    Seen::all(&log).await;
}

#[tokio::test]
async fn a_tenant_is_taken_up_again_exactly_once_while_others_go_on() {
    let (_database, log, seen) = set_up().await;
    let (ill, healthy) = (tenant(), tenant());
    let (id, _) = event(&log, &seen, ill, Some(How::Refusal)).await;
    fill(&log, ill, 1_700).await;
    let _one = seen.run(&log, None);
    let _two = seen.run(&log, None);
    at_the_head(&log).await;
    assert_eq!(parking::parked(&log).await.unwrap().len(), 1);
    let writing = async {
        for _ in 0..20 {
            fill(&log, ill, 20).await;
            fill(&log, healthy, 20).await;
        }
    };
    let retrying = async {
        // Refused still: it stays where it is, and counts.
        let refused = parking::retry(&log, &*seen, ill).await.unwrap_err();
        assert!(matches!(refused, ParkingError::Refused { event, .. } if event == id), "{refused}");
        assert_eq!(parking::parked(&log).await.unwrap()[0].tries, 4);
        seen.refused.lock().unwrap().clear();
        // Two operators at once.
        let (one, two) = tokio::join!(parking::retry(&log, &*seen, ill), parking::retry(&log, &*seen, ill));
        assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
    };
    tokio::join!(writing, retrying);
    at_the_head(&log).await;
    for tenant in [ill, healthy] {
        assert_eq!(applied(&log, tenant).await, all(&log, tenant).await);
        assert_eq!(position_of(&log, tenant).await, log.head(0).await.unwrap());
    }
    assert!(parking::parked(&log).await.unwrap().is_empty());
    assert!(matches!(parking::retry(&log, &*seen, ill).await, Err(ParkingError::NotParked { .. })));
}

#[tokio::test]
async fn an_event_is_skipped_by_decision_alone_and_that_is_on_record() {
    let (_database, log, seen) = set_up().await;
    let ill = tenant();
    let (_, before) = event(&log, &seen, ill, None).await;
    let (bad, at) = event(&log, &seen, ill, Some(How::Decode)).await;
    let (later, _) = event(&log, &seen, ill, None).await;
    let (worse, _) = event(&log, &seen, ill, Some(How::Panic)).await;
    fill(&log, ill, 10).await;
    let _running = seen.run(&log, None);
    at_the_head(&log).await;
    assert_eq!(position_of(&log, ill).await, at - 1);

    let other = parking::skip(&log, &*seen, ill, later, "ada", "by mistake").await.unwrap_err();
    assert!(matches!(other, ParkingError::AnotherEvent(event) if event == bad), "{other}");
    // It goes on behind the event, up to the next one that is refused.
    let next = parking::skip(&log, &*seen, ill, bad, "ada", "written by a broken release").await.unwrap_err();
    assert!(matches!(next, ParkingError::Refused { event, .. } if event == worse), "{next}");
    assert_eq!(parking::parked(&log).await.unwrap()[0].event, worse);
    parking::skip(&log, &*seen, ill, worse, "ada", "the same").await.unwrap();
    let mut expected = all(&log, ill).await;
    expected.retain(|position| ![at, at + 2].contains(position));
    assert_eq!(applied(&log, ill).await, expected);
    assert_eq!(expected[0], before);
    let records: Vec<(Uuid, String, String)> =
        sqlx::query_as("SELECT event, skipped_by, reason FROM log.skipped ORDER BY position")
            .fetch_all(log.worker_pool())
            .await
            .unwrap();
    let ada = |event: EventId, reason: &str| (event.uuid(), "ada".to_owned(), reason.to_owned());
    assert_eq!(records, [ada(bad, "written by a broken release"), ada(worse, "the same")]);

    // Whoever reads it all again does without them as well.
    sqlx::raw_sql("DELETE FROM read.seen; UPDATE log.consumers SET position = 0")
        .execute(log.worker_pool())
        .await
        .unwrap();
    drop(_running);
    let _again = seen.run(&log, None);
    at_the_head(&log).await;
    assert_eq!(applied(&log, ill).await, expected);
    assert!(parking::parked(&log).await.unwrap().is_empty());
}

#[tokio::test]
async fn whoever_follows_a_parked_tenant_is_woken_when_it_is_taken_up() {
    let (_database, log, seen) = set_up().await;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let ill = tenant();
    event(&log, &seen, ill, Some(How::Refusal)).await;
    let _running = seen.run(&log, None);
    at_the_head(&log).await;
    let progress = Progress::start(log.clone(), None, &[NAME], stop);
    progress.wait(NAME, 0, 1, Duration::from_secs(20)).await.unwrap();
    let mut reached = progress.subscribe(NAME, 0);
    seen.refused.lock().unwrap().clear();
    parking::retry(&log, &*seen, ill).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(20), reached.recv()).await.expect("nobody was woken");
    assert!(woken.unwrap().topics.is_empty());
}
