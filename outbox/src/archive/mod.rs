//! Ranges of the log that have left the database for an object store: a local folder, or any store that speaks S3.
//!
//! Guarantees: a range leaves only once it is full, every consumer is past it, and what was written has been read back and
//! found equal to what the database has and to the proofs; loads, reads and replays find its events where they are now, with
//! the same bytes. Never: a range half here and half there. A range is marked as archived before its table goes, and a
//! reader looks for the mark after it has looked into the tables.

mod file;
mod log;
mod shelf;
mod tool;

use std::fmt;

pub use file::FileError;
pub use tool::{Candidate, Done, archive, candidates, finish, owner};

use crate::{LogError, Place};

/// Where archived ranges are kept. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    place: Place,
    shelf: shelf::Shelf,
}

/// An archived range of the log.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Range {
    /// The part of the log.
    pub partition: i32,
    /// Its first position.
    pub first: i64,
    /// Its last position.
    pub last: i64,
    /// Its file, below the root of the store.
    pub archive: String,
    /// The SHA-256 of the file's table of contents, which has those of its parts.
    pub sha256: Vec<u8>,
}

/// Why something could not be archived, or an archived event not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The place cannot hold an archive.
    #[error("{0}: a web server cannot hold archived ranges; name a folder (`file://…`) or an object store (`s3://…`)")]
    Web(String),
    /// The store failed.
    #[error("the store of archived ranges failed: {0}")]
    Object(#[from] object_store::Error),
    /// A file is not what was written.
    #[error("the archived range in {path} is damaged: {source}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        source: FileError,
    },
    /// What was read back is not what the database has.
    #[error(
        "the file written for positions {first} to {last} of partition {partition} differs from the log at position {position}: {what}"
    )]
    Differs {
        /// The part of the log.
        partition: i32,
        /// The first position of the range.
        first: i64,
        /// The last.
        last: i64,
        /// Where it differs.
        position: i64,
        /// How.
        what: &'static str,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<sqlx::Error> for ArchiveError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

impl Archive {
    /// The archive in a folder or an object store.
    ///
    /// # Errors
    /// [`ArchiveError::Web`] when the place is another.
    pub fn new(place: Place) -> Result<Self, ArchiveError> {
        if place.is_web() {
            return Err(ArchiveError::Web(place.to_string()));
        }
        Ok(Self { place, shelf: shelf::Shelf::new() })
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("place", &self.place).finish_non_exhaustive()
    }
}
