//! What comes in: who asks, about what, and how it is said. Each extractor answers with a problem by itself; a handler
//! names the caller first, so that strangers learn nothing else.

use access::{Problem, Role, Verifier};
use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use domain::TenantId;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Shared;
use super::values::Members;
use crate::vault::Vault;
use crate::{Caller, Request};

/// The header that names a request, so that it can be repeated.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Characters of our own error texts that a client gets to see: they may quote what it sent.
const MAX_DETAIL: usize = 300;

impl FromRef<Shared> for Verifier {
    fn from_ref(api: &Shared) -> Self {
        api.verifier.clone()
    }
}

/// Who acts in a tenant of its own.
impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        let access::Caller { tenant, actor, role } = access::Caller::from_request_parts(parts, api).await?;
        match (role, tenant) {
            (Role::Owner, Some(tenant)) => Ok(Self { tenant, actor, role }),
            (Role::Auditor, _) => Err(Problem::forbidden("an auditor's token only reads")),
            _ => Err(Problem::forbidden("an operator's token belongs to no tenant; use a token of the tenant's owner")),
        }
    }
}

/// Who acts on a tenant: an operator on any, others on their own.
pub(super) fn on_tenant(caller: access::Caller, tenant: TenantId) -> Result<Caller, Problem> {
    match (caller.role, caller.tenant) {
        (Role::Auditor, _) => Err(Problem::forbidden("an auditor's token only reads")),
        (Role::Owner, own) if own != Some(tenant) => Err(Problem::not_found()),
        _ => Ok(Caller { tenant, actor: caller.actor, role: caller.role }),
    }
}

/// The ids in the path. A malformed one names nothing.
pub(super) struct Ids<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Ids<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        Path::from_request_parts(parts, api).await.map(|Path(ids)| Self(ids)).map_err(|_| Problem::not_found())
    }
}

/// A request's body, and what its headers say about it.
pub(super) struct Asked<T> {
    pub(super) body: T,
    pub(super) envelope: Envelope,
}

/// What makes a request the same when repeated, and what the caller has seen.
pub(super) struct Envelope {
    key: Option<String>,
    fingerprint: [u8; 32],
    expected_version: Option<i64>,
    traceparent: Option<String>,
    vault: Vault,
}

impl Envelope {
    /// The request, in the caller's own tenant.
    pub(super) fn request(self, caller: &Caller) -> Request {
        self.keyed(Some(caller.tenant), &caller.actor)
    }

    /// An operator's request outside all tenants under the id that it had before operators had pseudonyms.
    pub(super) fn once_keyed(&self, actor: &domain::Actor) -> Option<Request> {
        let key = self.key.as_ref().filter(|_| actor.operator_name().is_some())?;
        Some(Request::keyed(None, actor, key, self.fingerprint))
    }

    /// The request, in a tenant or outside all.
    pub(super) fn keyed(self, tenant: Option<TenantId>, actor: &domain::Actor) -> Request {
        let request = match self.key {
            // Under the pseudonym: the digest of a name could be guessed.
            Some(key) => Request::keyed(tenant, &self.vault.veil(actor), &key, self.fingerprint),
            None => Request { fingerprint: Some(self.fingerprint), ..Request::fresh() },
        };
        Request { expected_version: self.expected_version, traceparent: self.traceparent, ..request }
    }
}

impl<T: DeserializeOwned> FromRequest<Shared> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, api: &Shared) -> Result<Self, Problem> {
        let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
        let key = idempotency_key(&headers)?;
        let expected_version = if_match(&headers)?;
        let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let bytes = read(request, &headers, api.max_body_bytes).await?;
        if !bytes.is_empty() {
            content_type(&headers)?;
        }
        // No body at all says the same as an empty object.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        let Members(body) = parse(&bytes)?;
        let fingerprint = api.vault.fingerprint(&canonical(&method, &uri, &value));
        Ok(Self {
            body,
            envelope: Envelope { key, fingerprint, expected_version, traceparent, vault: api.vault.clone() },
        })
    }
}

/// The whole body. The router's body limit is `limit`.
async fn read(request: axum::extract::Request, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the request's body has more than {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).with("limit", limit)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "the request's body broke off"),
    })
}

fn content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" {
        return Ok(());
    }
    let detail = "the body must be JSON, sent with `Content-Type: application/json`";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type_unsupported", detail))
}

fn malformed(error: &serde_json::Error) -> Problem {
    let detail = format!("the body is not JSON: {}", cut(&error.to_string()));
    Problem::new(StatusCode::BAD_REQUEST, "json_malformed", detail)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        let field = if field == "." { String::new() } else { field };
        let said = cut(&error.inner().to_string());
        let detail = if field.is_empty() { said } else { format!("{field}: {said}") };
        Problem::new(StatusCode::BAD_REQUEST, "json_invalid", detail).with("field", field)
    })
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_DETAIL).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let single = headers.get_all(IDEMPOTENCY_KEY).iter().count() == 1;
    match value.to_str() {
        Ok(key) if single && (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "idempotency_key_invalid",
            "Idempotency-Key must be one value of 1 to 255 visible ASCII characters",
        )),
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let version = version.filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse().ok());
    match version {
        Some(version) => Ok(Some(version)),
        None => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "if_match_invalid",
            "If-Match must be one ETag that this API has given out, such as `\"3\"`",
        )),
    }
}

/// What a request says, in one form however its JSON is spaced and ordered.
fn canonical(method: &Method, uri: &Uri, body: &Value) -> Vec<u8> {
    let mut out = format!("{method} {} ", uri.path()).into_bytes();
    write(body, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // Sorted here, because the map keeps what order other crates have asked it to.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (name, member) in members {
                out.extend(Value::from(name.as_str()).to_string().bytes());
                out.push(b':');
                write(member, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        other => out.extend(other.to_string().bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_and_order_say_nothing() {
        let of =
            |text: &str| canonical(&Method::POST, &Uri::from_static("/v1/x"), &serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"a":1,"b":[true,"x"]}"#), of(r#" { "b" : [ true, "x" ], "a" : 1 } "#));
        assert_ne!(of(r#"{"a":"1"}"#), of(r#"{"a":1}"#));
        assert_ne!(of(r#"{"a":["x","y"]}"#), of(r#"{"a":["x,y"]}"#));
    }
}
