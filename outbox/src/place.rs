//! Places outside of the database: a folder, a web server, an object store.

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

/// A place, by its URL: `file:///…`, `http(s)://…` (PUT and GET), or `s3://bucket/prefix`. Cheap to clone. Shown without a
/// password.
#[derive(Clone)]
pub struct Place {
    url: Url,
    pub(crate) store: Arc<dyn ObjectStore>,
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
    /// The place at a URL; a folder is made when there is none. `options` are those of the store, such as
    /// `aws_access_key_id`, `aws_endpoint` or `allow_http`.
    ///
    /// # Errors
    /// When there is no store for such a URL, or an option is unknown to it.
    pub fn new(url: &str, options: &[(String, String)]) -> Result<Self, PlaceError> {
        let parsed = Url::parse(url)
            .map_err(|source| PlaceError { place: "a place".to_owned(), reason: format!("not a URL: {source}") })?;
        // What says no may repeat the URL.
        let error = |reason: String| {
            let place = shown(&parsed);
            PlaceError { reason: reason.replace(parsed.as_str(), &place), place }
        };
        if parsed.scheme() == "file" {
            let folder = parsed.to_file_path().map_err(|()| error("not a path of this machine".into()))?;
            std::fs::create_dir_all(&folder).map_err(|source| error(source.to_string()))?;
        }
        let options = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (store, folder) =
            object_store::parse_url_opts(&parsed, options).map_err(|source| error(source.to_string()))?;
        Ok(Self { url: parsed, store: store.into(), folder })
    }

    /// Whether it is a web server, which takes and gives and does no more.
    pub(crate) fn is_web(&self) -> bool {
        self.url.scheme().starts_with("http")
    }

    /// What stands there under a name.
    pub(crate) fn at(&self, name: &str) -> Path {
        name.split('/').fold(self.folder.clone(), |path, part| path.join(part))
    }

    /// What went wrong there.
    pub(crate) fn error(&self, reason: &impl fmt::Display) -> PlaceError {
        PlaceError { place: self.to_string(), reason: reason.to_string() }
    }
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // A URL that can hold no password needs none taken out.
    let _ = url.set_password(None);
    url.to_string()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.url))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let refused = Place::new("gopher://ada:hush@host/x", &[]).unwrap_err();
        assert!(refused.to_string().contains("gopher://ada@host"), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("hush"), "{refused:?}");
        let malformed = Place::new("hush hush", &[]).unwrap_err();
        assert!(!malformed.to_string().contains("hush"), "{malformed}");
    }
}
