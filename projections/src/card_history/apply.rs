//! How the history follows the log.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::card::{CardEvent, CardRunRequested};
use domain::environment::EnvironmentEvent;
use domain::run::{RunEvent, RunQueued};
use domain::{DecodeError, Event};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::row::{HistoryEnvironmentRow, HistoryRow, HistoryRunRow};
use super::summary;
use crate::fact::{Fact, What, small};
use crate::model::Fold;
use crate::personal::Erasure;
use crate::table::{Key, Rows, Write};

/// Rows are only ever added.
const ADD: &str = "INSERT INTO card_history SELECT * FROM json_populate_recordset(NULL::card_history, $1::text::json)";

/// Takes away what an erased subject has said. A sealed text has no escapes and stands in its payload once.
const ERASE: &str = "UPDATE card_history h \
     SET payload = replace(h.payload::text, coalesce(h.payload->'text', h.payload->'reason')->>'sealed', '')::json \
     FROM json_to_recordset($1::text::json) AS e (tenant uuid, subject text) \
     WHERE h.tenant = e.tenant AND h.kind IN ('CardBlocked', 'CardCommented', 'CardRunFinished', 'RunCancelled') \
     AND coalesce(h.payload->'text', h.payload->'reason')->>'subject' = e.subject";

/// The rows of the history in memory.
pub(super) struct Tables {
    owners: Owners,
    /// Those that are not written yet.
    added: Vec<HistoryRow>,
    /// Those who were erased meanwhile.
    erased: Vec<Erasure>,
}

impl Tables {
    pub(super) fn new(whole: bool) -> Self {
        Self {
            owners: Owners { runs: Rows::new(whole), environments: Rows::new(whole) },
            added: vec![],
            erased: vec![],
        }
    }
}

#[async_trait]
impl Fold for Tables {
    async fn load(&mut self, conn: &mut PgConnection, facts: &[Fact<'_>]) -> Result<(), sqlx::Error> {
        self.owners.load(conn, facts).await
    }

    fn take(&mut self, fact: &Fact<'_>, topics: &mut BTreeSet<Uuid>) -> Result<(), DecodeError> {
        if let Some(erasure) = Erasure::of(fact) {
            for row in self.added.iter_mut().filter(|row| row.tenant == erasure.tenant) {
                row.scrub(erasure.whom)?;
            }
            self.erased.push(erasure);
        }
        if let Some(row) = self.owners.take(fact)? {
            topics.insert(row.card);
            self.added.push(row);
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<Vec<Write>, sqlx::Error> {
        let mut all = Vec::new();
        Erasure::drain(&mut self.erased, ERASE, &mut all)?;
        self.owners.runs.drain(&mut all)?;
        self.owners.environments.drain(&mut all)?;
        Write::all(ADD, &std::mem::take(&mut self.added), &mut all)?;
        Ok(all)
    }

    fn len(&self) -> usize {
        self.owners.runs.len() + self.owners.environments.len() + self.added.len() + self.erased.len()
    }
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
    async fn load(&mut self, conn: &mut PgConnection, facts: &[Fact<'_>]) -> Result<(), sqlx::Error> {
        let of = |wanted: fn(&What) -> bool| facts.iter().filter(move |fact| wanted(&fact.what)).map(Fact::key);
        self.environments.load(conn, of(|what| matches!(what, What::Environment(_)))).await?;
        let environments = &self.environments;
        let theirs = facts.iter().filter_map(|fact| run_of_environment(environments, fact));
        self.runs.load(conn, of(|what| matches!(what, What::Run(_))).chain(theirs)).await
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
