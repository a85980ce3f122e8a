//! Everything at once, on one partition and on several: whatever happens to the bus, each consumer gets each event once
//! and in order, and the stream is a copy of the log again.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::jetstream::{self, consumer::pull};
use domain::TenantId;
use futures::StreamExt as _;
use outbox::consumer::parking;
use outbox::{Bus, Log};
use schemas::subject::{self, header};
use tokio_util::sync::CancellationToken;

use crate::support::seen::{How, Seen};
use crate::support::{Database, Nats, connect, eventually, fill, first, tenant, uuid};

/// Two relays and two harnesses a partition.
fn run_all(log: &Log, bus: &Bus, seen: &Arc<Seen>, stop: &CancellationToken) {
    for partition in 0..log.partitions() {
        for _ in 0..2 {
            tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), partition, uuid(), stop.clone()));
            let (log, bus, seen) = (log.clone(), Some(bus.clone()), seen.clone());
            tokio::spawn(outbox::consumer::run(log, bus, seen, partition, stop.clone()));
        }
    }
}

/// The positions of every partition's messages, in the stream's order.
async fn streamed(bus: &Bus) -> BTreeMap<String, Vec<i64>> {
    let context = jetstream::new(bus.client().clone());
    let Ok(stream) = context.get_stream(subject::STREAM).await else { return BTreeMap::new() };
    let count = usize::try_from(stream.cached_info().state.messages).unwrap();
    let reader = stream.create_consumer(pull::OrderedConfig::default()).await.unwrap();
    let mut messages = reader.messages().await.unwrap().take(count);
    let mut positions = BTreeMap::<_, Vec<_>>::new();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let partition = message.subject.split('.').nth(1).unwrap().to_owned();
        let position = message.headers.as_ref().unwrap().get(header::POSITION).unwrap().as_str().parse().unwrap();
        positions.entry(partition).or_default().push(position);
    }
    positions
}

/// The positions of every partition of the log that has any.
async fn logged(log: &Log) -> BTreeMap<String, Vec<i64>> {
    let mut positions = BTreeMap::new();
    for partition in 0..log.partitions() {
        let head = log.head(partition).await.unwrap();
        if head > 0 {
            positions.insert(partition.to_string(), (1..=head).collect());
        }
    }
    positions
}

async fn applied(log: &Log, tenant: TenantId) -> Vec<i64> {
    sqlx::query_scalar("SELECT position FROM read.seen WHERE tenant = $1 ORDER BY nth")
        .bind(tenant.uuid())
        .fetch_all(log.worker_pool())
        .await
        .unwrap()
}

async fn all(log: &Log, tenant: TenantId) -> Vec<i64> {
    log.read_tenant(tenant, 0, 100_000).await.unwrap().iter().map(|event| event.position).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_on_one_partition() {
    storm(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_on_three_partitions() {
    storm(3).await;
}

async fn storm(partitions: i32) {
    let database = Database::with(partitions).await;
    Seen::table(&database).await;
    let log = connect(&database).await;
    let mut nats = Nats::start().await;
    let bus = nats.bus().await;
    let (seen, stop) = (Arc::<Seen>::default(), CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    run_all(&log, &bus, &seen, &stop);
    let tenants: Vec<_> = (0..12).map(|_| tenant()).collect();
    let poison = first(tenants[0], uuid(), 1);
    seen.refused.lock().unwrap().insert(poison.events[0].id.uuid(), How::Panic);
    let load = async |rounds| {
        for _ in 0..rounds {
            futures::future::join_all(tenants.iter().map(|tenant| fill(&log, *tenant, 5))).await;
        }
    };
    let context = jetstream::new(bus.client().clone());
    load(3).await;
    log.append(poison).await.unwrap();
    // The stream is deleted under load …
    for _ in 0..3 {
        tokio::join!(load(5), async {
            // It may be away still.
            let _gone = context.delete_stream(subject::STREAM).await;
        });
    }
    // … the bus is away for long, comes back, and comes back with nothing.
    nats.kill();
    load(5).await;
    for tenant in &tenants[1..] {
        let expected = all(&log, *tenant).await;
        eventually("the log does without the bus", || async { applied(&log, *tenant).await == expected }).await;
    }
    nats.resume().await;
    load(5).await;
    nats.kill();
    nats.wipe();
    nats.resume().await;
    load(5).await;

    eventually("the poison is found", || async { parking::parked(&log).await.unwrap().len() == 1 }).await;
    seen.refused.lock().unwrap().clear();
    tokio::join!(load(3), async { parking::retry(&log, &*seen, tenants[0]).await.unwrap() });
    for tenant in &tenants {
        let expected = all(&log, *tenant).await;
        eventually("everything is applied", || async { applied(&log, *tenant).await.len() >= expected.len() }).await;
        assert_eq!(applied(&log, *tenant).await, expected);
    }
    let expected = logged(&log).await;
    eventually("the stream is a copy of the log", || async { streamed(&bus).await == expected }).await;
}

/// A backlog on many partitions, which share a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_do_not_wait_for_each_other() {
    let database = Database::with(6).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    for _ in 0..10 {
        let tenants: Vec<_> = (0..30).map(|_| tenant()).collect();
        futures::future::join_all(tenants.iter().map(|tenant| fill(&log, *tenant, 30))).await;
    }
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    for partition in 0..6 {
        tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), partition, uuid(), stop.clone()));
    }
    let expected = logged(&log).await;
    assert_eq!(expected.len(), 6);
    eventually("the stream is a copy of the log", || async { streamed(&bus).await == expected }).await;
}
