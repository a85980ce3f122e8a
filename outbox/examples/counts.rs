//! A durable consumer on the harness: counts the events of each type in a table of its own.
//!
//! ```sh
//! cargo run -p outbox --example counts -- postgres://… nats://…
//! ```
//!
//! It may be killed at any moment and run twice: each event is counted once, since count and position are written in one
//! transaction. Without a NATS it asks the log four times a second.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use outbox::consumer::{self, ApplyError, Consumer, Touched};
use outbox::{Bus, Log, LogSettings};
use schemas::Recorded;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

/// The size that the stream may have, should this make it.
const STREAM_BYTES: i64 = 1 << 30;

struct Counts;

#[async_trait]
impl Consumer for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        let mut counts = BTreeMap::<&str, i64>::new();
        for event in page {
            *counts.entry(&event.event_type).or_default() += 1;
        }
        let (types, counts): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
        sqlx::query(
            "INSERT INTO read.counts AS c SELECT * FROM unnest($1::text[], $2::bigint[]) \
             ON CONFLICT (event_type) DO UPDATE SET count = c.count + excluded.count",
        )
        .bind(types)
        .bind(counts)
        .execute(tx)
        .await?;
        Ok(Touched::default())
    }

    async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM read.counts").execute(tx).await.map(drop)
    }
}

/// Counts until `stop`. Another that does the same is harmless.
///
/// # Errors
/// When a server cannot be reached, or the user of the database is not its owner.
pub async fn count(database: &str, nats: Option<&str>, stop: CancellationToken) -> Result<Log, Box<dyn Error>> {
    // As the owner of the database: the consumer itself may only write rows.
    let mut owner = outbox::migrate::owner(database).await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS read.counts (event_type text PRIMARY KEY, count bigint NOT NULL)")
        .execute(&mut owner)
        .await?;
    let settings = LogSettings { url: database.to_owned(), max_connections: 4, notify: false };
    let log = Log::connect(&settings).await?;
    let bus = match nats {
        Some(url) => Some(Bus::connect(url, STREAM_BYTES).await?),
        None => None,
    };
    for partition in 0..log.partitions() {
        tokio::spawn(consumer::run(log.clone(), bus.clone(), Arc::new(Counts), partition, stop.clone()));
    }
    Ok(log)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let database = args.next().ok_or("name the database: postgres://…")?;
    let stop = CancellationToken::new();
    let _log = count(&database, args.next().as_deref(), stop.clone()).await?;
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    Ok(())
}
