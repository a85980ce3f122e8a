//! The stream is a copy of the log, and becomes one again whatever happens to it.

use async_nats::jetstream::{self, consumer};
use futures::StreamExt as _;
use outbox::{Append, Bus, Log, LogError};
use schemas::subject::{self, header};
use sqlx::Connection as _;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::support::{Database, Nats, connect, eventually, fill, first, tenant, uuid};

fn relay(log: &Log, bus: &Bus, holder: Uuid) -> DropGuard {
    let stop = CancellationToken::new();
    tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), 0, holder, stop.clone()));
    stop.drop_guard()
}

async fn messages(bus: &Bus) -> u64 {
    let context = jetstream::new(bus.client().clone());
    match context.get_stream(subject::STREAM).await {
        Ok(stream) => stream.cached_info().state.messages,
        Err(_) => 0,
    }
}

async fn full(log: &Log, bus: &Bus) {
    let head = u64::try_from(log.head(0).await.unwrap()).unwrap();
    eventually("everything is in the stream", || async { messages(bus).await >= head }).await;
    assert_eq!(positions(bus).await, (1..=i64::try_from(head).unwrap()).collect::<Vec<_>>());
}

/// The positions that the stream holds, in its order.
async fn positions(bus: &Bus) -> Vec<i64> {
    let context = jetstream::new(bus.client().clone());
    let stream = context.get_stream(subject::STREAM).await.unwrap();
    let count = usize::try_from(stream.cached_info().state.messages).unwrap();
    let reader = stream.create_consumer(consumer::pull::OrderedConfig::default()).await.unwrap();
    let messages = reader.messages().await.unwrap().take(count);
    let position = |message: Result<jetstream::Message, _>| {
        let headers = message.unwrap().headers.clone().unwrap();
        headers.get(header::POSITION).unwrap().as_str().parse::<i64>().unwrap()
    };
    messages.map(position).collect().await
}

#[tokio::test]
async fn events_are_published_in_order_as_cloud_events() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    let append = first(tenant(), uuid(), 2);
    log.append(append.clone()).await.unwrap();
    fill(&log, tenant(), 1_500).await;
    let _relay = relay(&log, &bus, uuid());
    full(&log, &bus).await;

    let context = jetstream::new(bus.client().clone());
    let stream = context.get_stream(subject::STREAM).await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    assert_eq!(message.subject.as_str(), "evt.0.tenant");
    assert_eq!(message.payload, append.events[0].payload.as_bytes());
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(header(header::SPEC_VERSION).as_deref(), Some("1.0"));
    assert_eq!(header(header::ID), Some(append.events[0].id.to_string()));
    assert_eq!(header("Nats-Msg-Id"), Some(append.events[0].id.to_string()));
    assert_eq!(header(header::SOURCE).as_deref(), Some("/agentworks/tenant"));
    assert_eq!(header(header::TYPE).as_deref(), Some("TenantRenamed"));
    assert_eq!(header(header::SUBJECT), Some(append.stream.to_string()));
    assert_eq!(header(header::CONTENT_TYPE).as_deref(), Some("application/json"));
    assert_eq!(header(header::TRACEPARENT), append.metadata.traceparent);
    assert_eq!(header(header::POSITION).as_deref(), Some("1"));
    assert!(header(header::ENVELOPE).unwrap().contains(&append.metadata.command.to_string()));
}

#[tokio::test]
async fn a_relay_goes_on_where_the_stream_ends() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    // What was published once more would be dropped as a duplicate by the stream; here it is seen.
    let mut published = bus.client().subscribe(subject::EVENTS).await.unwrap();
    let mut position = 0;
    // The last message stands under another subject each time.
    for types in [["run", "tenant", "card"], ["card", "run", "tenant"], ["tenant", "card", "run"]] {
        for aggregate_type in types {
            log.append(Append { aggregate_type, ..first(tenant(), uuid(), 7) }).await.unwrap();
        }
        let _relay = relay(&log, &bus, uuid());
        full(&log, &bus).await;
        for _ in 0..21 {
            position += 1;
            let message = published.next().await.unwrap();
            let header = message.headers.unwrap().get(header::POSITION).unwrap().to_string();
            assert_eq!(header, position.to_string());
        }
    }
}

#[tokio::test]
async fn a_second_relay_waits_and_a_zombie_is_harmless() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    let holder = uuid();
    // The same holder twice: both think that they have the lease.
    let _one = relay(&log, &bus, holder);
    let _zombie = relay(&log, &bus, holder);
    let _waiting = relay(&log, &bus, uuid());
    for _ in 0..5 {
        fill(&log, tenant(), 100).await;
    }
    let context = jetstream::new(bus.client().clone());
    eventually("everything is in the stream", || async { messages(&bus).await >= 500 }).await;
    let stream = context.get_stream(subject::STREAM).await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 500);
}

#[tokio::test]
async fn a_stream_deleted_at_run_time_is_made_and_filled_again() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    fill(&log, tenant(), 30).await;
    let _relay = relay(&log, &bus, uuid());
    full(&log, &bus).await;
    let context = jetstream::new(bus.client().clone());
    // With something new to publish …
    context.delete_stream(subject::STREAM).await.unwrap();
    fill(&log, tenant(), 5).await;
    full(&log, &bus).await;
    // … and without.
    context.delete_stream(subject::STREAM).await.unwrap();
    full(&log, &bus).await;
}

#[tokio::test]
async fn a_server_that_lost_everything_is_filled_again() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let mut nats = Nats::start().await;
    let bus = nats.bus().await;
    let _relay = relay(&log, &bus, uuid());
    fill(&log, tenant(), 30).await;
    full(&log, &bus).await;
    nats.kill();
    fill(&log, tenant(), 10).await;
    nats.wipe();
    nats.resume().await;
    full(&log, &bus).await;
    nats.kill();
    nats.resume().await;
    fill(&log, tenant(), 10).await;
    full(&log, &bus).await;
}

#[tokio::test]
async fn a_stream_of_another_log_is_emptied_first() {
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    for count in [50, 10] {
        let database = Database::with(1).await;
        let log = connect(&database).await;
        fill(&log, tenant(), count).await;
        let _relay = relay(&log, &bus, uuid());
        eventually("it is this log's copy", || async { u64::try_from(count).unwrap() == messages(&bus).await }).await;
        full(&log, &bus).await;
    }
}

#[tokio::test]
async fn appends_of_other_processes_wake_it() {
    let database = Database::with(1).await;
    let (ours, theirs) = (connect(&database).await, connect(&database).await);
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    let _relay = relay(&ours, &bus, uuid());
    for _ in 0..3 {
        fill(&theirs, tenant(), 2).await;
        full(&ours, &bus).await;
    }
}

#[tokio::test]
async fn a_restarted_database_is_survived() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    let _relay = relay(&log, &bus, uuid());
    fill(&log, tenant(), 3).await;
    full(&log, &bus).await;
    // As a restart looks like from here: every connection is cut.
    let mut admin = sqlx::PgConnection::connect(&database.url).await.unwrap();
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .execute(&mut admin)
        .await
        .unwrap();
    fill(&log, tenant(), 3).await;
    eventually("the log can be read again", || async { log.head(0).await.is_ok() }).await;
    full(&log, &bus).await;
}

#[tokio::test]
async fn an_unknown_partition_is_an_error() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let ended = outbox::relay::run(log, nats.bus().await, 5, uuid(), CancellationToken::new()).await;
    assert!(matches!(ended, Err(outbox::relay::RelayError::Log(LogError::Partition(5)))));
}
