//! How usage follows the log.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::DecodeError;
use domain::run::RunEvent;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::row::{UsageRow, UsageRunRow};
use crate::fact::{Fact, What, count};
use crate::model::Fold;
use crate::table::{Rows, Write};

/// Adds to what stands there; two pages never add the same event.
const ADD: &str = "INSERT INTO usage AS u SELECT * FROM json_populate_recordset(NULL::usage, $1::text::json) \
    ON CONFLICT (tenant, day, project, provider, model) DO UPDATE SET \
    model_calls = u.model_calls + EXCLUDED.model_calls, \
    input_tokens = u.input_tokens + EXCLUDED.input_tokens, \
    output_tokens = u.output_tokens + EXCLUDED.output_tokens, \
    cache_read_tokens = u.cache_read_tokens + EXCLUDED.cache_read_tokens, \
    cache_write_tokens = u.cache_write_tokens + EXCLUDED.cache_write_tokens, \
    runs_succeeded = u.runs_succeeded + EXCLUDED.runs_succeeded, \
    runs_failed = u.runs_failed + EXCLUDED.runs_failed, \
    runs_timed_out = u.runs_timed_out + EXCLUDED.runs_timed_out, \
    runs_cancelled = u.runs_cancelled + EXCLUDED.runs_cancelled, \
    run_ms = u.run_ms + EXCLUDED.run_ms";

/// The rows of usage in memory.
pub(super) struct Tables {
    runs: Rows<UsageRunRow>,
    sums: Sums,
}

impl Tables {
    pub(super) fn new(whole: bool) -> Self {
        Self { runs: Rows::new(whole), sums: Sums::default() }
    }
}

#[async_trait]
impl Fold for Tables {
    async fn load(&mut self, conn: &mut PgConnection, facts: &[Fact<'_>]) -> Result<(), sqlx::Error> {
        let runs = facts.iter().filter(|fact| matches!(fact.what, What::Run(_)));
        self.runs.load(conn, runs.map(Fact::key)).await
    }

    fn take(&mut self, fact: &Fact<'_>, topics: &mut BTreeSet<Uuid>) -> Result<(), DecodeError> {
        if let What::Run(event) = &fact.what
            && let Some(project) = take(&mut self.runs, &mut self.sums, fact, event)
        {
            topics.extend([project, fact.tenant()]);
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<Vec<Write>, sqlx::Error> {
        let mut all = Vec::new();
        self.runs.drain(&mut all)?;
        let sums: Vec<UsageRow> = std::mem::take(&mut self.sums.0).into_values().collect();
        Write::all(ADD, &sums, &mut all)?;
        Ok(all)
    }

    fn len(&self) -> usize {
        self.runs.len() + self.sums.0.len()
    }
}

/// What is to be added.
#[derive(Default)]
struct Sums(BTreeMap<(Uuid, Date, Uuid, Uuid, String), UsageRow>);

impl Sums {
    fn row(&mut self, fact: &Fact<'_>, project: Uuid, provider: Uuid, model: &str) -> &mut UsageRow {
        let (tenant, day) = (fact.tenant(), fact.day());
        self.0
            .entry((tenant, day, project, provider, model.to_owned()))
            .or_insert_with_key(|key| UsageRow::none(tenant, day, project, provider, key.4.clone()))
    }
}

/// Takes in one event; answers the project whose sums it adds to.
fn take(runs: &mut Rows<UsageRunRow>, sums: &mut Sums, fact: &Fact<'_>, event: &RunEvent) -> Option<Uuid> {
    if let RunEvent::Queued(queued) = event {
        runs.put(UsageRunRow {
            tenant: fact.tenant(),
            run: fact.event.stream,
            project: queued.task.project.uuid(),
            provider: queued.task.provider.uuid(),
            model: queued.task.model.to_string(),
            started_at: None,
        });
        return None;
    }
    let run = runs.get(fact.key())?;
    let project = run.project;
    match event {
        RunEvent::Queued(_) | RunEvent::Dispatched(_) | RunEvent::StepRecorded(_) => return None,
        RunEvent::Started(_) => {
            runs.change(fact.key())?.started_at = Some(fact.at());
            return None;
        }
        RunEvent::ModelCalled(call) => {
            let row = sums.row(fact, run.project, call.provider.uuid(), call.model.as_str());
            row.model_calls += 1;
            row.input_tokens = row.input_tokens.saturating_add(count(call.input_tokens));
            row.output_tokens = row.output_tokens.saturating_add(count(call.output_tokens));
            row.cache_read_tokens = row.cache_read_tokens.saturating_add(count(call.cache_read_tokens));
            row.cache_write_tokens = row.cache_write_tokens.saturating_add(count(call.cache_write_tokens));
        }
        RunEvent::AttemptLost(_) => stop(runs, sums, fact, |_| {}),
        RunEvent::Succeeded(_) => stop(runs, sums, fact, |row| row.runs_succeeded += 1),
        RunEvent::Failed(_) => stop(runs, sums, fact, |row| row.runs_failed += 1),
        RunEvent::TimedOut(_) => stop(runs, sums, fact, |row| row.runs_timed_out += 1),
        RunEvent::Cancelled(_) => stop(runs, sums, fact, |row| row.runs_cancelled += 1),
    }
    Some(project)
}

/// The present attempt works no more: its time counts.
fn stop(runs: &mut Rows<UsageRunRow>, sums: &mut Sums, fact: &Fact<'_>, and: fn(&mut UsageRow)) {
    let Some(run) = runs.change(fact.key()) else { return };
    let row = sums.row(fact, run.project, run.provider, &run.model);
    row.run_ms += run.started_at.take().map_or(0, |since| elapsed(since, fact.at()));
    and(row);
}

/// Milliseconds from `since` to `until`; 0 when the clocks of two machines disagree.
fn elapsed(since: OffsetDateTime, until: OffsetDateTime) -> i64 {
    i64::try_from((until - since).whole_milliseconds()).unwrap_or(0).max(0)
}
