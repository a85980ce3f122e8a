//! Documents that clients name by their digest.
//!
//! Either any client may have the server remember its documents (Apollo's "automatic persisted queries": the extension
//! `persistedQuery` with the document's SHA-256), or the operator lists the only ones that are run.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::error::Refused;

/// Documents that are remembered at once.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_000).expect("not 0");
/// Bytes of a document that is remembered; larger ones are sent each time.
const LARGEST: usize = 16 * 1024;

type Digest = [u8; 32];

/// The only documents that are run: a persisted query manifest, as Apollo's and Relay's tools write it:
/// `{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id": SHA-256, "body": document}]}`.
#[derive(Debug, Clone)]
pub struct Operations(Arc<HashMap<Digest, Arc<str>>>);

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON of the form.
    #[error("it is not a persisted query manifest: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Of another kind.
    #[error("its `format` and `version` must be `apollo-persisted-query-manifest` and 1")]
    Format,
    /// An id is not its document's digest.
    #[error("the operation `{0}` must have the SHA-256 of its body as its id, in hexadecimal")]
    Id(String),
}

impl Operations {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is of another form, or an id is not its document's digest.
    pub fn parse(manifest: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Manifest {
            format: String,
            version: u32,
            operations: Vec<Operation>,
        }
        #[derive(Deserialize)]
        struct Operation {
            id: String,
            body: String,
        }
        let manifest: Manifest = serde_json::from_str(manifest)?;
        if manifest.format != "apollo-persisted-query-manifest" || manifest.version != 1 {
            return Err(ManifestError::Format);
        }
        let mut known = HashMap::new();
        for Operation { id, body } in manifest.operations {
            let digest = digest(&body);
            if parse(&id) != Some(digest) {
                return Err(ManifestError::Id(id));
            }
            known.insert(digest, body.into());
        }
        Ok(Self(Arc::new(known)))
    }
}

/// The documents of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Documents {
    /// Whatever clients send; what they had remembered.
    Open(Arc<Mutex<LruCache<Digest, Arc<str>>>>),
    /// These, and no others.
    Listed(Operations),
}

/// The extension `persistedQuery`.
#[derive(Deserialize)]
struct Persisted {
    version: u32,
    #[serde(rename = "sha256Hash")]
    sha256: String,
}

impl Documents {
    pub(crate) fn new(listed: Option<Operations>) -> Self {
        listed.map_or_else(|| Self::Open(Arc::new(Mutex::new(LruCache::new(REMEMBERED)))), Self::Listed)
    }

    /// The document that a request means, by its text, its digest, or both.
    ///
    /// # Errors
    /// `query_missing`, `persisted_query_invalid`, `persisted_query_not_found`, `operation_not_listed`.
    pub(super) fn resolve(
        &self,
        text: Option<String>,
        extensions: Option<&Map<String, Value>>,
    ) -> Result<String, Refused> {
        let named = extensions.and_then(|extensions| extensions.get("persistedQuery")).map(named).transpose()?;
        let text = text.filter(|text| named.is_none() || !text.is_empty());
        if let (Some(text), Some(named)) = (&text, &named)
            && digest(text) != *named
        {
            return Err(Refused::new("persisted_query_invalid", "`sha256Hash` is not the digest of `query`"));
        }
        match (self, text, named) {
            (_, None, None) => {
                Err(Refused::new("query_missing", "name the document: `query`, or its digest in `extensions`"))
            }
            (Self::Open(known), Some(text), named) => {
                if let Some(named) = named.filter(|_| text.len() <= LARGEST) {
                    known.lock().unwrap_or_else(PoisonError::into_inner).put(named, text.as_str().into());
                }
                Ok(text)
            }
            (Self::Open(known), None, Some(named)) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                // The text that Apollo's clients look for.
                let unknown = || Refused::new("persisted_query_not_found", "PersistedQueryNotFound");
                known.get(&named).map(|text| text.to_string()).ok_or_else(unknown)
            }
            (Self::Listed(listed), text, named) => {
                let wanted = named.or_else(|| text.as_deref().map(digest));
                let unknown =
                    || Refused::new("operation_not_listed", "this server runs only the operations on its list");
                wanted.and_then(|wanted| listed.0.get(&wanted)).map(|text| text.to_string()).ok_or_else(unknown)
            }
        }
    }
}

