//! Appends through the store, against the limit of the same server in the same run.
//!
//! Limit: `pgbench` with a bare prepared single-row insert of an equal row into a table with no index. Ours: the whole
//! append (digest, chain, deduplication, expected version, group commit), one event a command, 64 writers, 1,000 tenants.
//! Rounds alternate, and the ratio is of their medians. `./dev bench append` repeats it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark draws ids and looks at the clock")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::TenantId;
use outbox::{Log, Verdict};
use support::{ROUNDS, Stage, float, history, limit, median, percentile};
use uuid::Uuid;

const WRITERS: usize = 64;
const TENANTS: usize = 1_000;
const ROUND: Duration = Duration::from_secs(4);

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    limit::prepare_inserts(&stage.url).await;
    let tenants: Arc<Vec<TenantId>> = Arc::new((0..TENANTS).map(|_| TenantId::from_uuid(Uuid::now_v7())).collect());
    let (mut ours, mut limits, mut lone, mut p99s) = (vec![], vec![], vec![], vec![]);
    for round in 0..=ROUNDS {
        let limit = limit::inserts(&stage.url, stage.folder.path(), WRITERS, ROUND.as_secs());
        let (rate, p99) = appends(&log, &tenants, WRITERS).await;
        let (alone, _) = appends(&log, &tenants, 1).await;
        // The first round warms both up.
        if round > 0 {
            limits.push(limit);
            ours.push(rate);
            lone.push(alone);
            p99s.push(p99);
        }
    }
    let (limit, rate) = (median(limits), median(ours));
    println!("append: {WRITERS} writers, {TENANTS} tenants, 1 event a command; medians of {ROUNDS} rounds");
    println!("  limit (pgbench, bare prepared insert, {WRITERS} clients)  {limit:>9.0} rows/s");
    println!("  through the store                                  {rate:>9.0} events/s   p99 {:.1} ms", median(p99s));
    println!("  ratio                                              {:>9.2} x limit", rate / limit);
    println!("  a lone writer                                      {:>9.0} events/s", median(lone));
    stage.strike().await;
}

/// Events a second, and the 99th percentile of an append's time in milliseconds.
async fn appends(log: &Log, tenants: &Arc<Vec<TenantId>>, writers: usize) -> (f64, f64) {
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (log, tenants, done) = (log.clone(), Arc::clone(tenants), Arc::clone(&done));
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut turn = writer;
                while begun.elapsed() < ROUND {
                    let tenant = tenants[turn % tenants.len()];
                    turn += writers;
                    let append = history::renames(tenant, 1);
                    let started = Instant::now();
                    let verdict = log.append(append).await.unwrap();
                    times.push(started.elapsed().as_secs_f64() * 1_000.0);
                    assert!(matches!(verdict, Verdict::Stored(_)), "{verdict:?}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let rate = float(done.load(Ordering::Relaxed)) / begun.elapsed().as_secs_f64();
    (rate, percentile(times, 99))
}
