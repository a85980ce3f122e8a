//! How runs follow the log.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::DecodeError;
use domain::card::CardEvent;
use domain::run::{RunEvent, RunModelCalled, RunStepRecorded, StepKind, Task};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::row::{RunRow, StepRow};
use crate::fact::{Fact, What, count, small};
use crate::model::Fold;
use crate::personal::{self, Erasure};
use crate::table::{Key, Rows, Write};

/// Steps are only ever added.
const ADD: &str = "INSERT INTO run_steps SELECT * FROM json_populate_recordset(NULL::run_steps, $1::text::json)";

/// Takes away what an erased subject has said.
const ERASE: &str = "UPDATE runs r SET position = e.position, reason = e.erased \
     FROM json_to_recordset($1::text::json) AS e (tenant uuid, position bigint, said text, erased text) \
     WHERE r.tenant = e.tenant AND starts_with(r.reason, e.said)";

/// The rows of runs in memory.
pub(super) struct Tables {
    runs: Rows<RunRow>,
    /// Those that are not written yet.
    steps: Vec<StepRow>,
    /// Those who were erased meanwhile.
    erased: Vec<Erasure>,
}

impl Tables {
    pub(super) fn new(whole: bool) -> Self {
        Self { runs: Rows::new(whole), steps: vec![], erased: vec![] }
    }
}

