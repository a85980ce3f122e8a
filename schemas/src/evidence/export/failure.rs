//! What is wrong with an export.

use std::fmt;

use domain::EventId;
use serde::Serialize;

use crate::evidence::Hash;

/// What was done to an export, or happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Something was changed.
    Edited,
    /// Something is not there.
    Missing,
    /// Something is there that was not.
    Inserted,
    /// Events stand in another order.
    Swapped,
    /// The end is not there.
    Truncated,
    /// An event of another tenant.
    Foreign,
    /// A signature of a key that is not the installation's.
    UnknownKey,
    /// No program wrote it like this: bytes were damaged, or it is something else.
    Damaged,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edited => "edited",
            Self::Missing => "missing",
            Self::Inserted => "inserted",
            Self::Swapped => "swapped",
            Self::Truncated => "truncated",
            Self::Foreign => "foreign",
            Self::UnknownKey => "unknown key",
            Self::Damaged => "damaged",
        })
    }
}

/// The first thing that is wrong with an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What kind of thing.
    pub kind: Kind,
    /// The member of the export.
    pub member: String,
    /// The event's place among the tenant's events, from 0.
    pub index: Option<u64>,
    /// Its position in the log.
    pub position: Option<i64>,
    /// Its id.
    pub event: Option<EventId>,
    /// When it is not sure which event: all before this index are as they were signed, and it is one from there on.
    pub since: Option<u64>,
    /// In words.
    pub what: String,
}

impl Failure {
    /// One in a member, at no event in particular.
    pub fn new(kind: Kind, member: &str, what: impl Into<String>) -> Self {
        let member = member.to_owned();
        Self { kind, member, index: None, position: None, event: None, since: None, what: what.into() }
    }

    pub(super) fn at(self, index: u64) -> Self {
        Self { index: Some(index), ..self }
    }

    /// A member that cannot be read to its end.
    pub(super) fn unreadable(member: &str, error: &std::io::Error) -> Self {
        let kind = if error.kind() == std::io::ErrorKind::UnexpectedEof { Kind::Truncated } else { Kind::Damaged };
        Self::new(kind, member, format!("it cannot be read: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(index) = self.index {
            write!(f, " at index {index}")?;
        }
        if let Some(position) = self.position {
            write!(f, ", position {position}")?;
        }
        if let Some(event) = self.event {
            write!(f, ", event {event}")?;
        }
        write!(f, ", in {}: {}", self.member, self.what)
    }
}

/// The start of a hash, for people.
pub(super) fn short(hash: &Hash) -> String {
    hash.to_string().chars().take(12).collect()
}
