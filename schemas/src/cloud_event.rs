//! An event as consumers get it: CloudEvents 1.0, with the same attributes in the same order however it is consumed.
//!
//! In structured mode (`GET /v1/events`, the library) it is one JSON document; in binary mode (JetStream) each attribute
//! is a header and `data` is the body. Numbers that may outgrow 32 bits are texts, as CloudEvents demands.

use std::borrow::Cow;

use domain::id::{CommandId, EventId};
use domain::{Actor, TenantId};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::evidence::Hash;
use crate::subject::header;
use crate::{Cursor, Recorded};

/// The media type of an event's data.
pub const DATA: &str = "application/json";

/// An event as consumers get it: CloudEvents 1.0, its attributes and `data`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(title = "CloudEvent")]
pub struct CloudEvent<'a> {
    /// The version of CloudEvents: `1.0`.
    #[schemars(extend("const" = "1.0"))]
    specversion: &'static str,
    /// The event's id, unique over everything; the same however often and by whatever way the event arrives.
    id: EventId,
    /// What it happened to: `/agentworks/<aggregate>`, such as `/agentworks/card`.
    #[schemars(regex(pattern = "^/agentworks/[a-z_]+$"))]
    source: String,
    /// The event's name, such as `CardMoved`.
    #[serde(rename = "type")]
    name: &'a str,
    /// The stream: the aggregate's id as a bare UUID.
    subject: Uuid,
    /// When it was decided, UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    time: OffsetDateTime,
    /// The form of `data`: `application/json`.
    #[schemars(extend("const" = DATA))]
    datacontenttype: &'static str,
    /// The `$id` of the JSON Schema of `data`: `urn:agentworks:event:<type>:<version>`.
    #[schemars(regex(pattern = "^urn:agentworks:event:[A-Za-z]+:[1-9][0-9]*$"))]
    dataschema: String,
    /// Whose it is.
    tenant: TenantId,
    /// The part of the log with its own order.
    #[schemars(range(min = 0))]
    partition: i32,
    /// The place in the partition: 1, 2, 3 … without a gap, in commit order, over all tenants. In decimal.
    #[schemars(regex(pattern = "^[1-9][0-9]*$"))]
    position: String,
    /// The same place as the APIs take and give it: resume after it by `Last-Event-ID` or `after`.
    #[schemars(with = "String")]
    cursor: Cursor,
    /// The place in the stream: 1, 2, 3 … without a gap. In decimal.
    #[schemars(regex(pattern = "^[1-9][0-9]*$"))]
    streamversion: String,
    /// The version of `data`'s form.
    #[schemars(range(min = 1))]
    eventversion: u16,
    /// Who acted: `user:…`, `operator:…`, `agent:…` or `system:…`. Decided by the credential.
    actor: &'a Actor,
    /// The command that it follows from.
    command: CommandId,
    /// The same for everything that follows from one outside request.
    correlationid: Uuid,
    /// The event that caused the command, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<EventId>,
    /// W3C trace context of the command, when it was traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    /// When the log took it, UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    recordedtime: OffsetDateTime,
    /// SHA-256 over all that was known of the event before it was recorded, in a fixed framing, hexadecimal.
    digest: Hash,
    /// The stream's chain after this event: SHA-256 of the chain before it and the digest, hexadecimal.
    chain: Hash,
    /// What happened, as the bytes that were stored.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    data: &'a RawValue,
}

/// The `$id` of the schema of an event's data.
pub fn data_schema(event_type: &str, version: u16) -> String {
    format!("urn:agentworks:event:{event_type}:{version}")
}

/// What a header's value must not hold as it is: CloudEvents wants it percent-encoded.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

impl<'a> CloudEvent<'a> {
    /// The event as consumers get it.
    pub fn of(event: &'a Recorded) -> Self {
        let metadata = &event.metadata;
        Self {
            specversion: "1.0",
            id: event.id,
            source: format!("/agentworks/{}", event.aggregate_type),
            name: &event.event_type,
            subject: event.stream,
            time: metadata.occurred_at,
            datacontenttype: DATA,
            dataschema: data_schema(&event.event_type, event.event_version),
            tenant: metadata.tenant,
            partition: event.partition,
            position: event.position.to_string(),
            cursor: Cursor { partition: event.partition, position: event.position },
            streamversion: event.version.to_string(),
            eventversion: event.event_version,
            actor: &metadata.actor,
            command: metadata.command,
            correlationid: metadata.correlation,
            causationid: metadata.causation,
            traceparent: metadata.traceparent.as_deref(),
            recordedtime: event.recorded_at,
            digest: event.digest,
            chain: event.chain,
            data: &event.payload,
        }
    }

