//! An event of an export, read without copying.

use std::borrow::Cow;

use domain::TenantId;
use domain::id::{CommandId, EventId};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::evidence::{self, Digested, Hash, META, micros};

/// A line of `events.jsonl`: the fields of [`crate::Recorded`] and no others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    /// The partition of the log.
    pub partition: i32,
    /// The place in it.
    pub position: i64,
    /// The event's id.
    pub id: EventId,
    /// The aggregate.
    #[serde(borrow)]
    pub aggregate_type: Cow<'a, str>,
    /// The aggregate's id.
    pub stream: Uuid,
    /// The place in the stream.
    pub version: i64,
    /// The event's name.
    #[serde(borrow)]
    pub event_type: Cow<'a, str>,
    /// The version of the payload.
    pub event_version: u16,
    /// Whose it is.
    pub tenant: TenantId,
    /// Who acted.
    #[serde(borrow)]
    pub actor: Cow<'a, str>,
    /// The command that it follows from.
    pub command: CommandId,
    /// The same for everything that follows from one outside request.
    pub correlation: Uuid,
    /// The event that caused the command.
    pub causation: Option<EventId>,
    /// W3C trace context.
    #[serde(borrow)]
    pub traceparent: Option<Cow<'a, str>>,
    /// When the command was decided.
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// When the log took it.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    /// Its digest.
    pub digest: Hash,
    /// The stream's chain after it.
    pub chain: Hash,
    /// What happened.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

impl Line<'_> {
    /// The digest that an event with this content has.
    pub fn expected_digest(&self) -> Hash {
        evidence::digest(&Digested {
            tenant: self.tenant.uuid(),
            id: self.id.uuid(),
            aggregate_type: &self.aggregate_type,
            stream: self.stream,
            version: self.version,
            event_type: &self.event_type,
            event_version: self.event_version,
            actor: &self.actor,
            command: self.command.uuid(),
            correlation: self.correlation,
            causation: self.causation.map(domain::Id::uuid),
            traceparent: self.traceparent.as_deref(),
            occurred_at: micros(self.occurred_at),
            payload: self.payload.get(),
            meta: META,
        })
    }
}
