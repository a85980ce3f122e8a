//! Appends through the store, against the limit of the same server in the same run.
//!
//! Limit: `pgbench` with as many clients and a bare prepared insert of as many equal rows into a table with no index. Ours:
//! the whole append (digest, chain, deduplication, expected version, dense position, group commit), each command a new
//! stream. Rounds alternate, and the ratio is of their medians. `./dev bench append` repeats it; `cargo bench --bench append
//! lone` only the loads that are so called.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark draws ids and looks at the clock")]

mod support;

use std::time::{Duration, Instant};

use domain::TenantId;
use outbox::{Log, Verdict};
use support::{ROUNDS, Stage, float, history, limit, median, percentile};
use uuid::Uuid;

const ROUND: Duration = Duration::from_secs(2);

/// Who appends what.
struct Load {
    name: &'static str,
    writers: usize,
    tenants: usize,
    events: usize,
}

const LOADS: [Load; 4] = [
    Load { name: "64 writers, 1,000 tenants, 1 event", writers: 64, tenants: 1_000, events: 1 },
    Load { name: "the same, 5 events a command", writers: 64, tenants: 1_000, events: 5 },
    Load { name: "the same, one hot tenant, 1 event", writers: 64, tenants: 1, events: 1 },
    Load { name: "a lone writer, 1 event", writers: 1, tenants: 1_000, events: 1 },
];

#[derive(Default)]
struct Figures {
    limits: Vec<f64>,
    rates: Vec<f64>,
    p99s: Vec<f64>,
}

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    limit::prepare_inserts(&stage.url).await;
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let loads: Vec<_> = LOADS.iter().filter(|load| load.name.contains(&wanted)).collect();
    let mut figures: Vec<_> = loads.iter().map(|_| Figures::default()).collect();
    // The first round warms everything up.
    for round in 0..=ROUNDS {
        for (load, figures) in loads.iter().zip(&mut figures) {
            let limit = limit::inserts_of(load.events, &stage.url, stage.folder.path(), load.writers, ROUND.as_secs());
            let (rate, p99) = appends(&log, load).await;
            if round > 0 {
                figures.limits.push(limit);
                figures.rates.push(rate);
                figures.p99s.push(p99);
            }
        }
    }
    println!("append, events/s through the store; medians of {ROUNDS} rounds");
    for (load, Figures { limits, rates, p99s }) in loads.iter().zip(figures) {
        let (limit, rate) = (median(limits), median(rates));
        println!(
            "  {:<36} {rate:>8.0}   p99 {:>5.1} ms   limit {limit:>8.0}   ratio {:.2}",
            load.name,
            median(p99s),
            rate / limit
        );
    }
    stage.strike().await;
}

/// Events a second, and the 99th percentile of an append's time in milliseconds.
async fn appends(log: &Log, load: &Load) -> (f64, f64) {
    let begun = Instant::now();
    let tenants: Vec<_> = (0..load.tenants).map(|_| TenantId::from_uuid(Uuid::now_v7())).collect();
    let tasks: Vec<_> = (0..load.writers)
        .map(|writer| {
            let (log, tenants) = (log.clone(), tenants.clone());
            let (writers, events) = (load.writers, load.events);
            tokio::spawn(async move {
                let mut times = Vec::new();
                for turn in (writer..).step_by(writers) {
                    let append = history::renames(tenants[turn % tenants.len()], events);
                    let started = Instant::now();
                    let verdict = log.append(append).await.unwrap();
                    times.push(started.elapsed().as_secs_f64() * 1_000.0);
                    assert!(matches!(verdict, Verdict::Stored(_)), "{verdict:?}");
                    if begun.elapsed() > ROUND {
                        break;
                    }
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let rate = float(times.len() * load.events) / begun.elapsed().as_secs_f64();
    (rate, percentile(times, 99))
}
