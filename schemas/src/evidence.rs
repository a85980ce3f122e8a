//! Evidence: how the log proves what it holds, as pure code that needs no database.
//!
//! # Digest and chain
//!
//! Every event carries two SHA-256 values, made before the append and stored beside it, so that an auditor can check an
//! export without us.
//!
//! `digest` covers everything that is known before the append. It is the SHA-256 of these fields in this order, each as
//! its length in bytes (unsigned 32 bits, big-endian) followed by its bytes; an absent field is the length `0xFFFF_FFFF`
//! alone. Integers are big-endian, UUIDs their 16 bytes, texts UTF-8, times microseconds since 1970 in 64 bits.
//!
//! | # | field | bytes |
//! |---|---|---|
//! | 1 | `agentworks/event/1` | text |
//! | 2 | tenant | 16 |
//! | 3 | event id | 16 |
//! | 4 | aggregate type | text |
//! | 5 | stream | 16 |
//! | 6 | version in the stream | signed 64 bits |
//! | 7 | event type | text |
//! | 8 | event version | unsigned 16 bits |
//! | 9 | actor | text |
//! | 10 | command | 16 |
//! | 11 | correlation | 16 |
//! | 12 | causation | 16 or absent |
//! | 13 | traceparent | text or absent |
//! | 14 | occurred at | signed 64 bits |
//! | 15 | payload, as stored | text |
//! | 16 | meta, as stored | text |
//!
//! `chain` is the SHA-256 of the 32 bytes of the stream's previous chain (zeros before the first event) followed by the
//! 32 bytes of the digest.

pub mod checkpoint;
pub mod export;
mod hash;
pub mod merkle;
pub mod note;

pub use hash::{Hash, HashError};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Metadata;

/// The first field of every digest.
const FRAME: &str = "agentworks/event/1";
/// The `meta` of every event so far: nothing beside the other fields.
pub const META: &str = "{}";

/// What a [`digest`] covers.
#[derive(Debug, Clone, Copy)]
pub struct Digested<'a> {
    /// Whose it is.
    pub tenant: Uuid,
    /// The event's id.
    pub id: Uuid,
    /// The aggregate, such as `card`.
    pub aggregate_type: &'a str,
    /// The aggregate's id.
    pub stream: Uuid,
    /// The place in the stream, from 1.
    pub version: i64,
    /// The event's name.
    pub event_type: &'a str,
    /// The version of the payload.
    pub event_version: u16,
    /// Who acted, as text.
    pub actor: &'a str,
    /// The command that it follows from.
    pub command: Uuid,
    /// The same for everything that follows from one outside request.
    pub correlation: Uuid,
    /// The event that caused the command, if one did.
    pub causation: Option<Uuid>,
    /// W3C trace context of the command.
    pub traceparent: Option<&'a str>,
    /// When the command was decided: microseconds since 1970.
    pub occurred_at: i64,
    /// The payload as stored.
    pub payload: &'a str,
    /// The rest as stored.
    pub meta: &'a str,
}

impl<'a> Digested<'a> {
    /// An event, from what is known of it besides what happened, with `actor` as text.
    pub fn of(metadata: &'a Metadata, actor: &'a str, event: What<'a>) -> Self {
        Self {
            tenant: metadata.tenant.uuid(),
            id: event.id,
            aggregate_type: event.aggregate_type,
            stream: event.stream,
            version: event.version,
            event_type: event.event_type,
            event_version: event.event_version,
            actor,
            command: metadata.command.uuid(),
            correlation: metadata.correlation,
            causation: metadata.causation.map(domain::Id::uuid),
            traceparent: metadata.traceparent.as_deref(),
            occurred_at: micros(metadata.occurred_at),
            payload: event.payload,
            meta: META,
        }
    }
}

/// What happened, and where in which stream.
#[derive(Debug, Clone, Copy)]
pub struct What<'a> {
    /// The event's id.
    pub id: Uuid,
    /// The aggregate, such as `card`.
    pub aggregate_type: &'a str,
    /// The aggregate's id.
    pub stream: Uuid,
    /// The place in the stream, from 1.
    pub version: i64,
    /// The event's name.
    pub event_type: &'a str,
    /// The version of the payload.
    pub event_version: u16,
    /// The payload as stored.
    pub payload: &'a str,
}

/// The digest of an event, framed as the module says.
pub fn digest(event: &Digested<'_>) -> Hash {
    let mut hash = Framed(Sha256::new());
    hash.field(FRAME.as_bytes());
    hash.field(event.tenant.as_bytes());
    hash.field(event.id.as_bytes());
    hash.field(event.aggregate_type.as_bytes());
    hash.field(event.stream.as_bytes());
    hash.field(&event.version.to_be_bytes());
    hash.field(event.event_type.as_bytes());
    hash.field(&event.event_version.to_be_bytes());
    hash.field(event.actor.as_bytes());
    hash.field(event.command.as_bytes());
    hash.field(event.correlation.as_bytes());
    hash.optional(event.causation.as_ref().map(|id| id.as_bytes().as_slice()));
    hash.optional(event.traceparent.map(str::as_bytes));
    hash.field(&event.occurred_at.to_be_bytes());
    hash.field(event.payload.as_bytes());
    hash.field(event.meta.as_bytes());
    Hash(hash.0.finalize().into())
}

/// The chain after an event: SHA-256(previous ‖ digest).
pub fn link(previous: &Hash, digest: &Hash) -> Hash {
    Hash(Sha256::new().chain_update(previous.0).chain_update(digest.0).finalize().into())
}

/// Microseconds since 1970, rounded down.
pub fn micros(at: OffsetDateTime) -> i64 {
    // A date of this type lies within ±9999 years: its microseconds fit into 64 bits.
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}

struct Framed(Sha256);

impl Framed {
    fn field(&mut self, bytes: &[u8]) {
        // Postgres holds no value of 4 GiB, so the length of one that is stored always fits.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1);
        self.0.update(length.to_be_bytes());
        self.0.update(bytes);
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.field(bytes),
            None => self.0.update(u32::MAX.to_be_bytes()),
        }
    }
}
