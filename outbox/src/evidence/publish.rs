//! Places outside where the platform's checkpoints are put: a folder, a web server, an object store.
//!
//! The newest is at `checkpoint`, each one for good at `checkpoints/<size>`.

use std::fmt;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use url::Url;

/// A place, by its URL: `file:///…`, `http(s)://…` (PUT and GET), or `s3://bucket/prefix`.
pub struct Place {
    url: Url,
    store: Box<dyn ObjectStore>,
    folder: Path,
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct PlaceError {
    place: String,
    reason: String,
}

impl Place {
    /// The place at a URL. `options` are those of the store, such as `aws_access_key_id`, `aws_endpoint` or `allow_http`.
    ///
    /// # Errors
    /// When there is no store for such a URL, or an option is unknown to it.
    pub fn new(url: &str, options: &[(String, String)]) -> Result<Self, PlaceError> {
        let error = |reason: String| PlaceError { place: url.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|source| error(source.to_string()))?;
        if parsed.scheme() == "file" {
            let folder = parsed.to_file_path().map_err(|()| error("not a path of this machine".into()))?;
            std::fs::create_dir_all(&folder).map_err(|source| error(source.to_string()))?;
        }
        let options = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (store, folder) =
            object_store::parse_url_opts(&parsed, options).map_err(|source| error(source.to_string()))?;
        Ok(Self { url: parsed, store, folder })
    }

    /// The newest checkpoint that stands there. `None` when there is none, or the place does not give out what it has.
    pub(super) async fn read(&self) -> Result<Option<String>, PlaceError> {
        match self.store.get(&self.at("checkpoint")).await {
            Ok(found) => {
                let bytes = found.bytes().await.map_err(|source| self.error(&source))?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.error(&source)),
        }
    }

    /// Puts a checkpoint there: first for good, then as the newest.
    pub(super) async fn write(&self, size: u64, note: &str) -> Result<(), PlaceError> {
        for name in [format!("checkpoints/{size:020}"), "checkpoint".to_owned()] {
            let payload = PutPayload::from(note.to_owned().into_bytes());
            self.store.put(&self.at(&name), payload).await.map_err(|source| self.error(&source))?;
        }
        Ok(())
    }

    fn at(&self, name: &str) -> Path {
        name.split('/').fold(self.folder.clone(), |path, part| path.join(part))
    }

    fn error(&self, source: &object_store::Error) -> PlaceError {
        PlaceError { place: self.to_string(), reason: source.to_string() }
    }
}

impl fmt::Display for Place {
    /// Without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        // A URL that can hold no password needs none taken out.
        let _ = url.set_password(None);
        url.fmt(f)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}