fn named(extension: &Value) -> Result<Digest, Refused> {
    let persisted = Persisted::deserialize(extension).ok().filter(|persisted| persisted.version == 1);
    persisted.and_then(|persisted| parse(&persisted.sha256)).ok_or_else(|| {
        let text = "`persistedQuery` must be {\"version\": 1, \"sha256Hash\": the document's SHA-256 in hexadecimal}";
        Refused::new("persisted_query_invalid", text)
    })
}

fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// A digest in hexadecimal.
fn parse(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "{ me { actor } }";
    const SHA: &str = "f4ea9a81e46cb6f0ce1f9b7cd1b7ba07acf7fd2a3e2c0d1c5b5c8ac2ae2a7d2b";

    fn sha() -> String {
        digest(TEXT).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn ask(documents: &Documents, text: Option<&str>, sha: Option<&str>) -> Result<String, &'static str> {
        let extensions = sha.map(|sha| json!({ "persistedQuery": { "version": 1, "sha256Hash": sha } }));
        let extensions = extensions.as_ref().and_then(Value::as_object);
        documents.resolve(text.map(str::to_owned), extensions).map_err(|refused| refused.code)
    }

    #[test]
    fn a_document_is_remembered_by_its_digest_and_by_no_other() {
        let documents = Documents::new(None);
        assert_eq!(ask(&documents, None, Some(&sha())), Err("persisted_query_not_found"));
        assert_eq!(ask(&documents, Some(TEXT), Some(SHA)), Err("persisted_query_invalid"));
        assert_eq!(ask(&documents, Some(TEXT), Some(&sha())), Ok(TEXT.to_owned()));
        assert_eq!(ask(&documents, None, Some(&sha())), Ok(TEXT.to_owned()));
        assert_eq!(ask(&documents, Some(""), Some(&sha())), Ok(TEXT.to_owned()));
        assert_eq!(ask(&documents, None, Some(SHA)), Err("persisted_query_not_found"));
        for wrong in ["", "zz", &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(ask(&documents, None, Some(wrong)), Err("persisted_query_invalid"), "{wrong}");
        }
        assert_eq!(ask(&documents, None, None), Err("query_missing"));
        // What was not asked to be remembered is not.
        let other = Documents::new(None);
        assert_eq!(ask(&other, Some(TEXT), None), Ok(TEXT.to_owned()));
        assert_eq!(ask(&other, None, Some(&sha())), Err("persisted_query_not_found"));
    }

    #[test]
    fn with_a_list_nothing_else_is_run() {
        let manifest = |id: &str| {
            let operation = json!({ "id": id, "name": "Me", "type": "query", "body": TEXT });
            json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [operation] }).to_string()
        };
        let documents = Documents::new(Some(Operations::parse(&manifest(&sha())).unwrap()));
        assert_eq!(ask(&documents, None, Some(&sha())), Ok(TEXT.to_owned()));
        assert_eq!(ask(&documents, Some(TEXT), None), Ok(TEXT.to_owned()));
        assert_eq!(ask(&documents, Some("{ me { role } }"), None), Err("operation_not_listed"));
        assert_eq!(ask(&documents, None, Some(SHA)), Err("operation_not_listed"));
        assert!(matches!(Operations::parse(&manifest(SHA)), Err(ManifestError::Id(_))));
        assert!(matches!(Operations::parse("{}"), Err(ManifestError::Malformed(_))));
        let other = json!({ "format": "x", "version": 1, "operations": [] }).to_string();
        assert!(matches!(Operations::parse(&other), Err(ManifestError::Format)));
    }
}
