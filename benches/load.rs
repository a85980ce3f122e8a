//! Loading an aggregate, against reading its rows as they are in the same run.
//!
//! Limit: the event types and payloads of one stream's 1,000 events, in order, by a bare query with the table's owner's
//! rights, undecoded. Ours: the load (tenant set, row-level security, decoded and folded), without a snapshot, and from one.
//! Rounds alternate; the ratios are of medians. Both run as tasks on the runtime's threads, which is where a server loads:
//! on the main thread each way there and back would pay for one more wake-up.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark draws ids and looks at the clock")]

mod support;

use std::time::{Duration, Instant};

use domain::card::Card;
use domain::{ProjectId, TenantId};
use outbox::{Log, Verdict};
use sqlx::{Connection as _, PgConnection, Row as _};
use support::{Stage, history, median};
use uuid::Uuid;

const EVENTS: i64 = 1_000;
const ROUNDS: usize = 200;

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    // Others stand around it.
    history::fill(&log, 20_000).await;
    let (tenant, card) = (TenantId::from_uuid(Uuid::now_v7()), Uuid::now_v7());
    write(&log, tenant, card).await;
    history::fill(&log, 20_000).await;
    let mut owner = PgConnection::connect(&stage.url).await.unwrap();
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut owner).await.unwrap();

    let (mut raw, mut all, mut cut) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let took;
        (took, owner) = tokio::spawn(rows(owner, card)).await.unwrap();
        raw.push(took);
        sqlx::raw_sql("DELETE FROM log.snapshots").execute(&mut owner).await.unwrap();
        all.push(tokio::spawn(load(log.clone(), tenant, card)).await.unwrap());
        // In the background.
        while sqlx::query("SELECT FROM log.snapshots").fetch_optional(&mut owner).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        cut.push(tokio::spawn(load(log.clone(), tenant, card)).await.unwrap());
    }
    let (raw, all, cut) = (median(raw), median(all), median(cut));
    println!("load: a stream of {EVENTS} events; medians of {ROUNDS} rounds");
    println!("  limit (the rows, undecoded)  {raw:>7.2} ms");
    println!("  load                         {all:>7.2} ms   {:.2} x limit", all / raw);
    println!("  load from a snapshot         {cut:>7.2} ms   {:.2} x limit", cut / raw);
    stage.strike().await;
}

/// Appends the card's events.
async fn write(log: &Log, tenant: TenantId, card: Uuid) {
    let project = ProjectId::from_uuid(Uuid::now_v7());
    let mut version = 0;
    while version < EVENTS {
        let mut events = history::card(project, 0);
        if version > 0 {
            events[0] = events[1].clone();
        }
        let loaded = log.load::<Card>(tenant, card).await.unwrap();
        let mut append = history::append(tenant, "card", card, &events);
        append.expected_version = loaded.version;
        append.expected_chain = loaded.chain;
        let Verdict::Stored(appended) = log.append(append).await.unwrap() else { panic!("not stored") };
        version = appended.version;
    }
}

async fn rows(mut owner: PgConnection, card: Uuid) -> (f64, PgConnection) {
    let started = Instant::now();
    let rows = sqlx::query(
        "SELECT event_type, event_version, payload FROM log.events WHERE partition = 0 AND stream = $1 ORDER BY version",
    )
    .bind(card)
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let bytes: usize = rows.iter().map(|row| row.try_get_raw(2).unwrap().as_bytes().unwrap().len()).sum();
    assert!(bytes > 0 && i64::try_from(rows.len()).unwrap() == EVENTS);
    (millis(started.elapsed()), owner)
}

async fn load(log: Log, tenant: TenantId, card: Uuid) -> f64 {
    let started = Instant::now();
    let loaded = log.load::<Card>(tenant, card).await.unwrap();
    assert_eq!(loaded.version, EVENTS);
    millis(started.elapsed())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
