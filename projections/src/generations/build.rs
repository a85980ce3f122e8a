//! Brings a generation that does not serve to a position, from the log.
//!
//! Rows stay in memory from page to page and are written, with the position that they belong to, when enough has
//! gathered: a row that a thousand events changed is written once. As long as everything fits in memory nothing has to
//! be fetched either. The next pages are read and decoded meanwhile, and what was last handed out is written.
//!
//! An event that cannot be applied parks its tenant, as in the harness: for the generation's own consumer, so that it
//! becomes the serving one's with the switch. What was decided to be skipped for the model is passed over.

use std::collections::{BTreeSet, HashSet};

use domain::DecodeError;
use outbox::{Log, LogError, consumer};
use schemas::Recorded;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::rebuild::RebuildError;
use super::{Generation, enter};
use crate::Model;
use crate::fact::{Fact, What};
use crate::model::Fold;

/// Pages that wait for their decoding, and that wait to be taken. (The log reads one more ahead.)
const AHEAD: usize = 1;
/// Events whose effects may wait to be written.
const UNSAVED: usize = 40_000;
/// Bytes of payload whose effects may wait to be written: what is in memory is at most about twice as much.
const UNSAVED_BYTES: usize = 16 << 20;
/// Rows that may be in memory when nothing waits.
const HELD: usize = 40_000;

/// Builds one generation. The only one that does: who finds another's position in its way stops.
pub(super) struct Builder<'a> {
    log: &'a Log,
    model: &'a Model,
    schema: String,
    fold: Box<dyn Fold>,
    /// What is written, by partition.
    positions: Vec<i64>,
    /// Tenants whose events are left out.
    parked: HashSet<Uuid>,
    /// Events that are passed over.
    skipped: HashSet<Uuid>,
    /// What is to be noted of tenants parked since it was last written.
    parking: Vec<Parking>,
    saving: Option<Saving>,
}

/// What is being written, and where the generation is then.
struct Saving {
    partition: i32,
    position: i64,
    written: JoinHandle<Result<(), RebuildError>>,
}

/// A tenant that begins to be left out.
struct Parking {
    tenant: Uuid,
    position: i64,
    event: Uuid,
    error: String,
}

impl<'a> Builder<'a> {
    /// Goes on where the generation stands.
    pub(super) async fn open(log: &'a Log, model: &'a Model, generation: &Generation) -> Result<Self, RebuildError> {
        let mut connection = log.worker_pool().acquire().await?;
        let mut positions = Vec::new();
        for partition in 0..log.partitions() {
            positions.push(consumer::register(&mut connection, &generation.schema, partition).await?);
        }
        // Rows and positions are written together: at the beginning of the log there are none.
        let nothing = positions.iter().all(|position| *position == 0);
        let parked: Vec<Uuid> = sqlx::query_scalar("SELECT tenant FROM log.parked WHERE consumer = $1")
            .bind(&generation.schema)
            .fetch_all(&mut *connection)
            .await?;
        let skipped: Vec<Uuid> = sqlx::query_scalar("SELECT event FROM log.skipped WHERE consumer = $1")
            .bind(model.consumer)
            .fetch_all(&mut *connection)
            .await?;
        Ok(Self {
            log,
            model,
            schema: generation.schema.clone(),
            fold: (model.fold)(nothing),
            positions,
            parked: parked.into_iter().collect(),
            skipped: skipped.into_iter().collect(),
            parking: Vec::new(),
            saving: None,
        })
    }

    /// Where it is, by partition.
    pub(super) fn positions(&self) -> &[i64] {
        &self.positions
    }

    /// Applies everything up to `targets`, by partition; tells the sum of its positions from time to time.
    pub(super) async fn run_to(
        &mut self,
        targets: &[i64],
        told: &mut (dyn FnMut(i64) + Send),
    ) -> Result<(), RebuildError> {
        for (partition, target) in (0..).zip(targets.iter().copied()) {
            self.partition_to(partition, target, told).await?;
        }
        Ok(())
    }

    async fn partition_to(
        &mut self,
        partition: i32,
        target: i64,
        told: &mut (dyn FnMut(i64) + Send),
    ) -> Result<(), RebuildError> {
        let saved = self.position(partition);
        let before: i64 = self.positions.iter().sum();
        if saved >= target {
            return Ok(());
        }
        let mut pages = read_ahead(self.log.clone(), self.model.aggregates, partition, saved, target);
        let (mut taken, mut events, mut bytes) = (saved, 0, 0);
        while let Some(page) = pages.recv().await {
            let Page { events: page, said } = page?;
            self.take(&page, said).await?;
            taken = page.last().map_or(taken, |last| last.position);
            events += page.len();
            bytes += page.iter().map(|event| event.payload.get().len()).sum::<usize>();
            if events >= UNSAVED || bytes >= UNSAVED_BYTES {
                self.save(partition, taken).await?;
                (events, bytes) = (0, 0);
            }
            told(before - saved + taken);
        }
        self.save(partition, taken).await?;
        self.settle().await
    }

    fn position(&self, partition: i32) -> i64 {
        usize::try_from(partition).ok().and_then(|index| self.positions.get(index)).copied().unwrap_or(0)
    }

