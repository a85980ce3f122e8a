//! Exports taken apart and packed again, by code of its own.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use agentworks::export;
use schemas::evidence::Hash;
use schemas::evidence::export::{Failure, Report};
use schemas::evidence::note::PublicKey;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The members of an export, in order.
#[derive(Clone)]
pub(crate) struct Packed(pub(crate) Vec<(String, Vec<u8>)>);

impl Packed {
    pub(crate) fn open(path: &Path) -> Self {
        let decoder = zstd::Decoder::new(std::fs::File::open(path).unwrap()).unwrap();
        let mut export = tar::Archive::new(decoder);
        let member = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        Self(export.entries().unwrap().map(member).collect())
    }

    /// A file of its own.
    pub(crate) fn pack(&self, folder: &Path) -> PathBuf {
        let path = folder.join("repacked.tar.zst");
        let encoder = zstd::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
        let mut builder = tar::Builder::new(encoder);
        for (name, content) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            builder.append_data(&mut header, name, &content[..]).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    /// What is found when it is packed and checked.
    pub(crate) fn check(&self, anchors: &[PublicKey]) -> Result<Report, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let verdict = export::check(&self.pack(folder.path()), anchors, None).unwrap();
        assert!(!verdict.as_written);
        verdict.outcome
    }

    pub(crate) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The chunk that an event is in, and its place in there.
    pub(crate) fn place(&mut self, index: usize) -> (usize, usize) {
        let mut left = index;
        for chunk in 0.. {
            let count = self.lines(chunk).len();
            if left < count {
                return (chunk, left);
            }
            left -= count;
        }
        unreachable!()
    }

    pub(crate) fn lines(&mut self, chunk: usize) -> Vec<String> {
        let text = String::from_utf8(self.member(&events(chunk)).clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn set_lines(&mut self, chunk: usize, lines: &[String]) {
        *self.member(&events(chunk)) = lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
    }

    /// Changes the lines of the chunk that an event is in.
    pub(crate) fn change(&mut self, index: usize, change: impl FnOnce(&mut Vec<String>, usize)) {
        let (chunk, nth) = self.place(index);
        let mut lines = self.lines(chunk);
        change(&mut lines, nth);
        self.set_lines(chunk, &lines);
    }

    /// Changes the records of the chunk that an event is in.
    pub(crate) fn change_records(&mut self, index: usize, change: impl FnOnce(&mut Vec<u8>, usize)) {
        let (chunk, nth) = self.place(index);
        change(self.member(&digests(chunk)), nth * 48);
    }
}

pub(crate) fn events(chunk: usize) -> String {
    format!("chunks/{chunk:08}/events.jsonl")
}

pub(crate) fn digests(chunk: usize) -> String {
    format!("chunks/{chunk:08}/digests.bin")
}

/// The digest of a line, as the documentation says that it is made.
pub(crate) fn digest(line: &str) -> Hash {
    fn uuid(text: &str) -> [u8; 16] {
        let text = text.split_once('_').map_or(text, |(_, text)| text);
        match text.parse::<uuid::Uuid>() {
            Ok(uuid) => uuid.into_bytes(),
            Err(_) => {
                let digits = "0123456789abcdefghjkmnpqrstvwxyz";
                text.chars().fold(0_u128, |all, c| (all << 5) | digits.find(c).unwrap() as u128).to_be_bytes()
            }
        }
    }
    let event: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| event[name].as_str().unwrap().as_bytes().to_vec();
    let id = |name: &str| event[name].as_str().map(|text| uuid(text).to_vec());
    let at = time::OffsetDateTime::parse(
        event["occurred_at"].as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    );
    let micros = i64::try_from(at.unwrap().unix_timestamp_nanos() / 1_000).unwrap();
    let payload = &line[line.find("\"payload\":").unwrap() + 10..line.len() - 1];
    let version = u16::try_from(event["event_version"].as_u64().unwrap()).unwrap();
    let fields = [
        Some(b"agentworks/event/1".to_vec()),
        id("tenant"),
        id("id"),
        Some(text("aggregate_type")),
        id("stream"),
        Some(event["version"].as_i64().unwrap().to_be_bytes().to_vec()),
        Some(text("event_type")),
        Some(version.to_be_bytes().to_vec()),
        Some(text("actor")),
        id("command"),
        id("correlation"),
        id("causation"),
        event["traceparent"].as_str().map(|text| text.as_bytes().to_vec()),
        Some(micros.to_be_bytes().to_vec()),
        Some(payload.as_bytes().to_vec()),
        Some(b"{}".to_vec()),
    ];
    let mut hash = Sha256::new();
    for field in fields {
        match field {
            Some(bytes) => {
                hash.update(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                hash.update(bytes);
            }
            None => hash.update([0xff; 4]),
        }
    }
    Hash(hash.finalize().into())
}

/// A line with another value in a field, which is a text without escapes or a number.
pub(crate) fn with(line: &str, field: &str, value: &str) -> String {
    let from = line.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
    let quoted = usize::from(line[from..].starts_with('"'));
    let end = line[from + quoted..].find(['"', ',', '}']).unwrap() + from + quoted;
    format!("{}{value}{}", &line[..from + quoted], &line[end..])
}

/// A line whose digest and chain fit its content again.
pub(crate) fn fitted(line: &str, previous: Hash) -> String {
    let digest = digest(line);
    let chain = Hash(Sha256::new().chain_update(previous.0).chain_update(digest.0).finalize().into());
    with(&with(line, "digest", &digest.to_string()), "chain", &chain.to_string())
}
