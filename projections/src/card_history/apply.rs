//! How the history follows the log.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::card::{CardEvent, CardRunRequested};
use domain::environment::EnvironmentEvent;
use domain::run::{RunEvent, RunQueued};
use domain::{DecodeError, Event};
use outbox::consumer::{ApplyError, Consumer, Touched};
use schemas::Recorded;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::row::{HistoryEnvironmentRow, HistoryRow, HistoryRunRow};
use super::summary;
use crate::fact::{Fact, What, facts, small};
use crate::table::{Key, Rows, document};

/// The consumer behind the history.
pub struct CardHistoryModel;

#[async_trait]
impl Consumer for CardHistoryModel {
    fn name(&self) -> &'static str {
        super::NAME
    }

    async fn apply(&self, conn: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        let facts = facts(page)?;
        let mut owners = Owners::load(conn, &facts).await?;
        let mut rows = Vec::new();
        for fact in &facts {
            rows.extend(owners.take(fact)?);
        }
        owners.save(conn).await?;
        let topics = rows.iter().map(|row| row.card).collect();
        append(conn, rows).await?;
        Ok(crate::touched(topics))
    }

    async fn reset(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        for delete in [
            "DELETE FROM read.card_history",
            "DELETE FROM read.card_history_environments",
            "DELETE FROM read.card_history_runs",
        ] {
            sqlx::query(delete).execute(&mut *conn).await?;
        }
        Ok(())
    }
}