    /// Takes in a page, in memory.
    async fn take(&mut self, page: &[Recorded], said: Vec<Result<What, DecodeError>>) -> Result<(), RebuildError> {
        let mut facts = Vec::with_capacity(page.len());
        for (event, what) in page.iter().zip(said) {
            if self.parked.contains(&event.metadata.tenant.uuid()) || self.skipped.contains(&event.id.uuid()) {
                continue;
            }
            match what {
                Ok(What::Other) => {}
                Ok(what) => facts.push(Fact { what, event }),
                Err(error) => self.park(event, &error),
            }
        }
        let mut tx = self.log.worker_pool().begin().await?;
        enter(&mut tx, &self.schema).await?;
        self.fold.load(&mut tx, &facts).await?;
        tx.rollback().await?;
        let mut nobody_asks = BTreeSet::new();
        for fact in &facts {
            if self.parked.contains(&fact.tenant()) && self.is_behind(fact.event) {
                continue;
            }
            if let Err(error) = self.fold.take(fact, &mut nobody_asks) {
                self.park(fact.event, &error);
            }
        }
        Ok(())
    }

    fn park(&mut self, event: &Recorded, error: &DecodeError) {
        let (tenant, id, position) = (event.metadata.tenant, event.id, event.position);
        tracing::error!(model = self.model.name, %tenant, event = %id, position, %error, "an event cannot be applied: its tenant is parked");
        self.parked.insert(tenant.uuid());
        let error = error.to_string();
        self.parking.push(Parking { tenant: tenant.uuid(), position, event: id.uuid(), error });
    }

    /// Whether an event stands behind the one that its tenant was just parked by.
    fn is_behind(&self, event: &Recorded) -> bool {
        let tenant = event.metadata.tenant.uuid();
        self.parking.iter().any(|parking| parking.tenant == tenant && parking.position <= event.position)
    }

    /// Lets what has gathered be written, with the position that it belongs to, while it goes on.
    async fn save(&mut self, partition: i32, position: i64) -> Result<(), RebuildError> {
        self.settle().await?;
        let saved = self.position(partition);
        if position == saved {
            return Ok(());
        }
        let (log, schema) = (self.log.clone(), self.schema.clone());
        let (writes, parking) = (self.fold.drain()?, std::mem::take(&mut self.parking));
        let written = tokio::spawn(async move {
            let mut tx = log.worker_pool().begin_with("BEGIN; SET LOCAL synchronous_commit = off").await?;
            if consumer::advance(&mut tx, &schema, partition, saved, position).await?.is_none() {
                return Err(RebuildError::Busy(schema));
            }
            enter(&mut tx, &schema).await?;
            for write in writes {
                write.run(&mut tx).await?;
            }
            note(&mut tx, &schema, partition, &parking).await?;
            Ok(tx.commit().await?)
        });
        self.saving = Some(Saving { partition, position, written });
        if self.fold.len() > HELD {
            // What is fetched from now on must be there.
            self.settle().await?;
            self.fold = (self.model.fold)(false);
        }
        Ok(())
    }

    /// Waits until what is being written is.
    async fn settle(&mut self) -> Result<(), RebuildError> {
        let Some(Saving { partition, position, written }) = self.saving.take() else { return Ok(()) };
        // The task is gone only when the process is stopping.
        written.await.unwrap_or(Err(RebuildError::Log(LogError::Stopped)))?;
        if let Some(at) = usize::try_from(partition).ok().and_then(|index| self.positions.get_mut(index)) {
            *at = position;
        }
        Ok(())
    }
}

/// Notes which tenants are left out from here on.
async fn note(tx: &mut PgConnection, consumer: &str, partition: i32, parking: &[Parking]) -> Result<(), sqlx::Error> {
    for Parking { tenant, position, event, error } in parking {
        sqlx::query(
            "WITH parked AS (INSERT INTO log.parked (consumer, tenant, partition, position, event, error, tries) \
             VALUES ($1, $2, $3, $4, $5, $6, 1)) \
             UPDATE log.consumers SET parked = parked + 1 WHERE name = $1 AND partition = $3",
        )
        .bind(consumer)
        .bind(tenant)
        .bind(partition)
        .bind(position)
        .bind(event)
        .bind(error)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Events, and what they say.
struct Page {
    events: Vec<Recorded>,
    said: Vec<Result<What, DecodeError>>,
}

/// Reads a range of the log and decodes it, each ahead of who takes the pages.
fn read_ahead(
    log: Log,
    aggregates: &'static [&'static str],
    partition: i32,
    after: i64,
    upto: i64,
) -> mpsc::Receiver<Result<Page, LogError>> {
    let (send_raw, mut raw) = mpsc::channel::<Result<Vec<Recorded>, LogError>>(AHEAD);
    let (send, pages) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut replay = log.replay(partition, after);
        while replay.position() < upto {
            let page = replay.page().await.map(|mut page| {
                page.retain(|event| event.position <= upto);
                page
            });
            // After a failure, and where the log ends, there is no more to take.
            let end = page.as_ref().map_or(true, Vec::is_empty);
            // Or nobody takes it any more.
            if send_raw.send(page).await.is_err() || end {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(page) = raw.recv().await {
            let page = page.map(|events| {
                let said = events.iter().map(|event| What::of(event, aggregates)).collect();
                Page { events, said }
            });
            if send.send(page).await.is_err() {
                return;
            }
        }
    });
    pages
}