    /// The attributes in binary mode: names of headers, and their values.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        // A time of the log always has this form.
        let time = |time: OffsetDateTime| Cow::from(time.format(&Rfc3339).unwrap_or_default());
        let encoded = |text: &str| Cow::from(utf8_percent_encode(text, UNSAFE).to_string());
        let present = |name, value: Cow<'a, str>| Some((name, value));
        [
            present(header::SPEC_VERSION, self.specversion.into()),
            present(header::ID, self.id.to_string().into()),
            present(header::SOURCE, self.source.clone().into()),
            present(header::TYPE, self.name.into()),
            present(header::SUBJECT, self.subject.to_string().into()),
            present(header::TIME, time(self.time)),
            present(header::CONTENT_TYPE, self.datacontenttype.into()),
            present(header::DATA_SCHEMA, self.dataschema.clone().into()),
            present(header::TENANT, self.tenant.to_string().into()),
            present(header::PARTITION, self.partition.to_string().into()),
            present(header::CE_POSITION, self.position.clone().into()),
            present(header::CURSOR, self.cursor.to_string().into()),
            present(header::STREAM_VERSION, self.streamversion.clone().into()),
            present(header::EVENT_VERSION, self.eventversion.to_string().into()),
            present(header::ACTOR, encoded(&self.actor.to_string())),
            present(header::COMMAND, self.command.to_string().into()),
            present(header::CORRELATION, self.correlationid.to_string().into()),
            self.causationid.map(|id| (header::CAUSATION, id.to_string().into())),
            self.traceparent.map(|text| (header::CE_TRACEPARENT, encoded(text))),
            present(header::RECORDED_TIME, time(self.recordedtime)),
            present(header::DIGEST, self.digest.to_string().into()),
            present(header::CHAIN, self.chain.to_string().into()),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::Metadata;

    fn event() -> Recorded {
        Recorded {
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
                actor: Actor::Operator("Ada \"100 %\"\r\nÅngström".to_owned()),
                command: CommandId::from_uuid(Uuid::from_u128(4)),
                correlation: Uuid::from_u128(5),
                causation: Some(EventId::from_uuid(Uuid::from_u128(6))),
                traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
                occurred_at: time::macros::datetime!(2026-11-20 12:00:00.123456 UTC),
            },
            recorded_at: time::macros::datetime!(2026-11-20 12:00:01 UTC),
            digest: Hash([1; 32]),
            chain: Hash([255; 32]),
            payload: RawValue::from_string(r#"{"to": "done"}"#.to_owned()).unwrap(),
        }
    }

    #[test]
    fn binary_mode_has_the_attributes_of_structured_mode_and_no_other() {
        for (causation, traceparent) in [(true, true), (false, false)] {
            let mut event = event();
            event.metadata.causation = event.metadata.causation.filter(|_| causation);
            event.metadata.traceparent = event.metadata.traceparent.filter(|_| traceparent);
            let cloud = CloudEvent::of(&event);
            let Value::Object(mut structured) = serde_json::to_value(&cloud).unwrap() else { panic!("no object") };
            assert_eq!(structured.remove("data"), Some(serde_json::json!({ "to": "done" })));
            let headers: serde_json::Map<String, Value> = cloud
                .headers()
                .map(|(name, text)| {
                    assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{name}: {text}");
                    let plain = percent_encoding::percent_decode_str(&text).decode_utf8().unwrap().into_owned();
                    let name = name.strip_prefix("ce-").unwrap().to_owned();
                    let number = structured[&name].is_number();
                    (name, if number { plain.parse::<i32>().unwrap().into() } else { plain.into() })
                })
                .collect();
            assert_eq!(headers, structured);
        }
    }

    #[test]
    fn names_and_numbers_are_as_cloudevents_wants_them() {
        let event = Recorded { position: i64::MAX, version: i64::MAX, ..event() };
        let Value::Object(structured) = serde_json::to_value(CloudEvent::of(&event)).unwrap() else { panic!() };
        for (name, value) in structured {
            let tame = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            assert!(tame && (1..=20).contains(&name.len()), "{name}");
            let small = value.as_i64().is_none_or(|number| i32::try_from(number).is_ok());
            assert!(name == "data" || value.is_string() || small, "{name}: {value}");
        }
    }
}
