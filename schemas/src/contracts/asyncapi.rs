//! The events on the bus, described in AsyncAPI 3.0.

use std::collections::BTreeMap;

use domain::registry::{self, Described};
use schemars::schema_for;
use serde::Serialize;
use serde_json::{Value, json};

use super::{event_path, tidy};
use crate::CloudEvent;
use crate::cloud_event::DATA;
use crate::subject::{self, header};

const ABOUT: &str = "\
Everything that happens in AgentWorks is an event. The log in Postgres is the truth; the bus tells of it soon.

**Form.** A message is a CloudEvents 1.0 event in binary mode: the body is the payload as the log holds it, the headers
say the rest (`cloud-event.json`): the tenant, the actor, the command, the place in the log, the schema of the payload.
`GET /v1/events` gives the same event in structured mode, with the same attributes in the same order.

**Order.** The log has partitions, and a tenant lives in one. In a partition, positions run 1, 2, 3 … without a gap, in
commit order, over all aggregates and tenants; the header `aw-position` has them. In a stream (one card, one run),
`version` runs 1, 2, 3 … likewise. Subscribe to `evt.<partition>.*` to see a partition's whole order.

**Repetition and loss.** The bus may repeat, reorder or lose messages, and may be deleted: it fills itself again from the
log. Keep the last position in the transaction that has your effects. A message at the next position: apply it. At that
one or before: drop it. Further on: something is missing; read it from the log, or wait until it comes again. Who has no
order to keep can tell repetitions by `ce-id`, which is also the `Nats-Msg-Id`.

**Replay.** The JetStream stream `EVENTS` holds the latest events up to a size; the log holds all of them, from position
1. Replaying gives the same events with the same ids and the same bytes.

**Versions.** A released version of an event never changes; a change of its payload is a new version. Old events stay in
the log as they were stored, so expect every version that is described here. A field may be absent unless its schema
requires it, and fields and events that you do not know are to be passed over.
";

#[derive(Serialize)]
struct Document {
    asyncapi: &'static str,
    info: Info,
    #[serde(rename = "defaultContentType")]
    content_type: &'static str,
    channels: BTreeMap<&'static str, Channel>,
    operations: BTreeMap<String, Operation>,
    components: Components,
}

#[derive(Serialize)]
struct Info {
    title: &'static str,
    version: &'static str,
    description: &'static str,
}

#[derive(Serialize)]
struct Channel {
    address: String,
    title: String,
    parameters: BTreeMap<&'static str, Reference>,
    messages: BTreeMap<String, Reference>,
}

#[derive(Serialize)]
struct Operation {
    action: &'static str,
    channel: Reference,
    summary: String,
}

#[derive(Serialize)]
struct Components {
    parameters: BTreeMap<&'static str, Parameter>,
    messages: BTreeMap<String, Message>,
    schemas: BTreeMap<&'static str, Value>,
}

#[derive(Serialize)]
struct Parameter {
    description: &'static str,
    default: &'static str,
}

#[derive(Serialize)]
struct Message {
    name: &'static str,
    title: String,
    summary: String,
    #[serde(rename = "contentType")]
    content_type: &'static str,
    headers: Value,
    payload: Payload,
}

#[derive(Serialize)]
struct Payload {
    #[serde(rename = "schemaFormat")]
    format: &'static str,
    schema: Reference,
}

#[derive(Serialize)]
struct Reference {
    #[serde(rename = "$ref")]
    to: String,
}

/// The text of `asyncapi.yaml`.
pub(super) fn document() -> String {
    let mut channels: BTreeMap<&'static str, Channel> = BTreeMap::new();
    let mut messages = BTreeMap::new();
    for known in registry::events() {
        let channel = channels.entry(known.aggregate).or_insert_with(|| channel(known.aggregate));
        for version in 1..=known.event.version {
            let key = format!("{}.v{version}", known.event.name);
            channel.messages.insert(key.clone(), to(format!("#/components/messages/{key}")));
            messages.insert(key, message(&known, version));
        }
    }
    let partition = Parameter { description: "The partition of the log, from 0. A tenant lives in one.", default: "0" };
    let document = Document {
        asyncapi: "3.0.0",
        info: Info { title: "AgentWorks events", version: "1", description: ABOUT },
        content_type: DATA,
        operations: channels.keys().map(|aggregate| (format!("{aggregate}Events"), operation(aggregate))).collect(),
        channels,
        components: Components {
            parameters: BTreeMap::from([("partition", partition)]),
            messages,
            schemas: BTreeMap::from([("headers", tidy(headers()))]),
        },
    };
    #[expect(clippy::expect_used, reason = "maps with text keys always have a YAML form")]
    serde_yaml_ng::to_string(&document).expect("the document has a YAML form")
}

