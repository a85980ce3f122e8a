//! The tables of runs.

use domain::run::TaskOutcome;
use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

use crate::table::table;

table! {
    /// A run.
    pub struct RunRow in "runs" by run {
        /// Whose it is.
        pub tenant: Uuid,
        /// The run.
        pub run: Uuid,
        /// The card that is run.
        pub card: Uuid,
        /// Its project.
        pub project: Uuid,
        /// The project's workspace.
        pub workspace: Uuid,
        /// The card's title when the run was asked for.
        pub title: String,
        /// `queued`, `dispatching`, `running`, `succeeded`, `failed`, `timed_out` or `cancelled`.
        pub state: String,
        /// The current or last attempt; 0 before the first.
        pub attempt: i32,
        /// Where the current or last attempt runs.
        pub environment: Option<Uuid>,
        /// The branch that is pushed.
        pub branch: String,
        /// Whose account pays for the model.
        pub provider: Uuid,
        /// The vendor's protocol.
        pub provider_kind: String,
        /// The model.
        pub model: String,
        /// Who asked for the run.
        pub requested_by: String,
        /// What a success left behind.
        pub outcome: Option<Json<TaskOutcome>>,
        /// The kind of failure, such as `tests_failed`.
        pub failure: Option<String>,
        /// Why it ended without success, for people; while it waits again: why the last attempt was lost; see [`crate::personal::said`].
        pub reason: Option<String>,
        /// The end of the log of a failed run.
        pub log_tail: Option<String>,
        /// When it was asked for, UTC.
        #[serde(with = "rfc3339")]
        pub queued_at: OffsetDateTime,
        /// When a worker took the current or last attempt, UTC.
        #[serde(with = "rfc3339::option")]
        pub dispatched_at: Option<OffsetDateTime>,
        /// When the pod took the job of the current or last attempt, UTC.
        #[serde(with = "rfc3339::option")]
        pub started_at: Option<OffsetDateTime>,
        /// When it ended, UTC.
        #[serde(with = "rfc3339::option")]
        pub ended_at: Option<OffsetDateTime>,
        /// How often a model was called.
        pub model_calls: i64,
        /// Tokens read, without those from a cache.
        pub input_tokens: i64,
        /// Tokens written.
        pub output_tokens: i64,
        /// Tokens read from the vendor's cache.
        pub cache_read_tokens: i64,
        /// Tokens written to the vendor's cache.
        pub cache_write_tokens: i64,
        /// The version of the aggregate; 0 until the run itself took up the card's wish.
        pub version: i64,
        /// The position of its last change.
        pub position: i64,
    }
}

/// One thing that an agent did.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct StepRow {
    /// Whose it is.
    pub tenant: Uuid,
    /// The run.
    pub run: Uuid,
    /// Which attempt did it, from 1.
    pub attempt: i32,
    /// 1, 2, 3 … within the attempt.
    pub number: i32,
    /// `clone`, `model`, `tool`, `check`, `commit` or `push`.
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// The end of what came of it.
    pub detail: String,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// When it was recorded, UTC.
    #[serde(with = "rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// The position of its event.
    pub position: i64,
}
