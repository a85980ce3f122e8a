//! What is given to the log, and what it answers.

use std::sync::Arc;

use domain::{Event, EventId};
use schemas::Metadata;
use schemas::evidence::{Digested, Hash, What, digest, link};
use uuid::Uuid;

use crate::LogError;

/// Events that one append may hold.
pub const MAX_EVENTS: usize = 100;

/// The events of one command on one stream.
#[derive(Debug, Clone)]
pub struct Append {
    /// Whose, who, why and when. The command id deduplicates: within a tenant it is appended once.
    pub metadata: Metadata,
    /// What the command said, digested by the caller: the same command id with another fingerprint is a mismatch.
    pub fingerprint: [u8; 32],
    /// The aggregate, such as `card`.
    pub aggregate_type: &'static str,
    /// The aggregate's id.
    pub stream: Uuid,
    /// The version that the decision saw; 0 when the stream did not exist.
    pub expected_version: i64,
    /// The chain at that version; zeros when the stream did not exist.
    pub expected_chain: Hash,
    /// What happened, 1 to [`MAX_EVENTS`].
    pub events: Vec<NewEvent>,
}

/// An event that is not in the log yet.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Unique over everything.
    pub id: EventId,
    /// The event's name, such as `CardMoved`.
    pub event_type: &'static str,
    /// The version of the payload.
    pub event_version: u16,
    /// JSON; stored as these bytes.
    pub payload: String,
}

impl NewEvent {
    /// An event of the domain, in its current version.
    ///
    /// # Errors
    /// [`LogError::Encode`] when it has no JSON form.
    pub fn of<E: Event>(id: EventId, event: &E) -> Result<Self, LogError> {
        let kind = Event::event_type(event);
        let payload = event.encode().map_err(|error| LogError::Encode(Arc::new(error)))?;
        Ok(Self { id, event_type: kind.name, event_version: kind.version, payload })
    }
}

/// What the log did with an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The events are in the log.
    Stored(Appended),
    /// The command was appended before: what it led to then. Nothing changed.
    Repeated(Appended),
    /// The command id was used before for something else. Nothing changed.
    Mismatch,
    /// The stream is not where the decision saw it. Nothing changed.
    Conflict {
        /// Where it is; 0 when it does not exist.
        version: i64,
    },
}

/// Where a command's events stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The aggregate, such as `card`.
    pub aggregate_type: String,
    /// The aggregate's id.
    pub stream: Uuid,
    /// The stream's version after the command's last event.
    pub version: i64,
    /// The position of the command's last event.
    pub position: i64,
    /// The partition that the position belongs to.
    pub partition: i32,
}

/// An append that can be sent: checked, its times as the database keeps them, with its digests.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) append: Append,
    /// `(digest, chain)` of each event.
    pub(crate) proofs: Vec<(Hash, Hash)>,
    /// About how many bytes it takes in a statement.
    pub(crate) bytes: usize,
}

/// What an event costs in a statement besides its payload, roughly.
const EVENT_OVERHEAD: usize = 256;

impl Sealed {
    pub(crate) fn new(mut append: Append) -> Result<Self, LogError> {
        let count = append.events.len();
        if count == 0 || count > MAX_EVENTS {
            return Err(LogError::EventCount { count });
        }
        // The database keeps microseconds; what is digested must be what is stored.
        let kept = append.metadata.occurred_at.microsecond() * 1_000;
        if let Ok(occurred_at) = append.metadata.occurred_at.replace_nanosecond(kept) {
            append.metadata.occurred_at = occurred_at;
        }
        let actor = append.metadata.actor.to_string();
        let mut chain = append.expected_chain;
        let mut proofs = Vec::with_capacity(count);
        for (event, version) in append.events.iter().zip(append.expected_version + 1..) {
            let what = What {
                id: event.id.uuid(),
                aggregate_type: append.aggregate_type,
                stream: append.stream,
                version,
                event_type: event.event_type,
                event_version: event.event_version,
                payload: &event.payload,
            };
            let digest = digest(&Digested::of(&append.metadata, &actor, what));
            chain = link(&chain, &digest);
            proofs.push((digest, chain));
        }
        let bytes = append.events.iter().map(|event| event.payload.len() + EVENT_OVERHEAD).sum();
        Ok(Self { append, proofs, bytes })
    }

    /// The chain after the last event.
    pub(crate) fn chain(&self) -> Hash {
        self.proofs.last().map_or(self.append.expected_chain, |(_, chain)| *chain)
    }
}

#[cfg(test)]
mod tests {
    use domain::id::CommandId;
    use domain::{Actor, TenantId};

    use super::*;

    fn append() -> Append {
        Append {
            metadata: Metadata {
                tenant: TenantId::from_uuid(Uuid::from_u128(1)),
                actor: Actor::System("test".into()),
                command: CommandId::from_uuid(Uuid::from_u128(2)),
                correlation: Uuid::from_u128(3),
                causation: None,
                traceparent: None,
                occurred_at: time::macros::datetime!(2026-11-20 12:00:00.123456789 UTC),
            },
            fingerprint: [0; 32],
            aggregate_type: "card",
            stream: Uuid::from_u128(4),
            expected_version: 0,
            expected_chain: Hash::ZERO,
            events: vec![NewEvent {
                id: EventId::from_uuid(Uuid::from_u128(5)),
                event_type: "CardArchived",
                event_version: 1,
                payload: "{}".to_owned(),
            }],
        }
    }

    #[test]
    fn the_framing_is_fixed() {
        // Made by hand in another language from the table above; it may never change.
        let sealed = Sealed::new(append()).unwrap();
        assert_eq!(sealed.proofs[0].0.to_string(), "7300e3e95ce903a80573df94522afdadcd10847e6d2d2f7f0c033252f930c858");
        assert_eq!(sealed.proofs[0].1.to_string(), "dc89acd09e50bb48629b3c88fa8c82d04ae5e552610b4c9eb03ee5406aca010f");
    }

    #[test]
    fn absent_and_empty_differ() {
        let mut empty = append();
        empty.metadata.traceparent = Some(String::new());
        assert_ne!(Sealed::new(append()).unwrap().proofs, Sealed::new(empty).unwrap().proofs);
    }

    #[test]
    fn no_events_and_too_many_are_refused() {
        let mut none = append();
        none.events.clear();
        assert!(matches!(Sealed::new(none), Err(LogError::EventCount { count: 0 })));
        let mut many = append();
        many.events = vec![many.events[0].clone(); MAX_EVENTS + 1];
        assert!(matches!(Sealed::new(many), Err(LogError::EventCount { count: 101 })));
    }
}
