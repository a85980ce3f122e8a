//! What differs between the vendors of models: paths, headers, the shape of an error, what is asked besides.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::provider::ProviderKind;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

/// Headers of a request that mean something to a vendor.
const REQUEST_HEADERS: [&str; 5] = ["content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta"];
/// Headers of an answer that mean something to a client.
const ANSWER_HEADERS: [&str; 4] = ["content-type", "retry-after", "retry-after-ms", "x-should-retry"];
/// And such that begin with one of these.
const ANSWER_PREFIXES: [&str; 4] = ["anthropic-", "x-ratelimit-", "openai-", "request-id"];
/// The version of the Anthropic API for clients that name none.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// The one path that a pod may call.
pub(super) fn path(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Anthropic => "v1/messages",
        ProviderKind::Openai => "v1/chat/completions",
    }
}

/// Where to call: below the tenant's own address, or the vendor's public one.
pub(super) fn url(kind: ProviderKind, base: Option<&str>) -> Option<Url> {
    let base = base.unwrap_or(match kind {
        ProviderKind::Anthropic => "https://api.anthropic.com",
        ProviderKind::Openai => "https://api.openai.com",
    });
    // Some vendors write their address with the version in it.
    let base = base.trim_end_matches('/');
    let base = base.strip_suffix("/v1").unwrap_or(base);
    Url::parse(&format!("{base}/{}", path(kind))).ok()
}

/// The headers of a call: the client's that matter, and the tenant's key in place of the pod's token.
pub(super) fn request_headers(kind: ProviderKind, from: &HeaderMap, key: &SecretString) -> Option<HeaderMap> {
    let mut headers = pick(from, |name| REQUEST_HEADERS.contains(&name));
    let (name, value) = match kind {
        ProviderKind::Anthropic => {
            let version = HeaderName::from_static("anthropic-version");
            headers.entry(version).or_insert(HeaderValue::from_static(ANTHROPIC_VERSION));
            (HeaderName::from_static("x-api-key"), key.expose_secret().to_owned())
        }
        ProviderKind::Openai => (header::AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
    };
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Some(headers)
}

/// The headers of an answer that a client may see.
pub(super) fn answer_headers(from: &HeaderMap) -> HeaderMap {
    pick(from, |name| ANSWER_HEADERS.contains(&name) || ANSWER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

fn pick(from: &HeaderMap, wanted: impl Fn(&str) -> bool) -> HeaderMap {
    from.iter().filter(|(name, _)| wanted(name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Asks for what metering needs. True when the body was changed.
pub(super) fn ask_for_usage(kind: ProviderKind, body: &mut Value) -> bool {
    let streams = body.get("stream").and_then(Value::as_bool) == Some(true);
    let (ProviderKind::Openai, true, Some(body)) = (kind, streams, body.as_object_mut()) else { return false };
    let options = body.entry("stream_options").or_insert_with(|| json!({}));
    if let Some(options) = options.as_object_mut() {
        options.insert("include_usage".to_owned(), Value::Bool(true));
    } else {
        *options = json!({ "include_usage": true });
    }
    true
}

/// An error in the vendor's own shape, so that its clients understand it.
pub(super) fn error(kind: ProviderKind, status: StatusCode, code: &str, message: &str) -> Response {
    let body = match kind {
        ProviderKind::Anthropic => json!({ "type": "error", "error": { "type": code, "message": message } }),
        ProviderKind::Openai => json!({ "error": { "message": message, "type": code, "param": null, "code": code } }),
    };
    (status, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_joined_without_doubling_the_version() {
        let joined = |kind, base| url(kind, base).unwrap().to_string();
        assert_eq!(joined(ProviderKind::Anthropic, None), "https://api.anthropic.com/v1/messages");
        assert_eq!(joined(ProviderKind::Anthropic, Some("http://127.0.0.1:1/x/")), "http://127.0.0.1:1/x/v1/messages");
        let chat = "https://host/v1/chat/completions";
        assert_eq!(joined(ProviderKind::Openai, Some("https://host")), chat);
        assert_eq!(joined(ProviderKind::Openai, Some("https://host/v1")), chat);
    }

    #[test]
    fn the_pods_token_is_replaced_by_the_tenants_key() {
        let from = HeaderMap::from_iter(
            [("x-api-key", "pod"), ("authorization", "Bearer pod"), ("anthropic-beta", "b"), ("cookie", "c")]
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        let key = SecretString::from("sk-tenant".to_owned());
        let anthropic = request_headers(ProviderKind::Anthropic, &from, &key).unwrap();
        assert_eq!(anthropic["x-api-key"], "sk-tenant");
        assert!(anthropic["x-api-key"].is_sensitive());
        assert_eq!((anthropic.get("authorization"), anthropic.get("cookie")), (None, None));
        assert_eq!(anthropic["anthropic-version"], ANTHROPIC_VERSION);
        assert_eq!(anthropic["anthropic-beta"], "b");
        let openai = request_headers(ProviderKind::Openai, &from, &key).unwrap();
        assert_eq!(openai["authorization"], "Bearer sk-tenant");
        assert_eq!(openai.get("x-api-key"), None);
    }

    #[test]
    fn only_an_openai_stream_is_asked_for_its_usage() {
        let mut body = json!({ "stream": true, "stream_options": { "x": 1 } });
        assert!(ask_for_usage(ProviderKind::Openai, &mut body));
        assert_eq!(body["stream_options"], json!({ "x": 1, "include_usage": true }));
        assert!(!ask_for_usage(ProviderKind::Openai, &mut json!({ "stream": false })));
        assert!(!ask_for_usage(ProviderKind::Anthropic, &mut json!({ "stream": true })));
    }
}
