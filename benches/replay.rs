//! A fold of the log in order, in memory, against `COPY OUT` of the same rows in the same run, and the memory it takes.

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
use std::time::Instant;

use outbox::Log;
use support::{Stage, history, limit, median, peak_mib, resident_mib};
use uuid::Uuid;

const ROUNDS: usize = 3;

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    // A number of events as the argument makes it shorter.
    let wanted = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_000_000);
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    let events = history::fill(&log, wanted).await;
    let before = resident_mib();
    let (mut ours, mut limits) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        limits.push(limit::copy_out(&stage.url, events).await);
        ours.push(fold(&log, events).await);
    }
    let (limit, rate) = (median(limits), median(ours));
    println!("replay: a fold of {events} events in order, in memory; medians of {ROUNDS} rounds");
    println!("  limit (COPY OUT of the rows)              {limit:>9.0} rows/s");
    println!("  Log::replay                               {rate:>9.0} events/s");
    println!("  ratio                                     {:>9.2} x limit", rate / limit);
    println!("  memory before, at most                    {before:>9} MiB, {} MiB", peak_mib());
    stage.strike().await;
}

/// Events a second: how many each stream has, and that each comes in its order.
async fn fold(log: &Log, events: usize) -> f64 {
    let started = Instant::now();
    let mut replay = log.replay(0, 0);
    let (mut versions, mut count): (HashMap<Uuid, i64>, usize) = (HashMap::new(), 0);
    loop {
        let page = replay.page().await.unwrap();
        if page.is_empty() {
            break;
        }
        count += page.len();
        for event in page {
            let version = versions.entry(event.stream).or_default();
            assert_eq!(event.version, *version + 1);
            *version = event.version;
        }
    }
    assert_eq!(count, events);
    limit::rate(events, started.elapsed())
}
