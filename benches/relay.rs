//! The relay against raw `JetStream` publishing on the same server, and the way from a commit to a consumer.
//!
//! Limit: `JetStream` publishes, pipelined, of messages of the same size with a message id. From a backlog: the relay reads
//! the log, makes `CloudEvents` of it and publishes them in order. Rounds alternate, and the ratio is of their medians.
//! Live: appends at a fixed rate, each timed from the answer of its append to a subscriber of the bus.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use domain::TenantId;
use futures::StreamExt as _;
use outbox::{Bus, Log, Verdict};
use schemas::subject::{self, header};
use support::{Stage, float, history, limit, median, peak_mib, percentile};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const BACKLOG: usize = 100_000;
const ROUNDS: usize = 3;
const RATE: usize = 2_000;
const LIVE: Duration = Duration::from_secs(5);

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    let (nats, bus) = stage.bus().await;
    let events = history::fill(&log, BACKLOG).await;
    let (mut ours, mut limits) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        limits.push(limit::publishes(&nats.url(), events, 4_096).await);
        ours.push(backlog(&log, &bus, events).await);
    }
    let (limit, rate) = (median(limits), median(ours));
    println!("relay: a backlog of {events} events; medians of {ROUNDS} rounds");
    println!("  limit (raw pipelined JetStream publish)   {limit:>9.0} messages/s");
    println!("  the relay                                 {rate:>9.0} events/s");
    println!("  ratio                                     {:>9.2} x limit", rate / limit);
    println!("  memory of the process, at most            {:>9} MiB", peak_mib());
    let times = live(&log, &bus).await;
    println!("commit -> consumer: {RATE} events/s");
    for percent in [50, 99] {
        println!("  p{percent}                                       {:>9.2} ms", percentile(times.clone(), percent));
    }
    drop(bus);
    nats.stop().await.unwrap();
    stage.strike().await;
}

/// Events a second from an empty stream to a full one.
async fn backlog(log: &Log, bus: &Bus, events: usize) -> f64 {
    let context = jetstream::new(bus.client().clone());
    // One that is not there is made by the relay.
    let _gone = context.delete_stream(subject::STREAM).await;
    let stop = CancellationToken::new();
    let started = Instant::now();
    tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), 0, Uuid::now_v7(), stop.clone()));
    let _stop = stop.drop_guard();
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if let Ok(stream) = context.get_stream(subject::STREAM).await
            && stream.cached_info().state.messages >= u64::try_from(events).unwrap()
        {
            return limit::rate(events, started.elapsed());
        }
    }
}

/// Milliseconds from the answer of an append to the message at a subscriber; a message may be quicker, which counts as 0.
async fn live(log: &Log, bus: &Bus) -> Vec<f64> {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), 0, Uuid::now_v7(), stop));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut messages = bus.client().subscribe(subject::EVENTS).await.unwrap();
    let arrived = Arc::new(Mutex::new(HashMap::new()));
    let arrivals = arrived.clone();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let position = message.headers.unwrap().get(header::POSITION).unwrap().as_str().parse::<i64>().unwrap();
            arrivals.lock().unwrap().insert(position, Instant::now());
        }
    });
    let tenants: Vec<_> = (0..100).map(|_| TenantId::from_uuid(Uuid::now_v7())).collect();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let (mut appends, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < LIVE {
        ticks.tick().await;
        let due = usize::try_from(begun.elapsed().as_micros()).unwrap() * RATE / 1_000_000;
        while appends.len() < due {
            let (log, append) = (log.clone(), history::renames(tenants[appends.len() % tenants.len()], 1));
            appends.push(tokio::spawn(async move { (log.append(append).await.unwrap(), Instant::now()) }));
        }
    }
    println!("  appended {:.0} a second", float(appends.len()) / begun.elapsed().as_secs_f64());
    let mut committed = Vec::new();
    for append in appends {
        let (Verdict::Stored(appended), at) = append.await.unwrap() else { panic!("not stored") };
        committed.push((appended.position, at));
    }
    while arrived.lock().unwrap().len() < committed.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let arrived = arrived.lock().unwrap();
    let took =
        |(position, at): &(i64, Instant)| arrived[position].saturating_duration_since(*at).as_secs_f64() * 1_000.0;
    committed.iter().map(took).collect()
}
