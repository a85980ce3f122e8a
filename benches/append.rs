//! Appends through the store, against the limit of the same server in the same run.
//!
//! Limit: `pgbench` with a bare prepared single-row insert of an equal row into a table with no index. Ours: the whole
//! append (digest, chain, deduplication, expected version, group commit), one event a command, 64 writers, 1,000 tenants.
//! Rounds alternate, and the ratio is of their medians. `./dev bench append` repeats it.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agentworks::embedded::Postgres;
use domain::id::{CommandId, EventId};
use domain::tenant::{TenantEvent, TenantRenamed};
use domain::value::Name;
use domain::{Actor, TenantId};
use outbox::{Append, Log, LogSettings, NewEvent, Verdict};
use schemas::Metadata;
use time::OffsetDateTime;
use uuid::Uuid;

const WRITERS: usize = 64;
const TENANTS: usize = 1_000;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(folder.path()).await.unwrap();
    let url = postgres.url("postgres", "postgres");
    outbox::migrate::run(&url, 1).await.unwrap();
    let settings = LogSettings { url: url.clone(), max_connections: 8, notify: false };
    let log = Log::connect(&settings).await.unwrap();
    prepare_limit(&url).await;
    let tenants: Arc<Vec<TenantId>> = Arc::new((0..TENANTS).map(|_| TenantId::from_uuid(Uuid::now_v7())).collect());
    let (mut ours, mut limits, mut lone, mut p99s) = (vec![], vec![], vec![], vec![]);
    for round in 0..=ROUNDS {
        let limit = pgbench(&url, folder.path());
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
    postgres.stop().await.unwrap();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
                    let append = one_event(tenant);
                    let started = Instant::now();
                    let verdict = log.append(append).await.unwrap();
                    times.push(started.elapsed());
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
    let rate = f64::from(u32::try_from(done.load(Ordering::Relaxed)).unwrap()) / begun.elapsed().as_secs_f64();
    times.sort();
    (rate, times[times.len() * 99 / 100].as_secs_f64() * 1_000.0)
}

/// A first event of a new stream, of about 300 bytes.
fn one_event(tenant: TenantId) -> Append {
    let event = TenantEvent::Renamed(TenantRenamed { name: Name::new(&"x".repeat(190)).unwrap() });
    let mut fingerprint = [0; 32];
    fingerprint[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    Append {
        metadata: Metadata {
            tenant,
            actor: Actor::Operator("bench".into()),
            command: CommandId::from_uuid(Uuid::now_v7()),
            correlation: Uuid::now_v7(),
            causation: None,
            traceparent: None,
            occurred_at: OffsetDateTime::now_utc(),
        },
        fingerprint,
        aggregate_type: "tenant",
        stream: Uuid::now_v7(),
        expected_version: 0,
        expected_chain: [0; 32],
        events: vec![NewEvent::of(EventId::from_uuid(Uuid::now_v7()), &event).unwrap()],
    }
}

/// A table like `log.events`, with no index.
async fn prepare_limit(url: &str) {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let table = "CREATE TABLE public.bare (partition int, position bigint, tenant uuid, id uuid, aggregate text, stream uuid, \
                 version bigint, event_type text, event_version integer, actor text, command uuid, correlation uuid, \
                 causation uuid, traceparent text, occurred_at timestamptz, recorded_at timestamptz, payload json, meta json, \
                 digest bytea, chain bytea)";
    sqlx::query(table).execute(&mut connection).await.unwrap();
}

/// Bare inserts a second. No colon may stand before a letter: pgbench would take it for a variable.
fn pgbench(url: &str, folder: &std::path::Path) -> f64 {
    let script = folder.join("insert.sql");
    let payload = format!("{{\"name\":\"{}\"}}", "x".repeat(190));
    let hash = "\\x".to_owned() + &"ab".repeat(32);
    let id = "0190a5d0-ac96-774b-bcce-b302099a8057";
    let insert = format!(
        "INSERT INTO public.bare VALUES (0, 1, '{id}', '{id}', 'tenant', '{id}', 1, 'TenantRenamed', 1, 'operator-bench', \
         '{id}', '{id}', NULL, NULL, now(), now(), '{payload}', '{{}}', '{hash}', '{hash}');\n"
    );
    std::fs::write(&script, insert).unwrap();
    let programs = Command::new("sh")
        .args(["-c", "command -v pgbench || ls /usr/lib/postgresql/*/bin/pgbench | tail -n 1"])
        .output()
        .unwrap();
    let program = String::from_utf8(programs.stdout).unwrap();
    let output = Command::new(program.trim())
        .args(["-n", "-M", "prepared", "-c", &WRITERS.to_string(), "-j", "2", "-T", &ROUND.as_secs().to_string(), "-f"])
        .arg(&script)
        .arg(url)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("tps")).unwrap_or_else(|| panic!("{text}{output:?}"));
    line.split_whitespace().nth(2).unwrap().parse().unwrap()
}
