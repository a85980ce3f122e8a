//! The export of a tenant's log: one tar file that proves itself.
//!
//! | member | what it is |
//! |---|---|
//! | `about/README.md` | for the person who opens it |
//! | `about/keys.note` | the installation's public keys, newest first, in a note that each of them has signed |
//! | `about/manifest.json` | [`Manifest`] |
//! | `chunks/<n>/checkpoints.jsonl` | the signed checkpoints within the chunk, each as a JSON text a line |
//! | `chunks/<n>/commands.jsonl` | the fingerprints of the chunk's commands, so that deduplication survives: [`Command`] |
//! | `chunks/<n>/digests.bin` | 48 bytes an event: digest, position and time of recording (microseconds since 1970, each 64 bits, big-endian) |
//! | `chunks/<n>/events.jsonl` | the events in order, each the envelope ([`crate::Recorded`]) a line |
//! | `schemas/<Event>.v<n>.json` | the JSON Schema of each event version that is there |
//! | `seal.note` | the number of events, and the SHA-256 of every member but the events and itself, signed |
//!
//! `<n>` counts from 0 in eight digits. Members stand in the order of their names; chunk after chunk can be checked in a
//! stream. The digests are proven by the checkpoints, the events by their digests, and all else by the seal.

mod failure;
mod line;
mod order;
mod verify;

use domain::TenantId;
use domain::id::CommandId;
pub use failure::{Failure, Kind};
pub use line::Line;
pub use order::unpack;
use serde::{Deserialize, Serialize};
pub use verify::{Listener, Report, Verifier, Visitor, verify};

use super::Hash;

/// What [`Manifest::format`] says.
pub const FORMAT: &str = "agentworks/export/1";
/// The first line of the seal.
pub const SEAL: &str = "agentworks/seal/1";
/// Bytes of an event in `digests.bin`.
pub const RECORD: usize = 48;

/// `about/manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `agentworks/export/1`.
    pub format: String,
    /// What the installation calls itself.
    pub installation: String,
    /// Whose events.
    pub tenant: TenantId,
    /// How many.
    pub events: u64,
    /// The partition of the log that they were in.
    pub partition: i32,
}

/// A line of `commands.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Which command.
    pub command: CommandId,
    /// What it said, digested.
    pub fingerprint: Hash,
}

/// An event's record in `digests.bin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The event's digest.
    pub digest: Hash,
    /// Its position.
    pub position: i64,
    /// When it was recorded: microseconds since 1970.
    pub recorded_at: i64,
}

impl Record {
    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..32].copy_from_slice(&self.digest.0);
        bytes[32..40].copy_from_slice(&self.position.to_be_bytes());
        bytes[40..].copy_from_slice(&self.recorded_at.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD]) -> Self {
        let number = |from: usize| i64::from_be_bytes(std::array::from_fn(|i| bytes[from + i]));
        Self { digest: Hash(std::array::from_fn(|i| bytes[i])), position: number(32), recorded_at: number(40) }
    }
}

/// The name under which an installation seals a tenant's exports.
pub fn seal_origin(installation: &str, tenant: TenantId) -> String {
    format!("{installation}/{tenant}/export")
}

/// What a seal says of an export's members: a line each, in order.
pub fn seal_text(events: u64, members: &[(String, Hash)]) -> String {
    members.iter().fold(format!("{SEAL}\n{events}\n"), |text, (name, hash)| format!("{text}{hash} {name}\n"))
}

/// The name of a member of a chunk.
pub fn chunk_member(chunk: u64, name: &str) -> String {
    format!("chunks/{chunk:08}/{name}")
}

/// The name of a schema's member.
pub fn schema_member(event: &str, version: u16) -> String {
    format!("schemas/{event}.v{version}.json")
}