#[async_trait]
impl Fold for Tables {
    async fn load(&mut self, conn: &mut PgConnection, facts: &[Fact<'_>]) -> Result<(), sqlx::Error> {
        self.runs.load(conn, facts.iter().filter_map(run_of)).await
    }

    fn take(&mut self, fact: &Fact<'_>, topics: &mut BTreeSet<Uuid>) -> Result<(), DecodeError> {
        if let Some(erasure) = Erasure::of(fact) {
            self.runs.change_all(erasure.tenant, |row| erasure.scrub(row.reason.as_mut(), &mut row.position));
            self.erased.push(erasure);
        }
        let Some(key) = run_of(fact) else { return Ok(()) };
        take(&mut self.runs, key, fact);
        if let What::Run(event) = &fact.what
            && let RunEvent::StepRecorded(recorded) = &**event
        {
            self.steps.push(step(fact, recorded));
        }
        topics.insert(key.1);
        topics.extend(self.runs.get(key).map(|row| row.project));
        Ok(())
    }

    fn drain(&mut self) -> Result<Vec<Write>, sqlx::Error> {
        let mut all = Vec::new();
        Erasure::drain(&mut self.erased, ERASE, &mut all)?;
        self.runs.drain(&mut all)?;
        Write::all(ADD, &std::mem::take(&mut self.steps), &mut all)?;
        Ok(all)
    }

    fn len(&self) -> usize {
        self.runs.len() + self.steps.len() + self.erased.len()
    }
}

/// The run that an event is about.
fn run_of(fact: &Fact<'_>) -> Option<Key> {
    match &fact.what {
        What::Run(_) => Some(fact.key()),
        What::Card(event) => match &**event {
            CardEvent::RunRequested(requested) => Some(fact.key_of(requested.run.uuid())),
            _ => None,
        },
        _ => None,
    }
}

fn take(runs: &mut Rows<RunRow>, key: Key, fact: &Fact<'_>) {
    let event = match &fact.what {
        What::Card(event) => {
            if let CardEvent::RunRequested(requested) = &**event {
                let row = queued(key, &requested.task, fact.actor(), fact);
                runs.put(RunRow { version: 0, ..row });
            }
            return;
        }
        What::Run(event) => &**event,
        _ => return,
    };
    if let RunEvent::Queued(asked) = event {
        let since = runs.get(key).map_or(fact.at(), |row| row.queued_at);
        runs.put(RunRow { queued_at: since, ..queued(key, &asked.task, asked.requested_by.to_string(), fact) });
    }
    let Some(row) = runs.change(key) else { return };
    match event {
        RunEvent::Queued(_) | RunEvent::StepRecorded(_) => {}
        RunEvent::Dispatched(dispatched) => {
            "dispatching".clone_into(&mut row.state);
            row.attempt = small(dispatched.attempt);
            row.environment = Some(dispatched.environment.uuid());
            (row.dispatched_at, row.started_at) = (Some(fact.at()), None);
        }
        RunEvent::Started(_) => {
            "running".clone_into(&mut row.state);
            (row.started_at, row.reason) = (Some(fact.at()), None);
        }
        RunEvent::ModelCalled(call) => tally(row, call),
        RunEvent::AttemptLost(lost) => {
            "queued".clone_into(&mut row.state);
            row.reason = Some(lost.reason.to_string());
        }
        RunEvent::Succeeded(succeeded) => {
            end(row, fact, "succeeded");
            row.outcome = Some(Json(succeeded.outcome.clone()));
        }
        RunEvent::Failed(failed) => {
            end(row, fact, "failed");
            row.failure = Some(failed.kind.as_str().to_owned());
            row.reason = Some(failed.reason.to_string());
            row.log_tail = Some(failed.log_tail.to_string());
        }
        RunEvent::TimedOut(timed_out) => {
            end(row, fact, "timed_out");
            row.reason = Some(format!("It took longer than {} s.", timed_out.after_seconds));
        }
        RunEvent::Cancelled(cancelled) => {
            end(row, fact, "cancelled");
            row.reason = cancelled.reason.as_ref().map(personal::stored);
        }
    }
    (row.version, row.position) = (fact.event.version, fact.event.position);
}

fn end(row: &mut RunRow, fact: &Fact<'_>, state: &str) {
    state.clone_into(&mut row.state);
    (row.ended_at, row.reason) = (Some(fact.at()), None);
}

fn tally(row: &mut RunRow, call: &RunModelCalled) {
    row.model_calls += 1;
    for (sum, more) in [
        (&mut row.input_tokens, call.input_tokens),
        (&mut row.output_tokens, call.output_tokens),
        (&mut row.cache_read_tokens, call.cache_read_tokens),
        (&mut row.cache_write_tokens, call.cache_write_tokens),
    ] {
        *sum = sum.saturating_add(count(more));
    }
}

fn queued(key: Key, task: &Task, requested_by: String, fact: &Fact<'_>) -> RunRow {
    RunRow {
        tenant: key.0,
        run: key.1,
        card: task.card.uuid(),
        project: task.project.uuid(),
        workspace: task.workspace.uuid(),
        title: task.title.to_string(),
        state: "queued".to_owned(),
        attempt: 0,
        environment: None,
        branch: task.branch.to_string(),
        provider: task.provider.uuid(),
        provider_kind: task.provider_kind.as_str().to_owned(),
        model: task.model.to_string(),
        requested_by,
        outcome: None,
        failure: None,
        reason: None,
        log_tail: None,
        queued_at: fact.at(),
        dispatched_at: None,
        started_at: None,
        ended_at: None,
        model_calls: 0,
        input_tokens: 0,
        output_tokens: 0,
        cache_read_tokens: 0,
        cache_write_tokens: 0,
        version: fact.event.version,
        position: fact.event.position,
    }
}

fn step(fact: &Fact<'_>, recorded: &RunStepRecorded) -> StepRow {
    StepRow {
        tenant: fact.tenant(),
        run: fact.event.stream,
        attempt: small(recorded.attempt),
        number: small(recorded.number),
        kind: kind(recorded.kind).to_owned(),
        title: recorded.title.to_string(),
        detail: recorded.detail.to_string(),
        ok: recorded.ok,
        duration_ms: count(recorded.duration_ms),
        occurred_at: fact.at(),
        position: fact.event.position,
    }
}

const fn kind(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Clone => "clone",
        StepKind::Model => "model",
        StepKind::Tool => "tool",
        StepKind::Check => "check",
        StepKind::Commit => "commit",
        StepKind::Push => "push",
    }
}
