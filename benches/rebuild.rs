//! The board built again from the log, beside the one that serves: events a second, as a share of `COPY OUT` of the same
//! events in the same run. The whole counts: reading, folding, writing, indexes, proof, switch.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "the room for ids and the clock of a benchmark")]

mod support;

use std::time::{Duration, Instant};

use projections::board::MODEL;
use projections::generations::{self, Rebuilder, Step};
use support::{ROUNDS, Stage, float, history, limit, median, peak_mib};

const EVENTS: usize = 1_000_000;

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    let events = history::fill(&log, EVENTS).await;
    let mut owner = outbox::migrate::owner(&stage.url).await.unwrap();
    let (mut whole, mut applied, mut copied) = (vec![], vec![], vec![]);
    // The first generation has nothing to be compared with: it does not count.
    for round in 0..=ROUNDS {
        let copy = limit::copy_out(&stage.url, events).await;
        let (started, mut at) = (Instant::now(), Duration::ZERO);
        let mut told = |step| {
            if step == Step::Index {
                at = started.elapsed();
            }
        };
        let built =
            Rebuilder::new(&log, &stage.url, &MODEL, &mut told).await.unwrap().rebuild(false, false).await.unwrap();
        let took = started.elapsed();
        assert_eq!((built.proven, built.difference), (round > 0, None));
        generations::drop_retired(&mut owner, &MODEL, Duration::ZERO).await.unwrap();
        if round > 0 {
            whole.push(limit::rate(events, took));
            applied.push(limit::rate(events, at));
            copied.push(copy);
        }
    }
    let ratios = whole.iter().zip(&copied).map(|(rate, copy)| rate / copy).collect();
    println!("rebuild of the board from {events} events, medians of {ROUNDS} rounds:");
    println!("  COPY OUT of log.events        {:>9.0} events/s", median(copied));
    println!("  rebuilt, proven and switched  {:>9.0} events/s, {:.2} × COPY OUT", median(whole), median(ratios));
    println!("  of that, applied              {:>9.0} events/s", median(applied));
    println!("  most memory of this process   {:>9.0} MiB", float(peak_mib()));
    stage.strike().await;
}
