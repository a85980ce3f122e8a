//! The one place of this crate that draws ids.

use domain::EventId;

/// A new id for an event; sorts by its time.
#[expect(clippy::disallowed_methods, reason = "the crate's room for randomness")]
pub(crate) fn event_id() -> EventId {
    EventId::from_uuid(uuid::Uuid::now_v7())
}
