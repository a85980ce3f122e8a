//! The ranges that have left the database, read from their files by code of its own, after the description of the format.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Findings;
use super::clients::uuid_of;
use super::log::hex;
use super::picture::{Event, Picture};

/// The last bytes of each file; before them, the length of the contents.
const MAGIC: &[u8] = b"AWRANGE1";
/// What the log keeps beside every payload.
const META: &str = "{}";

/// A range that is archived.
#[derive(Debug, Clone)]
pub(crate) struct Archived {
    /// Its row of `log.ranges`, and whether the database has its table still (`left`).
    pub(crate) row: Value,
    /// Its file.
    pub(crate) file: Vec<u8>,
}

/// The table of contents, as far as it is of interest.
#[derive(Deserialize)]
struct Contents {
    first: i64,
    last: i64,
    frames: Vec<(i64, Part)>,
}

#[derive(Deserialize)]
struct Part {
    offset: usize,
    length: usize,
    sha256: String,
}

/// A line of a frame.
#[derive(Deserialize)]
struct Line {
    partition: i32,
    position: i64,
    tenant: String,
    id: String,
    aggregate_type: String,
    stream: Uuid,
    version: i64,
    event_type: String,
    event_version: u16,
    actor: String,
    command: String,
    correlation: Uuid,
    causation: Option<String>,
    traceparent: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    occurred_at: OffsetDateTime,
    payload: Box<RawValue>,
    digest: String,
    chain: String,
}

pub(super) fn judge(picture: &Picture, findings: &mut Findings) {
    for archived in &picture.archives {
        let name = archived.row["archive"].as_str().unwrap_or_default();
        findings.check("archives", archived.row["left"] == false, || format!("{name} is in the database as well"));
        let (first, last) = (archived.row["first"].as_i64(), archived.row["last"].as_i64());
        match archived.events() {
            Err(what) => findings.add("archives", format!("{name}: {what}")),
            Ok(events) => {
                let held = (events.first().map(|event| event.position), events.last().map(|event| event.position));
                findings.check("archives", held == (first, last), || format!("{name} holds {held:?}"));
            }
        }
    }
}

impl Archived {
    /// Its events, or what is wrong with it.
    pub(crate) fn events(&self) -> Result<Vec<Event>, String> {
        let file = self.file.strip_suffix(MAGIC).ok_or("it does not end as it should")?;
        let (file, length) = file.split_last_chunk::<8>().ok_or("it is too short")?;
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|error| error.to_string())?;
        let begin = file.len().checked_sub(length).ok_or("its contents are longer than it is")?;
        let contents = &file[begin..];
        if self.row["sha256"] != hex(&Sha256::digest(contents)).as_str() {
            return Err("its contents are not those that the database knows".to_owned());
        }
        let contents: Contents = serde_json::from_slice(&opened(contents)?).map_err(|error| error.to_string())?;
        let mut events = Vec::new();
        for (first, part) in &contents.frames {
            let frame = file.get(part.offset..part.offset + part.length).ok_or("a frame is not there")?;
            if hex(&Sha256::digest(frame)).strip_prefix("\\x") != Some(&part.sha256) {
                return Err(format!("the frame from {first} is not what was written"));
            }
            for line in opened(frame)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
                events.push(line.event().ok_or("an id is none")?);
            }
        }
        let dense = events.iter().zip(contents.first..).all(|(event, position)| event.position == position);
        let whole = events.last().is_some_and(|event| event.position == contents.last);
        if dense && whole { Ok(events) } else { Err("its positions are not those that it tells of".to_owned()) }
    }
}

impl Line {
    fn event(self) -> Option<Event> {
        let occurred_us = i64::try_from(self.occurred_at.unix_timestamp_nanos() / 1_000).ok()?;
        Some(Event {
            partition: self.partition,
            position: self.position,
            tenant: uuid_of(&self.tenant)?,
            id: uuid_of(&self.id)?,
            aggregate_type: self.aggregate_type,
            stream: self.stream,
            version: self.version,
            event_type: self.event_type,
            event_version: self.event_version,
            actor: self.actor,
            command: uuid_of(&self.command)?,
            correlation: self.correlation,
            causation: match &self.causation {
                Some(id) => Some(uuid_of(id)?),
                None => None,
            },
            traceparent: self.traceparent,
            // The database writes no `Z`.
            occurred_at: self.occurred_at.format(&Rfc3339).ok()?.replace('Z', "+00:00"),
            occurred_us,
            payload: self.payload.get().to_owned(),
            meta: META.to_owned(),
            digest: format!("\\x{}", self.digest),
            chain: format!("\\x{}", self.chain),
        })
    }
}

fn opened(compressed: &[u8]) -> Result<Vec<u8>, String> {
    zstd::decode_all(compressed).map_err(|error| error.to_string())
}
