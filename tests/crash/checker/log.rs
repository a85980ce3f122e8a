//! The log by itself: order, digests, chains, and what is kept beside the events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Findings;
use super::picture::{Event, Picture};

/// What is known of a stream from its events.
struct Stream<'a> {
    last: &'a Event,
    chain: [u8; 32],
}

pub(super) fn judge(picture: &Picture, findings: &mut Findings) {
    positions(picture, findings);
    let streams = streams(picture, findings);
    known_streams(picture, &streams, findings);
    commands(picture, findings);
}

fn positions(picture: &Picture, findings: &mut Findings) {
    let mut heads: BTreeMap<i32, i64> = BTreeMap::new();
    for event in &picture.events {
        let head = heads.entry(event.partition).or_default();
        findings.check("positions", event.position == *head + 1, || format!("{} follows on {head}", event.place()));
        *head = event.position;
    }
    for (partition, clock) in (0..).zip(&picture.clock) {
        let head = heads.get(&partition).copied().unwrap_or(0);
        findings.check("positions", head == *clock, || {
            format!("partition {partition}: the clock says {clock}, the last event is {head}")
        });
    }
}

fn streams<'a>(picture: &'a Picture, findings: &mut Findings) -> BTreeMap<Uuid, Stream<'a>> {
    let mut ids = BTreeSet::new();
    let mut streams: BTreeMap<Uuid, Stream<'a>> = BTreeMap::new();
    for event in &picture.events {
        findings
            .check("ids", ids.insert(event.id), || format!("{} has the id of another: {}", event.place(), event.id));
        let before = streams.get(&event.stream);
        let (version, chain) = before.map_or((0, [0; 32]), |stream| (stream.last.version, stream.chain));
        findings.check("versions", event.version == version + 1, || format!("{} follows on v{version}", event.place()));
        if let Some(Stream { last, .. }) = before {
            let same = (last.tenant, &last.aggregate_type, last.partition)
                == (event.tenant, &event.aggregate_type, event.partition);
            findings.check("versions", same, || format!("{} and {} are of one stream", event.place(), last.place()));
        }
        let digest = digest(event);
        findings.check("digests", event.digest == hex(&digest), || event.place());
        let chain: [u8; 32] = Sha256::new().chain_update(chain).chain_update(digest).finalize().into();
        findings.check("chains", event.chain == hex(&chain), || event.place());
        streams.insert(event.stream, Stream { last: event, chain });
    }
    streams
}

/// The framing as it is documented: each field as its length and its bytes.
fn digest(event: &Event) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut field = |bytes: Option<&[u8]>| {
        let length = bytes.map_or(u32::MAX, |bytes| u32::try_from(bytes.len()).expect("short"));
        hash.update(length.to_be_bytes());
        hash.update(bytes.unwrap_or_default());
    };
    field(Some(b"agentworks/event/1"));
    field(Some(event.tenant.as_bytes()));
    field(Some(event.id.as_bytes()));
    field(Some(event.aggregate_type.as_bytes()));
    field(Some(event.stream.as_bytes()));
    field(Some(&event.version.to_be_bytes()));
    field(Some(event.event_type.as_bytes()));
    field(Some(&event.event_version.to_be_bytes()));
    field(Some(event.actor.as_bytes()));
    field(Some(event.command.as_bytes()));
    field(Some(event.correlation.as_bytes()));
    field(event.causation.as_ref().map(|id| id.as_bytes().as_slice()));
    field(event.traceparent.as_ref().map(String::as_bytes));
    field(Some(&event.occurred_us.to_be_bytes()));
    field(Some(event.payload.as_bytes()));
    field(Some(event.meta.as_bytes()));
    hash.finalize().into()
}

/// As the database writes bytes in JSON.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn known_streams(picture: &Picture, streams: &BTreeMap<Uuid, Stream<'_>>, findings: &mut Findings) {
    let mut known = BTreeSet::new();
    for row in &picture.streams {
        let Some(stream) = id(row, "stream") else { continue };
        known.insert(stream);
        let Some(Stream { last, chain }) = streams.get(&stream) else {
            findings.add("streams", format!("{stream} has no event"));
            continue;
        };
        let right = id(row, "tenant") == Some(last.tenant)
            && row["type"] == last.aggregate_type.as_str()
            && row["version"] == last.version
            && row["position"] == last.position
            && row["chain"] == hex(chain).as_str();
        findings.check("streams", right, || format!("{row}, but its last event is {}", last.place()));
    }
    for (stream, Stream { last, .. }) in streams.iter().filter(|(stream, _)| !known.contains(*stream)) {
        findings.add("streams", format!("{stream} is not known, though there is {}", last.place()));
    }
}

fn commands(picture: &Picture, findings: &mut Findings) {
    let mut last: BTreeMap<(Uuid, Uuid), &Event> = BTreeMap::new();
    for event in &picture.events {
        if let Some(before) = last.insert((event.tenant, event.command), event) {
            let follows = before.stream == event.stream
                && before.position + 1 == event.position
                && before.version + 1 == event.version;
            findings
                .check("commands", follows, || format!("{} and {} are of one command", before.place(), event.place()));
        }
    }
    let mut known = BTreeSet::new();
    for row in &picture.commands {
        let (Some(tenant), Some(command)) = (id(row, "tenant"), id(row, "command")) else { continue };
        known.insert((tenant, command));
        let right = last.get(&(tenant, command)).is_some_and(|event| {
            id(row, "stream") == Some(event.stream)
                && row["version"] == event.version
                && row["position"] == event.position
        });
        findings.check("commands", right, || format!("{row} is not what the log has"));
    }
    for (key, event) in last.iter().filter(|(key, _)| !known.contains(*key)) {
        findings.add("commands", format!("{} is not known, though there is {}", key.1, event.place()));
    }
}

pub(super) fn id(row: &Value, key: &str) -> Option<Uuid> {
    row[key].as_str()?.parse().ok()
}
