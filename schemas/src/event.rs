//! The envelope of an event, the same in the log, on the bus and at every consumer.

use domain::id::{CommandId, EventId};
use domain::{Actor, Decider, DecodeError, Event, EventType, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::evidence::{self, Digested, Hash, What};

/// What is known of an event besides what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metadata {
    /// Whose it is.
    pub tenant: TenantId,
    /// Who acted.
    pub actor: Actor,
    /// The command that it follows from.
    pub command: CommandId,
    /// The same for everything that follows from one outside request.
    pub correlation: Uuid,
    /// The event that caused the command, if one did.
    pub causation: Option<EventId>,
    /// W3C trace context of the command.
    pub traceparent: Option<String>,
    /// When the command was decided, UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub occurred_at: OffsetDateTime,
}

/// An event as the log holds it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "EventEnvelope")]
pub struct Recorded {
    /// The part of the log with its own order.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// The place in the partition: 1, 2, 3 … without a gap, in commit order.
    #[schemars(range(min = 1))]
    pub position: i64,
    /// Unique over everything.
    pub id: EventId,
    /// The aggregate, such as `card`.
    pub aggregate_type: String,
    /// The aggregate's id as a bare UUID.
    pub stream: Uuid,
    /// The place in the stream: 1, 2, 3 … without a gap.
    #[schemars(range(min = 1))]
    pub version: i64,
    /// The event's name, such as `CardMoved`.
    pub event_type: String,
    /// The version of the payload.
    #[schemars(range(min = 1))]
    pub event_version: u16,
    /// Who, why and when.
    #[serde(flatten)]
    pub metadata: Metadata,
    /// When the log took it, UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub recorded_at: OffsetDateTime,
    /// SHA-256 over all that was known of the event before the append, in a fixed framing (`schemas::evidence`).
    pub digest: Hash,
    /// The stream's chain after this event: SHA-256 of the chain before it and the digest.
    pub chain: Hash,
    /// What happened, as the bytes that were stored.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub payload: Box<RawValue>,
}

impl Recorded {
    /// The digest that an event with this content has. When [`Recorded::digest`] is another, the event was altered.
    pub fn expected_digest(&self) -> Hash {
        let what = What {
            id: self.id.uuid(),
            aggregate_type: &self.aggregate_type,
            stream: self.stream,
            version: self.version,
            event_type: &self.event_type,
            event_version: self.event_version,
            payload: self.payload.get(),
        };
        evidence::digest(&Digested::of(&self.metadata, &self.metadata.actor.to_string(), what))
    }

    /// The event as aggregate `A` knows it, lifted from an older version where needed; `None` when it is another
    /// aggregate's.
    ///
    /// # Errors
    /// When the name is unknown, the version is newer than this program, or the payload does not fit.
    pub fn decode<A: Decider>(&self) -> Result<Option<A::Event>, DecodeError> {
        if self.aggregate_type != A::TYPE {
            return Ok(None);
        }
        decode_payload::<A>(&self.event_type, self.event_version, self.payload.get()).map(Some)
    }
}

/// Reads a stored payload as an event of `A`, through the aggregate's upcasters when its version is an older one.
///
/// # Errors
/// When the name is unknown, the version is newer than this program, or the payload does not fit.
pub fn decode_payload<A: Decider>(name: &str, version: u16, payload: &str) -> Result<A::Event, DecodeError> {
    let Some(EventType { version: current, .. }) = A::Event::TYPES.iter().find(|known| known.name == name) else {
        return Err(DecodeError::Unknown(name.to_owned()));
    };
    match version.cmp(current) {
        std::cmp::Ordering::Equal => A::Event::decode(name, payload),
        std::cmp::Ordering::Greater => Err(DecodeError::Newer { name: name.to_owned(), version }),
        std::cmp::Ordering::Less => {
            let broken = |source| DecodeError::Payload { name: name.to_owned(), source };
            let value = serde_json::from_str(payload).map_err(broken)?;
            let old = cqrs_es::persist::SerializedEvent::new(
                String::new(),
                0,
                A::TYPE.to_owned(),
                name.to_owned(),
                version.to_string(),
                value,
                serde_json::Value::Null,
            );
            let lifted = A::upcasters().iter().fold(old, |event, upcaster| {
                if upcaster.can_upcast(&event.event_type, &event.event_version) {
                    upcaster.upcast(event)
                } else {
                    event
                }
            });
            A::Event::decode(&lifted.event_type, &lifted.payload.to_string())
        }
    }
}
