//! Asks a repository what it has, as `git ls-remote` does.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use url::Url;

use super::advertisement::{Advertisement, Reader};
use crate::http::{Http, describe};

/// Longest time for the whole question.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that an answer may have.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Why a repository gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// There is no repository at this address, or none that the credential opens.
    #[error("there is no Git repository at this address")]
    NotFound,
    /// The credential was refused, or one is needed.
    #[error("the repository refused the credential, or needs one")]
    Unauthorized,
    /// It could not be asked.
    #[error("the repository cannot be reached: {0}")]
    Unreachable(String),
}

/// The address of `part` (such as `info/refs`) of the repository at `repository`.
pub(crate) fn part(repository: &str, part: &str) -> Option<Url> {
    Url::parse(&format!("{}/{part}", repository.trim_end_matches('/'))).ok()
}

/// How hosts take a token over HTTP.
pub(crate) fn authorization(token: &SecretString) -> HeaderValue {
    let pair = format!("x-access-token:{}", token.expose_secret());
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// What the repository at `url` has.
///
/// # Errors
/// Why it does not say.
pub(crate) async fn ask(http: &Http, url: &str, token: Option<&SecretString>) -> Result<Advertisement, AskError> {
    let unreachable = |problem: &str| AskError::Unreachable(problem.to_owned());
    let asked = tokio::time::timeout(TIMEOUT, read(http, url, token)).await;
    asked.map_err(|_| unreachable("no answer in time"))?
}

async fn read(http: &Http, url: &str, token: Option<&SecretString>) -> Result<Advertisement, AskError> {
    let unreachable = |problem: String| AskError::Unreachable(problem);
    let mut address = part(url, "info/refs").ok_or(AskError::NotFound)?;
    address.set_query(Some("service=git-upload-pack"));
    let mut request = http.git(Method::GET, address).map_err(|error| unreachable(error.to_string()))?;
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, authorization(token));
    }
    let answer = request.send().await.map_err(|error| unreachable(describe(&error)))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(AskError::Unauthorized),
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(AskError::NotFound),
        // A redirect that was not followed leads to another host: this is not where the repository is.
        status if status.is_redirection() => return Err(AskError::NotFound),
        status => return Err(unreachable(format!("it answered {status}"))),
    }
    let (mut reader, mut length) = (Reader::default(), 0);
    let mut body = answer.bytes_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| unreachable(describe(&error)))?;
        length += piece.len();
        if length > MAX_BYTES {
            return Err(unreachable("its list of branches is too long".to_owned()));
        }
        if reader.feed(&piece).map_err(|_| AskError::NotFound)? {
            break;
        }
    }
    reader.finish().map_err(|_| AskError::NotFound)
}