fn to(reference: impl Into<String>) -> Reference {
    Reference { to: reference.into() }
}

fn channel(aggregate: &str) -> Channel {
    Channel {
        // The program's own subject, with the place of its partition left open.
        address: subject::event(0, aggregate).replacen('0', "{partition}", 1),
        title: format!("What happens to each {aggregate}"),
        parameters: BTreeMap::from([("partition", to("#/components/parameters/partition"))]),
        messages: BTreeMap::new(),
    }
}

fn operation(aggregate: &str) -> Operation {
    Operation {
        action: "send",
        channel: to(format!("#/channels/{aggregate}")),
        summary: format!("AgentWorks tells what happened to each {aggregate}, soon after the log has it."),
    }
}

fn message(known: &Described, version: u16) -> Message {
    let name = known.event.name;
    let about = known.schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let own_type = json!({ "properties": { header::TYPE: { "const": name } } });
    Message {
        name,
        title: format!("{name}, version {version}"),
        summary: super::plain(about.split("\n\n").next().unwrap_or_default()),
        content_type: DATA,
        headers: json!({ "allOf": [{ "$ref": "#/components/schemas/headers" }, own_type] }),
        payload: Payload {
            format: "application/schema+json;version=2020-12",
            schema: to(format!("./{}", event_path(name, version))),
        },
    }
}

/// The headers of every message: the attributes of [`CloudEvent`], each as a text, and ours beside them.
fn headers() -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    let mut properties = BTreeMap::from([
        ("Nats-Msg-Id".to_owned(), text("The event's id again: the server drops a repetition within two minutes.")),
        (header::TRACEPARENT.to_owned(), text("W3C trace context of the command, when it was traced.")),
        (header::POSITION.to_owned(), text("The position in the partition, in decimal: as `ce-position`.")),
        (
            header::MORE.to_owned(),
            json!({
                "type": "string",
                "const": "1",
                "description": "Present when the next position follows from the same command: apply both in one step, and \
                                nobody sees half of what a command did.",
            }),
        ),
        (
            header::ENVELOPE.to_owned(),
            json!({
                "type": "string",
                "contentMediaType": DATA,
                "description": "The log's own envelope as JSON: `envelope.json` without `payload`.",
            }),
        ),
    ]);
    let mut required = vec!["Nats-Msg-Id".to_owned(), header::POSITION.to_owned(), header::ENVELOPE.to_owned()];
    let attributes = schema_for!(CloudEvent<'_>).to_value();
    let always = attributes["required"].as_array().cloned().unwrap_or_default();
    for (name, attribute) in
        attributes["properties"].as_object().into_iter().flatten().filter(|(name, _)| *name != "data")
    {
        let header = format!("ce-{name}");
        if always.contains(&name.as_str().into()) {
            required.push(header.clone());
        }
        properties.insert(header, as_text(attribute));
    }
    json!({ "type": "object", "required": required, "properties": properties })
}

/// What a header says of an attribute: its value is a text, whatever the attribute is.
fn as_text(attribute: &Value) -> Value {
    let kept = ["const", "description", "format", "pattern"];
    let mut schema: serde_json::Map<_, _> = attribute.as_object().cloned().unwrap_or_default();
    if schema.get("type") == Some(&"integer".into()) {
        schema = serde_json::Map::from_iter([
            ("description".to_owned(), schema.remove("description").unwrap_or_default()),
            ("pattern".to_owned(), "^(0|[1-9][0-9]*)$".into()),
        ]);
    }
    schema.retain(|key, _| kept.contains(&key.as_str()));
    schema.insert("type".to_owned(), "string".into());
    Value::Object(schema)
}
