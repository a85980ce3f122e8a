//! A consumer that writes down what it was given, so that an event applied twice is seen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use outbox::consumer::{ApplyError, Consumer, Touched};
use outbox::{Bus, Log};
use schemas::Recorded;
use sqlx::PgConnection;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{Database, eventually};

/// Writes every event's position into `read.seen`.
#[derive(Default)]
pub(crate) struct Seen {
    /// While set, nothing can be applied.
    pub(crate) broken: AtomicBool,
    /// How often it could not.
    pub(crate) failures: AtomicU32,
    /// Events that it will not take.
    pub(crate) refused: Mutex<HashMap<Uuid, How>>,
}

/// In which way a consumer does not take an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It cannot be read.
    Decode,
    /// The consumer says no.
    Refusal,
    /// The consumer panics.
    Panic,
    /// The database will not store what follows.
    Data,
    /// It violates a constraint.
    Constraint,
}

pub(crate) const NAME: &str = "seen";

#[async_trait]
impl Consumer for Seen {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        for event in page {
            sqlx::query("INSERT INTO read.seen (partition, position, id, tenant) VALUES ($1, $2, $3, $4)")
                .bind(event.partition)
                .bind(event.position)
                .bind(event.id.uuid())
                .bind(event.metadata.tenant.uuid())
                .execute(&mut *tx)
                .await?;
            let how = self.refused.lock().unwrap().get(&event.id.uuid()).copied();
            if let Some(how) = how {
                self.failures.fetch_add(1, Ordering::Relaxed);
                how.fail(tx).await?;
            }
        }
        // Only now, so that what was written has to be taken back.
        if self.broken.load(Ordering::Relaxed) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Err(ApplyError::Unavailable("broken".to_owned()));
        }
        Ok(Touched(page.iter().map(|event| event.stream).collect()))
    }

    async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM read.seen").execute(tx).await.map(drop)
    }
}

impl How {
    async fn fail(self, tx: &mut PgConnection) -> Result<(), ApplyError> {
        match self {
            Self::Decode => Err(domain::DecodeError::Unknown("Nonsense".to_owned()).into()),
            Self::Refusal => Err(ApplyError::Other("no".to_owned())),
            Self::Panic => panic!("out of its depth"),
            Self::Data => Ok(sqlx::query("SELECT 1 / 0").execute(tx).await.map(drop)?),
            Self::Constraint => Ok(sqlx::query("INSERT INTO log.skipped SELECT").execute(tx).await.map(drop)?),
        }
    }
}

impl Seen {
    /// Makes its table, which takes an event any number of times.
    pub(crate) async fn table(database: &Database) {
        let sql = "CREATE TABLE read.seen (nth bigserial, partition integer, position bigint, id uuid, tenant uuid)";
        sqlx::raw_sql(sql).execute(&mut database.in_role("agentworks_owner").await).await.unwrap();
    }

    /// Runs the harness on partition 0 until the guard is dropped.
    pub(crate) fn run(self: &Arc<Self>, log: &Log, bus: Option<Bus>) -> DropGuard {
        let stop = CancellationToken::new();
        tokio::spawn(outbox::consumer::run(log.clone(), bus, self.clone(), 0, stop.clone()));
        stop.drop_guard()
    }

    /// What was written down, in the order of writing.
    pub(crate) async fn positions(log: &Log) -> Vec<i64> {
        sqlx::query_scalar("SELECT position FROM read.seen ORDER BY nth").fetch_all(log.worker_pool()).await.unwrap()
    }

    /// Waits until everything was applied, then checks: each event once and in order.
    pub(crate) async fn all(log: &Log) {
        let head = log.head(0).await.unwrap();
        eventually("everything is applied", || async {
            Self::positions(log).await.len() >= usize::try_from(head).unwrap()
        })
        .await;
        assert_eq!(Self::positions(log).await, (1..=head).collect::<Vec<_>>());
        let mut connection = log.worker_pool().acquire().await.unwrap();
        assert_eq!(outbox::consumer::position(&mut connection, NAME, 0).await.unwrap(), head);
    }
}
