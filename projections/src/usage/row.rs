//! The tables of usage.

use serde::{Serialize, Serializer};
use sqlx::FromRow;
use time::serde::rfc3339;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::table::table;

/// What was used on one day in one project with one model. Also stands for what a page adds to it.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct UsageRow {
    /// Whose it is.
    pub tenant: Uuid,
    /// The day, UTC.
    #[serde(serialize_with = "iso")]
    pub day: Date,
    /// The project.
    pub project: Uuid,
    /// Whose account paid.
    pub provider: Uuid,
    /// The model.
    pub model: String,
    /// How often it was called.
    pub model_calls: i64,
    /// Tokens read, without those from a cache.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Tokens read from the vendor's cache.
    pub cache_read_tokens: i64,
    /// Tokens written to the vendor's cache.
    pub cache_write_tokens: i64,
    /// Runs that succeeded.
    pub runs_succeeded: i64,
    /// Runs that failed.
    pub runs_failed: i64,
    /// Runs that took too long.
    pub runs_timed_out: i64,
    /// Runs that somebody stopped.
    pub runs_cancelled: i64,
    /// How long attempts worked, in milliseconds.
    pub run_ms: i64,
}

impl UsageRow {
    /// Nothing used yet.
    pub(super) const fn none(tenant: Uuid, day: Date, project: Uuid, provider: Uuid, model: String) -> Self {
        Self {
            tenant,
            day,
            project,
            provider,
            model,
            model_calls: 0,
            input_tokens: 0,
            output_tokens: 0,
            cache_read_tokens: 0,
            cache_write_tokens: 0,
            runs_succeeded: 0,
            runs_failed: 0,
            runs_timed_out: 0,
            runs_cancelled: 0,
            run_ms: 0,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn iso<S: Serializer>(day: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    // `Date` displays as year-month-day.
    serializer.collect_str(day)
}

table! {
    /// What later events of a run do not say.
    pub(super) struct UsageRunRow in "usage_runs" by run {
        /// Whose it is.
        pub(super) tenant: Uuid,
        /// The run.
        pub(super) run: Uuid,
        /// Its project.
        pub(super) project: Uuid,
        /// Whose account pays.
        pub(super) provider: Uuid,
        /// The model that was asked for.
        pub(super) model: String,
        /// Since when the present attempt works, UTC.
        #[serde(with = "rfc3339::option")]
        pub(super) started_at: Option<OffsetDateTime>,
    }
}
