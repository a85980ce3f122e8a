//! The contracts for others, generated from the types that are stored and sent: `schemas/contracts`.
//!
//! * `events/<Event>.v<version>.json`: JSON Schema 2020-12 of each event's payload;
//! * `envelope.json`: what stands around a payload in the log;
//! * `cloud-event.json`: what consumers get, on whatever way;
//! * `asyncapi.yaml`: the events on the bus, in AsyncAPI 3.0;
//! * `pod/*.json`: what a pod and the control plane say to each other;
//! * `context.v<version>.json`: what a run leaves in its repository.
//!
//! The files are checked in, and a test fails when one is stale. The schema of an event's older version is no longer
//! generated, since its type is gone: it stays as it was when the version was released, see [`released`].

mod asyncapi;
pub mod compat;

use domain::registry::{self, Described};
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;

use crate::cloud_event::data_schema;
use crate::{CloudEvent, Recorded, context, pod};

/// Every generated file: its path below `schemas/contracts`, and its content. The same types give the same bytes.
pub fn all() -> Vec<(String, String)> {
    let mut files = vec![
        ("asyncapi.yaml".to_owned(), asyncapi::document()),
        of::<CloudEvent<'_>>("cloud-event.json", "urn:agentworks:cloud-event:1"),
        of::<Recorded>("envelope.json", "urn:agentworks:envelope:1"),
        of::<context::Context>(
            &format!("context.v{}.json", context::VERSION),
            &format!("urn:agentworks:context:{}", context::VERSION),
        ),
        of_pod::<pod::Boot>("boot"),
        of_pod::<pod::Job>("job"),
        of_pod::<pod::Heartbeat>("heartbeat"),
        of_pod::<pod::HeartbeatAnswer>("heartbeat-answer"),
        of_pod::<pod::Step>("step"),
        of_pod::<pod::Report>("report"),
    ];
    for Described { event, schema: payload, .. } in registry::events() {
        files.push((event_path(event.name, event.version), schema(&payload, &data_schema(event.name, event.version))));
    }
    files.sort();
    files
}

/// Paths below `schemas/contracts` of the schemas of older event versions. They are kept as they were released, never
/// generated and never changed.
pub fn released() -> Vec<String> {
    let older = |known: Described| (1..known.event.version).map(move |version| event_path(known.event.name, version));
    registry::events().into_iter().flat_map(older).collect()
}

/// The schema of an event in a version, whether present or past, as its file has it.
pub fn event_schema(name: &str, version: u16) -> Option<String> {
    let path = event_path(name, version);
    let past = RELEASED.iter().find(|(known, _)| *known == path).map(|(_, schema)| (*schema).to_owned());
    past.or_else(|| all().into_iter().find(|(known, _)| *known == path).map(|(_, schema)| schema))
}

/// A file of [`released`].
macro_rules! past {
    ($event:literal) => {
        (concat!("events/", $event, ".json"), include_str!(concat!("../../contracts/events/", $event, ".json")))
    };
}

/// The files of [`released`].
const RELEASED: &[(&str, &str)] = &[
    past!("CardBlocked.v1"),
    past!("CardCommented.v1"),
    past!("CardRunFinished.v1"),
    past!("ProjectCreated.v1"),
    past!("RunCancelled.v1"),
    past!("TenantSuspended.v1"),
];

fn event_path(name: &str, version: u16) -> String {
    format!("events/{name}.v{version}.json")
}

fn of<T: JsonSchema>(path: &str, id: &str) -> (String, String) {
    (path.to_owned(), schema(&schema_for!(T), id))
}

fn of_pod<T: JsonSchema>(name: &str) -> (String, String) {
    of::<T>(&format!("pod/{name}.json"), &format!("urn:agentworks:pod:{name}:1"))
}

/// The text of a schema's file.
fn schema(schema: &Schema, id: &str) -> String {
    let mut schema = schema.clone();
    schema.insert("$id".to_owned(), id.into());
    format!("{:#}\n", tidy(schema.to_value()))
}

/// The same value with its keys sorted, which a feature of `serde_json` that any crate may turn on would otherwise
/// undo, and with descriptions for people who do not read Rust.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            let tidied = |(key, value)| match (key, value) {
                (key, Value::String(text)) if key == "description" => (key, plain(&text).into()),
                (key, value) => (key, tidy(value)),
            };
            Value::Object(fields.into_iter().map(tidied).collect())
        }
        Value::Array(items) => items.into_iter().map(tidy).collect(),
        other => other,
    }
}

/// A documentation comment without the breaks of its lines and the brackets around links.
fn plain(comment: &str) -> String {
    let paragraphs: Vec<_> = comment.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    paragraphs.join("\n\n").replace("[`", "`").replace("`]", "`")
}
