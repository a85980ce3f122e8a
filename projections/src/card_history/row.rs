//! The tables of the history.

use domain::{DecodeError, PersonalText, Saying, SubjectId};
use serde::{Deserialize, Serialize};
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
    /// One line for people, without what somebody said: see [`HistoryRow::said`] and [`super::with`].
    pub summary: String,
    /// The event's payload without references to secrets.
    pub payload: Json<Box<RawValue>>,
}

/// The events by which people say something.
const SAYING: [&str; 4] = ["CardBlocked", "CardCommented", "CardRunFinished", "RunCancelled"];

/// What people said, in the payload of such an event.
#[derive(Deserialize)]
struct Payload {
    #[serde(alias = "reason")]
    text: Option<PersonalText>,
}

impl HistoryRow {
    /// What somebody said by this, and what kind of saying it is.
    pub fn said(&self) -> Option<(Saying, PersonalText)> {
        let saying = if self.kind == "CardCommented" { Saying::Comment } else { Saying::Reason };
        let payload = SAYING.contains(&self.kind.as_str()).then(|| serde_json::from_str(self.payload.get()).ok());
        let Payload { text } = payload.flatten()?;
        Some((saying, text?))
    }

    /// Takes away what was said, when it is the subject's.
    pub(super) fn scrub(&mut self, subject: SubjectId) -> Result<(), DecodeError> {
        if let Some((_, PersonalText::Sealed(sealed))) = self.said()
            && sealed.subject == subject
            && !sealed.sealed.is_empty()
        {
            let payload = self.payload.get().replace(&sealed.sealed, "");
            let broken = |source| DecodeError::Payload { name: self.kind.clone(), source };
            self.payload = Json(RawValue::from_string(payload).map_err(broken)?);
        }
        Ok(())
    }
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
