//! What was used.

use async_graphql::{Context, Object, Result, SimpleObject};
use domain::{ProjectId, ProviderId};
use projections::usage::UsageRow;
use time::{Date, Duration};

use super::project::Project;
use super::run::Tokens;
use super::tenant::Provider;
use crate::clock;
use crate::error::coded;
use crate::loader::{UsageOf, named};
use crate::scalar::BigInt;

/// Runs by how they ended.
#[derive(SimpleObject)]
pub(super) struct RunCounts {
    /// With work on their branch.
    succeeded: BigInt,
    /// Without.
    failed: BigInt,
    /// Too late.
    timed_out: BigInt,
    /// Stopped by somebody.
    cancelled: BigInt,
}

/// What was used.
#[derive(SimpleObject)]
pub(super) struct Amounts {
    /// How often a model was called.
    model_calls: BigInt,
    /// What models read and wrote.
    tokens: Tokens,
    /// Runs that ended.
    runs: RunCounts,
    /// How long attempts worked, in milliseconds.
    run_ms: BigInt,
}

impl Amounts {
    fn sum(rows: &[UsageRow]) -> Self {
        let sum = |of: fn(&UsageRow) -> i64| BigInt(rows.iter().map(of).fold(0, i64::saturating_add));
        Self {
            model_calls: sum(|row| row.model_calls),
            tokens: Tokens {
                input: sum(|row| row.input_tokens),
                output: sum(|row| row.output_tokens),
                cache_read: sum(|row| row.cache_read_tokens),
                cache_write: sum(|row| row.cache_write_tokens),
            },
            runs: RunCounts {
                succeeded: sum(|row| row.runs_succeeded),
                failed: sum(|row| row.runs_failed),
                timed_out: sum(|row| row.runs_timed_out),
                cancelled: sum(|row| row.runs_cancelled),
            },
            run_ms: sum(|row| row.run_ms),
        }
    }
}

/// What was used on one day in one project with one model.
pub(super) struct UsageEntry(UsageRow);

/// What was used on one day in one project with one model. A model call counts under the model that answered, on the
/// day it was made; a run's end and its time under the model that was asked for, on the day it ended.
#[Object]
impl UsageEntry {
    /// The day, UTC.
    async fn day(&self) -> Date {
        self.0.day
    }

    /// The project.
    #[graphql(complexity = "5 + child_complexity")]
    async fn project(&self, ctx: &Context<'_>) -> Result<Option<Project>> {
        Ok(named(ctx, ProjectId::from_uuid(self.0.project)).await?.map(Project))
    }

    /// Whose account paid.
    #[graphql(complexity = "5 + child_complexity")]
    async fn provider(&self, ctx: &Context<'_>) -> Result<Option<Provider>> {
        Ok(named(ctx, ProviderId::from_uuid(self.0.provider)).await?.map(Provider))
    }

    /// The model.
    async fn model(&self) -> &str {
        &self.0.model
    }

    /// What was used.
    async fn amounts(&self) -> Amounts {
        Amounts::sum(std::slice::from_ref(&self.0))
    }
}

/// Days that one question about usage may span.
const MOST_DAYS: i64 = 366;

/// A range of days, as a client names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Days {
    from: Option<Date>,
    to: Option<Date>,
}

impl Days {
    /// The range from 30 days before `to` when it has no beginning, and up to today when it has no end.
    ///
    /// # Errors
    /// `range_invalid`.
    pub(crate) fn new(from: Option<Date>, to: Option<Date>) -> Result<Self> {
        let days = Self { from, to };
        let (from, to) = days.range();
        // The database knows no day of so long ago.
        if from.year() < 0 || from > to || (to - from).whole_days() >= MOST_DAYS {
            let text = format!(
                "`from` stands before `to` or on it, not before the year 0, and at most {MOST_DAYS} days are shown at once"
            );
            return Err(coded("range_invalid", text));
        }
        Ok(days)
    }

    /// The first and the last day, as of now.
    pub(crate) fn range(self) -> (Date, Date) {
        let to = self.to.unwrap_or_else(|| clock::now().date());
        (self.from.unwrap_or_else(|| to.saturating_sub(Duration::days(30))), to)
    }
}

/// What was used in a range of days.
pub(super) struct Usage {
    pub(super) from: Date,
    pub(super) to: Date,
    pub(super) rows: Vec<UsageRow>,
}

impl Usage {
    /// What was used in a project, or in all of them.
    ///
    /// # Errors
    /// `internal`.
    pub(super) async fn of(ctx: &Context<'_>, days: Days, project: Option<ProjectId>) -> Result<Self> {
        let (from, to) = days.range();
        let rows = named(ctx, UsageOf { from, to, project }).await?.unwrap_or_default();
        Ok(Self { from, to, rows })
    }
}

/// What was used in a range of days.
#[Object]
impl Usage {
    /// The first day, UTC.
    async fn from(&self) -> Date {
        self.from
    }

    /// The last day, UTC, included.
    async fn to(&self) -> Date {
        self.to
    }

    /// By day, project, provider and model, the earliest day first. Days without use are left out.
    #[graphql(complexity = "20 * child_complexity")]
    async fn rows(&self) -> Vec<UsageEntry> {
        self.rows.iter().cloned().map(UsageEntry).collect()
    }

    /// The sums over all rows.
    async fn totals(&self) -> Amounts {
        Amounts::sum(&self.rows)
    }
}
