//! The tables of the history.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

use crate::table::table;

/// One thing that happened.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct HistoryRow {
    /// Whose it is.
    pub tenant: Uuid,
    /// The card.
    pub card: Uuid,
    /// The event's position.
    pub position: i64,
    /// The event.
    pub event: Uuid,
    /// The event's name, such as `CardMoved`.
    pub kind: String,
    /// Who acted.
    pub actor: String,
    /// When, UTC.
    #[serde(with = "rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// The run it belongs to.
    pub run: Option<Uuid>,
    /// The attempt it belongs to.
    pub attempt: Option<i32>,
    /// One line for people.
    pub summary: String,
    /// The event's payload without references to secrets.
    pub payload: Json<Box<RawValue>>,
}

table! {
    /// Which card a run belongs to.
    pub(super) struct HistoryRunRow in "card_history_runs" by run {
        /// Whose it is.
        pub(super) tenant: Uuid,
        /// The run.
        pub(super) run: Uuid,
        /// Its card.
        pub(super) card: Uuid,
    }
}

table! {
    /// Which run an environment belongs to.
    pub(super) struct HistoryEnvironmentRow in "card_history_environments" by environment {
        /// Whose it is.
        pub(super) tenant: Uuid,
        /// The environment.
        pub(super) environment: Uuid,
        /// Its run.
        pub(super) run: Uuid,
        /// The attempt it is for.
        pub(super) attempt: i32,
    }
}
