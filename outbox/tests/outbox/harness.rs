//! Each event is applied exactly once and in order, whatever the bus does.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_nats::Message;
use async_trait::async_trait;
use futures::StreamExt as _;
use outbox::Log;
use outbox::consumer::{ApplyError, Consumer, Touched};
use schemas::{Recorded, subject};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::support::seen::{NAME, Seen};
use crate::support::{Database, Nats, connect, eventually, fill, first, tenant, uuid};

async fn set_up() -> (Database, Log, Arc<Seen>) {
    let database = Database::with(1).await;
    Seen::table(&database).await;
    let log = connect(&database).await;
    (database, log, Arc::default())
}

/// The messages that a relay publishes for the whole log.
async fn messages(log: &Log) -> Vec<Message> {
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    let messages = bus.client().subscribe(subject::EVENTS).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(outbox::relay::run(log.clone(), bus, 0, uuid(), stop.clone()));
    let head = usize::try_from(log.head(0).await.unwrap()).unwrap();
    let messages = messages.take(head).collect().await;
    stop.cancel();
    messages
}

async fn publish(client: &async_nats::Client, message: &Message) {
    let headers = message.headers.clone().unwrap();
    client.publish_with_headers(message.subject.clone(), headers, message.payload.clone()).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test]
async fn without_a_bus_the_log_is_polled() {
    let (_database, log, seen) = set_up().await;
    fill(&log, tenant(), 700).await;
    let _running = seen.run(&log, None);
    Seen::all(&log).await;
    fill(&log, tenant(), 3).await;
    Seen::all(&log).await;
}

#[tokio::test]
async fn duplicates_gaps_and_disorder_are_mended() {
    let (_database, log, seen) = set_up().await;
    fill(&log, tenant(), 60).await;
    let messages = messages(&log).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    // It has all but the last 40, which then come in every wrong way.
    sqlx::raw_sql(
        "INSERT INTO log.consumers VALUES ('seen', 0, 20); \
         INSERT INTO read.seen (position) SELECT generate_series(1, 20)",
    )
    .execute(log.worker_pool())
    .await
    .unwrap();
    seen.broken.store(true, Ordering::Relaxed);
    let _running = seen.run(&log, Some(bus.clone()));
    let order = [21, 21, 5, 22, 25, 24, 23, 26, 1, 60, 59, 27, 28, 28, 40, 30, 31, 60];
    for position in order {
        publish(bus.client(), &messages[position - 1]).await;
    }
    // What no relay has published.
    bus.client().publish("evt.0.card", "{}".into()).await.unwrap();
    seen.broken.store(false, Ordering::Relaxed);
    for message in messages.iter().rev() {
        publish(bus.client(), message).await;
    }
    Seen::all(&log).await;
}

#[tokio::test]
async fn a_gap_is_read_from_the_log_at_once() {
    let (_database, log, seen) = set_up().await;
    fill(&log, tenant(), 1).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    let _running = seen.run(&log, Some(bus.clone()));
    Seen::all(&log).await;
    fill(&log, tenant(), 5).await;
    let messages = messages(&log).await;
    publish(bus.client(), &messages[5]).await;
    Seen::all(&log).await;
}

#[tokio::test]
async fn silence_while_the_clock_is_ahead_is_mended() {
    let (_database, log, seen) = set_up().await;
    let nats = Nats::start().await;
    // Nobody relays.
    let _running = seen.run(&log, Some(nats.bus().await));
    for _ in 0..3 {
        fill(&log, tenant(), 2).await;
        Seen::all(&log).await;
    }
}

#[tokio::test]
async fn two_harnesses_and_restarts_are_harmless() {
    let (_database, log, seen) = set_up().await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), 0, uuid(), stop));
    let _first = seen.run(&log, Some(bus.clone()));
    for round in 0..10 {
        let second = seen.run(&log, Some(bus.clone()));
        fill(&log, tenant(), 40).await;
        if round % 2 == 0 {
            drop(second);
            continue;
        }
        Seen::all(&log).await;
    }
    Seen::all(&log).await;
}

#[tokio::test]
async fn the_bus_may_go_away_and_come_back() {
    let (_database, log, seen) = set_up().await;
    let mut nats = Nats::start().await;
    let bus = nats.bus().await;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), 0, uuid(), stop));
    let _running = seen.run(&log, Some(bus.clone()));
    fill(&log, tenant(), 5).await;
    Seen::all(&log).await;
    nats.kill();
    fill(&log, tenant(), 5).await;
    Seen::all(&log).await;
    nats.wipe();
    nats.resume().await;
    fill(&log, tenant(), 5).await;
    Seen::all(&log).await;
}

#[tokio::test]
async fn a_rebuild_gives_what_was_there() {
    let (_database, log, seen) = set_up().await;
    fill(&log, tenant(), 1_200).await;
    let running = seen.run(&log, None);
    Seen::all(&log).await;
    // While the harness runs, and after it.
    outbox::consumer::rebuild(&log, &*seen).await.unwrap();
    Seen::all(&log).await;
    drop(running);
    sqlx::raw_sql("DELETE FROM read.seen").execute(log.worker_pool()).await.unwrap();
    outbox::consumer::rebuild(&log, &*seen).await.unwrap();
    Seen::all(&log).await;
}

/// Writes down where each page ended.
#[derive(Default)]
struct Ends(Mutex<Vec<i64>>);

#[async_trait]
impl Consumer for Ends {
    fn name(&self) -> &'static str {
        "ends"
    }

    async fn apply(&self, _tx: &mut PgConnection, _page: &[Recorded]) -> Result<Touched, ApplyError> {
        Ok(Touched::default())
    }

    async fn committed(&self, page: &[Recorded]) {
        self.0.lock().unwrap().extend(page.last().map(|last| last.position));
    }

    async fn reset(&self, _tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_half_of_what_a_command_did() {
    const EVENTS: i64 = 3;
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let (bus, stop) = (nats.bus().await, CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    let append = async |count: usize| {
        for _ in 0..count {
            log.append(first(tenant(), uuid(), usize::try_from(EVENTS).unwrap())).await.unwrap();
        }
    };
    // Some are read from the log in pages that they do not fill, the others come by the bus as they happen.
    append(400).await;
    let ends = Arc::new(Ends::default());
    tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), 0, uuid(), stop.clone()));
    tokio::spawn(outbox::consumer::run(log.clone(), Some(bus), ends.clone(), 0, stop));
    append(400).await;
    let head = log.head(0).await.unwrap();
    eventually("everything is applied", || async { ends.0.lock().unwrap().last() == Some(&head) }).await;
    // And some come alone.
    for _ in 0..20 {
        append(1).await;
        let head = log.head(0).await.unwrap();
        eventually("it is applied", || async { ends.0.lock().unwrap().last() == Some(&head) }).await;
    }
    let ends = ends.0.lock().unwrap();
    let halves: Vec<i64> = ends.iter().copied().filter(|end| end % EVENTS != 0).collect();
    assert!(halves.is_empty(), "pages ended within a command at {halves:?}");
}

#[tokio::test]
async fn an_unknown_partition_is_an_error() {
    let (_database, log, seen) = set_up().await;
    let stop = CancellationToken::new();
    assert!(outbox::consumer::run(log.clone(), None, seen, 7, stop).await.is_err());
    eventually("nothing was registered", || async {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM log.consumers WHERE name = $1")
            .bind(NAME)
            .fetch_one(log.worker_pool())
            .await
            .unwrap()
            == 0
    })
    .await;
}
