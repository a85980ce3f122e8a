//! How usage follows the log.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::run::RunEvent;
use outbox::consumer::{ApplyError, Consumer, Touched};
use schemas::Recorded;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::row::{UsageRow, UsageRunRow};
use crate::fact::{Fact, What, count, facts};
use crate::table::{Rows, document};

/// Adds to what stands there; two pages never add the same event.
const ADD: &str = "INSERT INTO read.usage AS u SELECT * FROM json_populate_recordset(NULL::read.usage, $1::text::json) \
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

/// The consumer behind the usage.
pub struct UsageModel;

#[async_trait]
impl Consumer for UsageModel {
    fn name(&self) -> &'static str {
        super::NAME
    }

    async fn apply(&self, conn: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        let facts = facts(page)?;
        let keys = facts.iter().filter(|fact| matches!(fact.what, What::Run(_))).map(Fact::key).collect();
        let mut runs = Rows::<UsageRunRow>::load(conn, &keys).await?;
        let mut sums = Sums::default();
        for fact in &facts {
            if let What::Run(event) = &fact.what {
                take(&mut runs, &mut sums, fact, event);
            }
        }
        runs.save(conn).await?;
        let topics: BTreeSet<Uuid> = sums.0.values().map(|row| row.project).collect();
        if !sums.0.is_empty() {
            let rows: Vec<UsageRow> = sums.0.into_values().collect();
            sqlx::query(ADD).bind(document(&rows)?).execute(conn).await?;
        }
        Ok(crate::touched(topics))
    }

    async fn reset(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        for delete in ["DELETE FROM read.usage", "DELETE FROM read.usage_runs"] {
            sqlx::query(delete).execute(&mut *conn).await?;
        }
        Ok(())
    }
}

/// What a page adds.
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

fn take(runs: &mut Rows<UsageRunRow>, sums: &mut Sums, fact: &Fact<'_>, event: &RunEvent) {
    if let RunEvent::Queued(queued) = event {
        runs.put(UsageRunRow {
            tenant: fact.tenant(),
            run: fact.event.stream,
            project: queued.task.project.uuid(),
            provider: queued.task.provider.uuid(),
            model: queued.task.model.to_string(),
            started_at: None,
        });
        return;
    }
    let Some(run) = runs.get(fact.key()) else { return };
    match event {
        RunEvent::Queued(_) | RunEvent::Dispatched(_) | RunEvent::StepRecorded(_) => {}
        RunEvent::Started(_) => {
            if let Some(run) = runs.change(fact.key()) {
                run.started_at = Some(fact.at());
            }
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
