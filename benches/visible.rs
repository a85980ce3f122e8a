//! From the commit of a command to the moment its rows can be read, at 500 commands a second: all four projections and
//! the relay in this process, over a real Postgres and a real NATS.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "the room for ids and the clock of a benchmark")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::TenantId;
use domain::tenant::{Tenant, TenantEvent, TenantRenamed};
use domain::value::Name;
use outbox::consumer::{ApplyError, Consumer, Touched};
use outbox::{Log, Verdict};
use projections::{MODELS, Model};
use schemas::Recorded;
use sqlx::PgConnection;
use support::{Stage, history, median, percentile};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const A_SECOND: u32 = 500;
const SECONDS: u32 = 10;
/// What is left out: the first second.
const WARM: u32 = A_SECOND;
const TENANTS: usize = 100;

/// A model, and when each position was committed by it.
struct Timed {
    model: Model,
    committed: Arc<Mutex<HashMap<i64, Instant>>>,
}

#[async_trait]
impl Consumer for Timed {
    fn name(&self) -> &'static str {
        self.model.name()
    }

    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        self.model.apply(tx, page).await
    }

    async fn committed(&self, page: &[Recorded]) {
        let now = Instant::now();
        self.committed.lock().unwrap().extend(page.iter().map(|event| (event.position, now)));
    }

    async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.model.reset(tx).await
    }
}

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    let (nats, bus) = stage.bus().await;
    let stop = CancellationToken::new();
    tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), 0, Uuid::now_v7(), stop.clone()));
    let seen: Vec<_> = MODELS
        .iter()
        .map(|model| {
            let committed = Arc::new(Mutex::new(HashMap::new()));
            let timed = Arc::new(Timed { model: *model, committed: committed.clone() });
            tokio::spawn(outbox::consumer::run(log.clone(), Some(bus.clone()), timed, 0, stop.clone()));
            (model.name, committed)
        })
        .collect();
    let appended = appends(&log).await;
    let last = *appended.keys().max().unwrap();
    for (_, committed) in &seen {
        while !committed.lock().unwrap().contains_key(&last) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    println!("commit of a command to its rows, {A_SECOND} commands/s, milliseconds:");
    for (name, committed) in &seen {
        let committed = committed.lock().unwrap();
        let behind =
            |position: &i64, at: &Instant| committed[position].saturating_duration_since(*at).as_secs_f64() * 1_000.0;
        let times: Vec<f64> = appended.iter().map(|(position, at)| behind(position, at)).collect();
        println!("  {name:<14} median {:>6.2}, p99 {:>6.2}", median(times.clone()), percentile(times, 99));
    }
    stop.cancel();
    nats.stop().await.unwrap();
    stage.strike().await;
}

/// Renames tenants at a steady pace; the time at which each position was known to be committed.
async fn appends(log: &Log) -> HashMap<i64, Instant> {
    let tenants: Vec<TenantId> = (0..TENANTS).map(|_| TenantId::from_uuid(Uuid::now_v7())).collect();
    for tenant in &tenants {
        let created = TenantEvent::Created(domain::tenant::TenantCreated { name: Name::new("Acme").unwrap() });
        log.append(history::append(*tenant, "tenant", tenant.uuid(), &[created])).await.unwrap();
    }
    let mut pace = tokio::time::interval(Duration::from_secs(1) / A_SECOND);
    let mut under_way = Vec::new();
    for turn in 0..A_SECOND * SECONDS {
        pace.tick().await;
        let (log, tenant) = (log.clone(), tenants[usize::try_from(turn).unwrap() % TENANTS]);
        under_way.push(tokio::spawn(async move {
            let renamed = TenantEvent::Renamed(TenantRenamed { name: Name::new(&format!("Acme {turn}")).unwrap() });
            let loaded = log.load::<Tenant>(tenant, tenant.uuid()).await.unwrap();
            let mut append = history::append(tenant, "tenant", tenant.uuid(), &[renamed]);
            (append.expected_version, append.expected_chain) = (loaded.version, loaded.chain);
            match log.append(append).await.unwrap() {
                Verdict::Stored(appended) if turn >= WARM => Some((appended.position, Instant::now())),
                _ => None,
            }
        }));
    }
    let mut times = HashMap::new();
    for append in under_way {
        times.extend(append.await.unwrap());
    }
    times
}
