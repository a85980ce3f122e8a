//! The queue against npm's graphile-worker and pg-boss on the same Postgres in the same run: jobs that are claimed and
//! finished a second, in batches of a hundred on four connections.
//!
//! Ours once with one lane, and once with 100 lanes that can run beside 10,000 lanes at their limit with 100,000 jobs that
//! cannot. All commit without waiting for the disk, so that the peers, who otherwise would, have no disadvantage by it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

mod support;

use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use sqlx::PgPool;
use support::{Stage, float, median};
use uuid::Uuid;

const JOBS: i32 = 20_000;
const ROUNDS: usize = 3;
const BATCH: usize = 100;
const CONNECTIONS: usize = 4;

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/queue");
    let npm = ["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", folder];
    assert!(Command::new("npm").args(npm).status().unwrap().success(), "npm cannot install the peers");
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    let pool = log.worker_pool();
    let admin = PgPool::connect(&stage.url).await.unwrap();
    sqlx::query("ALTER SYSTEM SET synchronous_commit = off").execute(&admin).await.unwrap();
    sqlx::query("SELECT pg_reload_conf()").execute(&admin).await.unwrap();
    admin.close().await;
    sqlx::query("SELECT work.set_limit(1000000)").execute(pool).await.unwrap();

    let (mut graphile, mut boss, mut one, mut many) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        fill(pool, 1).await;
        one.push(drain(pool, JOBS).await);
        let peers = Command::new("node").args([&format!("{folder}/peers.js"), &stage.url, &JOBS.to_string()]).output();
        let peers = peers.unwrap();
        assert!(peers.status.success(), "{}", String::from_utf8_lossy(&peers.stderr));
        let peers: Value = serde_json::from_slice(&peers.stdout).unwrap();
        graphile.push(peers["graphile"].as_f64().unwrap());
        boss.push(peers["boss"].as_f64().unwrap());
        fill(pool, 100).await;
        block(pool).await;
        many.push(drain(pool, JOBS).await);
        sqlx::query("SELECT work.clear()").execute(pool).await.unwrap();
    }
    let (graphile, boss, one, many) = (median(graphile), median(boss), median(one), median(many));
    let better = graphile.max(boss);
    println!("queue: claim and finish {JOBS} jobs; medians of {ROUNDS} rounds");
    println!("  graphile-worker                           {graphile:>9.0} jobs/s");
    println!("  pg-boss                                   {boss:>9.0} jobs/s");
    println!("  one lane                                  {one:>9.0} jobs/s  {:>5.2} x the better", one / better);
    println!("  beside 10,000 lanes, 100,000 blocked jobs {many:>9.0} jobs/s  {:>5.2} x the better", many / better);
    stage.strike().await;
}

/// Jobs that can run, in so many lanes.
async fn fill(pool: &PgPool, lanes: i32) {
    let tenants: Vec<Uuid> = (0..lanes).map(|_| Uuid::now_v7()).collect();
    jobs(pool, &tenants, JOBS / lanes, 1_000_000).await;
}

/// Ten jobs each in 10,000 lanes that have as many under way as they may.
async fn block(pool: &PgPool) {
    let tenants: Vec<Uuid> = (0..10_000).map(|_| Uuid::now_v7()).collect();
    jobs(pool, &tenants, 10, 1).await;
    let query = sqlx::query("UPDATE work.lanes SET running = 1 WHERE tenant = ANY ($1)").bind(tenants);
    query.execute(pool).await.unwrap();
}

async fn jobs(pool: &PgPool, tenants: &[Uuid], each: i32, limit: i32) {
    sqlx::query("INSERT INTO work.lanes (tenant, run_limit, ready) SELECT unnest($1::uuid[]), $2, $3")
        .bind(tenants)
        .bind(limit)
        .bind(each)
        .execute(pool)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO work.jobs (tenant, run, project, attempt, ready, correlation, causation)
         SELECT tenant, gen_random_uuid(), tenant, 1, true, tenant, tenant
         FROM unnest($1::uuid[]) tenant, generate_series(1, $2)",
    )
    .bind(tenants)
    .bind(each)
    .execute(pool)
    .await
    .unwrap();
}

/// Claims and finishes until nothing can be claimed; jobs a second.
async fn drain(pool: &PgPool, expected: i32) -> f64 {
    let started = Instant::now();
    let work = (0..CONNECTIONS).map(|_| tokio::spawn(work(pool.clone())));
    let done: usize = futures::future::join_all(work).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(done, usize::try_from(expected).unwrap());
    float(done) / started.elapsed().as_secs_f64()
}

async fn work(pool: PgPool) -> usize {
    let mut done = 0;
    loop {
        let environments: Vec<Uuid> = (0..BATCH).map(|_| Uuid::now_v7()).collect();
        let claimed: Vec<(Uuid, Uuid, Uuid)> =
            sqlx::query_as("SELECT tenant, run, environment FROM work.claim($1, $2, '1 minute')")
                .bind(Uuid::now_v7())
                .bind(environments)
                .fetch_all(&pool)
                .await
                .unwrap();
        if claimed.is_empty() {
            if sqlx::query_scalar("SELECT work.await_lane()").fetch_one(&pool).await.unwrap() {
                continue;
            }
            return done;
        }
        done += claimed.len();
        let (mut tenants, mut runs, mut environments) = (vec![], vec![], vec![]);
        for (tenant, run, environment) in claimed {
            tenants.push(tenant);
            runs.push(run);
            environments.push(environment);
        }
        let query = sqlx::query("SELECT work.finish($1, $2, $3)").bind(tenants).bind(runs).bind(environments);
        query.execute(&pool).await.unwrap();
    }
}
