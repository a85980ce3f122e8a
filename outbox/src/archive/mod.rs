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
use std::sync::Arc;

pub use file::FileError;
use object_store::ObjectStore;
use object_store::path::Path;
pub use tool::{Candidate, Done, archive, candidates, finish, owner};
use url::Url;

use crate::LogError;

/// Where archived ranges are kept. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    /// Below what the files stand.
    root: Path,
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
    /// The address names no store that we can use.
    #[error("`{url}` is no store for archived ranges: {reason}")]
    Store {
        /// The address, without its credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
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
    /// A store by its address: `file:///folder`, or `s3://bucket/prefix` with `options` such as `aws_access_key_id`,
    /// `aws_secret_access_key`, `aws_endpoint`, `aws_region`, `aws_allow_http`.
    ///
    /// # Errors
    /// [`ArchiveError::Store`] when the address or an option makes no sense.
    pub fn open<'a>(
        address: &str,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ArchiveError> {
        let refused = |reason: String| ArchiveError::Store { url: without_credentials(address), reason };
        let url = Url::parse(address).map_err(|error| refused(error.to_string()))?;
        if !["file", "s3"].contains(&url.scheme()) {
            return Err(refused("an address begins with `file://` or `s3://`".to_owned()));
        }
        if let Ok(folder) = url.to_file_path() {
            std::fs::create_dir_all(folder).map_err(|error| refused(error.to_string()))?;
        }
        let (store, root) = object_store::parse_url_opts(&url, options).map_err(|error| refused(error.to_string()))?;
        Ok(Self { store: store.into(), root, shelf: shelf::Shelf::new() })
    }

    fn path(&self, below: &str) -> Path {
        below.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }
}

/// The address, for messages.
fn without_credentials(address: &str) -> String {
    match Url::parse(address) {
        Ok(mut url) => {
            let _no_authority = url.set_username("").and_then(|()| url.set_password(None));
            url.to_string()
        }
        Err(_) => address.chars().take(100).collect(),
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("root", &self.root).finish_non_exhaustive()
    }
}
