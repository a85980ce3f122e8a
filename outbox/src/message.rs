//! An event as a message on the bus: CloudEvents 1.0 in binary mode, the payload as the log holds it.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName};
use bytes::Bytes;
use domain::id::CommandId;
use domain::{Actor, EventId, TenantId};
use schemas::evidence::Hash;
use schemas::subject::{self, header};
use schemas::{CloudEvent, Metadata, Recorded};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

/// Bytes that the headers take besides the envelope and the attributes, at most.
const HEADERS: usize = 512;

/// [`Recorded`] without its payload. Field by field: this is written once and read by every consumer.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    partition: i32,
    position: i64,
    id: EventId,
    #[serde(borrow)]
    aggregate_type: Cow<'a, str>,
    stream: Uuid,
    version: i64,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    event_version: u16,
    tenant: TenantId,
    actor: Cow<'a, Actor>,
    command: CommandId,
    correlation: Uuid,
    causation: Option<EventId>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(with = "time::serde::rfc3339")]
    occurred_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    recorded_at: OffsetDateTime,
    digest: Hash,
    chain: Hash,
}

impl<'a> Envelope<'a> {
    fn of(event: &'a Recorded) -> Self {
        let Metadata { tenant, actor, command, correlation, causation, traceparent, occurred_at } = &event.metadata;
        Self {
            partition: event.partition,
            position: event.position,
            id: event.id,
            aggregate_type: Cow::Borrowed(&event.aggregate_type),
            stream: event.stream,
            version: event.version,
            event_type: Cow::Borrowed(&event.event_type),
            event_version: event.event_version,
            tenant: *tenant,
            actor: Cow::Borrowed(actor),
            command: *command,
            correlation: *correlation,
            causation: *causation,
            traceparent: traceparent.as_deref().map(Cow::Borrowed),
            occurred_at: *occurred_at,
            recorded_at: event.recorded_at,
            digest: event.digest,
            chain: event.chain,
        }
    }

    fn recorded(self, payload: Box<RawValue>) -> Recorded {
        let metadata = Metadata {
            tenant: self.tenant,
            actor: self.actor.into_owned(),
            command: self.command,
            correlation: self.correlation,
            causation: self.causation,
            traceparent: self.traceparent.map(Cow::into_owned),
            occurred_at: self.occurred_at,
        };
        Recorded {
            partition: self.partition,
            position: self.position,
            id: self.id,
            aggregate_type: self.aggregate_type.into_owned(),
            stream: self.stream,
            version: self.version,
            event_type: self.event_type.into_owned(),
            event_version: self.event_version,
            metadata,
            recorded_at: self.recorded_at,
            digest: self.digest,
            chain: self.chain,
            payload,
        }
    }
}

/// What is published for an event.
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    /// About how many bytes the server counts against its limit.
    pub(crate) size: usize,
}

/// The message of an event; `more` when the next one follows from the same command.
///
/// # Errors
/// When a value has no text form; no event of the log has such a value.
pub(crate) fn encode(event: &Recorded, more: bool) -> Result<Message, serde_json::Error> {
    let envelope = serde_json::to_string(&Envelope::of(event))?;
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, event.id.to_string());
    let mut size = envelope.len() + HEADERS + event.payload.get().len();
    for (name, text) in CloudEvent::of(event).headers() {
        size += name.len() + text.len() + 4;
        headers.insert(HeaderName::from_static(name), text.as_ref());
    }
    if let Some(traceparent) = event.metadata.traceparent.as_deref().filter(|text| !text.contains(['\r', '\n'])) {
        headers.insert(HeaderName::from_static(header::TRACEPARENT), traceparent);
    }
    headers.insert(HeaderName::from_static(header::POSITION), event.position.to_string());
    headers.insert(HeaderName::from_static(header::ENVELOPE), envelope);
    if more {
        headers.insert(HeaderName::from_static(header::MORE), "1");
    }
    Ok(Message {
        subject: subject::event(event.partition, &event.aggregate_type),
        headers,
        payload: Bytes::copy_from_slice(event.payload.get().as_bytes()),
        size,
    })
}

/// The position that a message says it has.
pub(crate) fn position(headers: Option<&HeaderMap>) -> Option<i64> {
    headers?.get(HeaderName::from_static(header::POSITION))?.as_str().parse().ok()
}

/// Whether the event at the next position follows from the same command.
pub(crate) fn more(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(HeaderName::from_static(header::MORE)).is_some())
}

/// The event of a message from the bus: equal to the one that the log gives. `None` when no relay published it.
pub fn decode(message: &async_nats::Message) -> Option<Recorded> {
    let envelope = message.headers.as_ref()?.get(HeaderName::from_static(header::ENVELOPE))?;
    let envelope: Envelope<'_> = serde_json::from_str(envelope.as_str()).ok()?;
    let payload = std::str::from_utf8(&message.payload).ok()?;
    Some(envelope.recorded(RawValue::from_string(payload.to_owned()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_all_that_the_log_knows() {
        let event = Recorded {
            partition: 3,
            position: 77,
            id: EventId::from_uuid(Uuid::from_u128(1)),
            aggregate_type: "card".to_owned(),
            stream: Uuid::from_u128(2),
            version: 4,
            event_type: "CardMoved".to_owned(),
            event_version: 2,
            metadata: Metadata {
                tenant: TenantId::from_uuid(Uuid::from_u128(3)),
                actor: Actor::Operator("Ada\r\nÅngström".to_owned()),
                command: CommandId::from_uuid(Uuid::from_u128(4)),
                correlation: Uuid::from_u128(5),
                causation: Some(EventId::from_uuid(Uuid::from_u128(6))),
                traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
                occurred_at: time::macros::datetime!(2026-11-20 12:00:00.123456 UTC),
            },
            recorded_at: time::macros::datetime!(2026-11-20 12:00:01 UTC),
            digest: Hash([7; 32]),
            chain: Hash([8; 32]),
            payload: RawValue::from_string(r#"{"to": "done"}"#.to_owned()).unwrap(),
        };
        let encoded = encode(&event, true).unwrap();
        assert_eq!(encoded.subject, "evt.3.card");
        assert_eq!(position(Some(&encoded.headers)), Some(77));
        let message = async_nats::Message {
            subject: encoded.subject.into(),
            reply: None,
            payload: encoded.payload,
            headers: Some(encoded.headers),
            status: None,
            description: None,
            length: 0,
        };
        let decoded = decode(&message).unwrap();
        assert_eq!(serde_json::to_string(&decoded).unwrap(), serde_json::to_string(&event).unwrap());
    }
}