async fn append(conn: &mut PgConnection, rows: Vec<HistoryRow>) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO read.card_history SELECT * FROM json_populate_recordset(NULL::read.card_history, $1::text::json)",
    )
    .bind(document(&rows)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Which card the events of runs and environments concern.
struct Owners {
    runs: Rows<HistoryRunRow>,
    environments: Rows<HistoryEnvironmentRow>,
}

/// What a row says beside the envelope.
struct Line {
    card: Uuid,
    run: Option<Uuid>,
    attempt: Option<u32>,
    summary: String,
    payload: Box<RawValue>,
}

impl Owners {
    async fn load(conn: &mut PgConnection, facts: &[Fact<'_>]) -> Result<Self, sqlx::Error> {
        let of = |wanted: fn(&What) -> bool| facts.iter().filter(move |fact| wanted(&fact.what)).map(Fact::key);
        let environments =
            Rows::<HistoryEnvironmentRow>::load(conn, &of(|what| matches!(what, What::Environment(_))).collect())
                .await?;
        let mut keys: BTreeSet<Key> = of(|what| matches!(what, What::Run(_))).collect();
        keys.extend(facts.iter().filter_map(|fact| run_of_environment(&environments, fact)));
        Ok(Self { runs: Rows::load(conn, &keys).await?, environments })
    }

    async fn save(self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.runs.save(conn).await?;
        self.environments.save(conn).await
    }

    /// The row of an event, when it concerns a card.
    fn take(&mut self, fact: &Fact<'_>) -> Result<Option<HistoryRow>, DecodeError> {
        let line = match &fact.what {
            What::Card(event) => Some(self.card(fact, event)?),
            What::Run(event) => self.run(fact, event)?,
            What::Environment(event) => self.environment(fact, event)?,
            _ => None,
        };
        Ok(line.map(|line| HistoryRow {
            tenant: fact.tenant(),
            card: line.card,
            position: fact.event.position,
            event: fact.event.id.uuid(),
            kind: fact.event.event_type.clone(),
            actor: fact.actor(),
            occurred_at: fact.at(),
            run: line.run,
            attempt: line.attempt.filter(|attempt| *attempt > 0).map(small),
            summary: line.summary,
            payload: Json(line.payload),
        }))
    }

    fn card(&mut self, fact: &Fact<'_>, event: &CardEvent) -> Result<Line, DecodeError> {
        let card = fact.event.stream;
        let run = match event {
            CardEvent::RunRequested(requested) => {
                self.runs.put(HistoryRunRow { tenant: fact.tenant(), run: requested.run.uuid(), card });
                Some(requested.run.uuid())
            }
            CardEvent::RunFinished(finished) => Some(finished.run.uuid()),
            _ => None,
        };
        let payload = match event {
            CardEvent::RunRequested(requested) => payload(&CardEvent::RunRequested(without_secrets(requested)))?,
            other => payload(other)?,
        };
        Ok(Line { card, run, attempt: None, summary: summary::of_card(event), payload })
    }

    fn run(&mut self, fact: &Fact<'_>, event: &RunEvent) -> Result<Option<Line>, DecodeError> {
        if let RunEvent::Queued(queued) = event {
            let (run, card) = (fact.event.stream, queued.task.card.uuid());
            self.runs.put(HistoryRunRow { tenant: fact.tenant(), run, card });
        }
        let Some(owner) = self.runs.get(fact.key()) else { return Ok(None) };
        let attempt = match event {
            RunEvent::Queued(_) | RunEvent::Cancelled(_) => None,
            RunEvent::Dispatched(event) => Some(event.attempt),
            RunEvent::Started(event) => Some(event.attempt),
            RunEvent::StepRecorded(event) => Some(event.attempt),
            RunEvent::ModelCalled(event) => Some(event.attempt),
            RunEvent::AttemptLost(event) => Some(event.attempt),
            RunEvent::Succeeded(event) => Some(event.attempt),
            RunEvent::Failed(event) => Some(event.attempt),
            RunEvent::TimedOut(event) => Some(event.attempt),
        };
        let payload = match event {
            RunEvent::Queued(queued) => payload(&RunEvent::Queued(queued_without_secrets(queued)))?,
            other => payload(other)?,
        };
        let run = Some(fact.event.stream);
        Ok(Some(Line { card: owner.card, run, attempt, summary: summary::of_run(event), payload }))
    }

    fn environment(&mut self, fact: &Fact<'_>, event: &EnvironmentEvent) -> Result<Option<Line>, DecodeError> {
        if let EnvironmentEvent::Requested(requested) = event {
            self.environments.put(HistoryEnvironmentRow {
                tenant: fact.tenant(),
                environment: fact.event.stream,
                run: requested.purpose.run.uuid(),
                attempt: small(requested.purpose.attempt),
            });
        }
        let Some(environment) = self.environments.get(fact.key()) else { return Ok(None) };
        let Some(owner) = self.runs.get(fact.key_of(environment.run)) else { return Ok(None) };
        Ok(Some(Line {
            card: owner.card,
            run: Some(environment.run),
            attempt: u32::try_from(environment.attempt).ok(),
            summary: summary::of_environment(event),
            payload: payload(event)?,
        }))
    }
}

/// The key of the run that an event of an environment belongs to.
fn run_of_environment(known: &Rows<HistoryEnvironmentRow>, fact: &Fact<'_>) -> Option<Key> {
    let What::Environment(event) = &fact.what else { return None };
    match event {
        EnvironmentEvent::Requested(requested) => Some(fact.key_of(requested.purpose.run.uuid())),
        _ => known.get(fact.key()).map(|row| fact.key_of(row.run)),
    }
}

/// The event's payload in its current version.
fn payload<E: Event>(event: &E) -> Result<Box<RawValue>, DecodeError> {
    let broken = |source| DecodeError::Payload { name: event.event_type().name.to_owned(), source };
    event.encode().and_then(RawValue::from_string).map_err(broken)
}

fn without_secrets(requested: &CardRunRequested) -> CardRunRequested {
    let mut requested = requested.clone();
    requested.task.repository.credential = None;
    requested
}

fn queued_without_secrets(queued: &RunQueued) -> RunQueued {
    let mut queued = queued.clone();
    queued.task.repository.credential = None;
    queued
}
