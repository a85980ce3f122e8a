//! How both APIs say no: `application/problem+json`, RFC 9457, with a stable `code`.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Invalid, RefusalKind};
use serde_json::{Map, Value};

use crate::TokenError;

/// An answer that says no. Its text is for the client's eyes: never put internal text into it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    // Boxed, because results carry problems about and mostly carry none.
    members: Box<Map<String, Value>>,
}

impl Problem {
    /// `code` is stable and machine-readable, such as `lane_unknown`; `detail` is for people.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), members: Box::default() }
    }

    /// The same with another member, such as `field` or `current_version`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same, saying when to try again: the member `retry_after` and the header `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.with("retry_after", seconds)
    }

    /// What does not exist, or belongs to another tenant, which looks exactly the same.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such thing here")
    }

    /// The token's role does not allow it.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// A defect of ours; what it was is in the log.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong here; the error has been recorded",
        )
    }

    /// A part of the system cannot be reached; try again in `seconds`.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, seconds: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(seconds)
    }

    /// How a domain's refusal of this kind is answered.
    pub fn refused(kind: RefusalKind, code: &'static str, detail: impl Into<String>) -> Self {
        match kind {
            RefusalKind::NotFound => Self::not_found(),
            RefusalKind::Invalid => Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail),
            RefusalKind::Rule => Self::new(StatusCode::CONFLICT, code, detail),
            RefusalKind::Limit => Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).retry_after(10),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The text for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The whole as JSON.
    pub fn to_json(&self) -> Value {
        let mut members = Map::clone(&self.members);
        // No page explains each problem, so the type is the one that RFC 9457 gives to that case.
        members.insert("type".into(), "about:blank".into());
        members.insert("title".into(), self.status.canonical_reason().unwrap_or("Error").into());
        members.insert("status".into(), self.status.as_u16().into());
        members.insert("detail".into(), self.detail.as_str().into());
        members.insert("code".into(), self.code.as_ref().into());
        Value::Object(members)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Missing => "token_missing",
            TokenError::Malformed => "token_malformed",
            TokenError::Expired => "token_expired",
            TokenError::WrongSignature | TokenError::WrongAudience => "token_invalid",
        };
        Self::new(StatusCode::UNAUTHORIZED, code, error.to_string())
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let detail = invalid.to_string();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, invalid.code, detail).with("field", invalid.field)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.members.get("retry_after").and_then(Value::as_u64) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750: a request without a token gets the bare challenge.
            let challenge = match self.code.as_ref() {
                "token_missing" => r#"Bearer realm="agentworks""#,
                "token_expired" => r#"Bearer realm="agentworks", error="invalid_token", error_description="expired""#,
                _ => r#"Bearer realm="agentworks", error="invalid_token""#,
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
