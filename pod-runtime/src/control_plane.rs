//! The way back to the control plane: JSON requests that are repeated while it cannot be reached.
//!
//! Guarantees: an answer of 401, 403 or 410 is told apart as [`CallError::Over`], and nothing is asked after it; every
//! request carries the token and the trace context; waits are bounded. Never: follows a redirect or uses a proxy, either
//! of which could carry the token elsewhere.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use schemas::pod::{Heartbeat, HeartbeatAnswer, Job, Report, Step, path};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::Instant;

use crate::secret::PodToken;
use crate::telemetry::Handle;
use crate::text::head;

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Why the control plane did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// The attempt is over: stop at once.
    #[error("the attempt is over: the control plane answered {0}")]
    Over(u16),
    /// It will not do it, however often it is asked.
    #[error("the control plane refused {path} ({status}): {message}")]
    Refused { path: &'static str, status: u16, message: String },
    /// It may do it later.
    #[error("the control plane cannot be reached at {path}: {message}")]
    Unreachable { path: &'static str, message: String },
}

/// The control plane, as this attempt sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ControlPlane {
    base: String,
    token: PodToken,
    http: reqwest::Client,
    telemetry: Handle,
}

impl ControlPlane {
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub(crate) fn new(base: &str, token: &PodToken, telemetry: &Handle) -> Result<Self, reqwest::Error> {
        let http = client()?;
        Ok(Self { base: base.to_owned(), token: token.clone(), http, telemetry: telemetry.clone() })
    }

    /// One that is not there, for tests that do not need it.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        let token = PodToken::new("token".to_owned()).unwrap();
        let telemetry = Handle::silent(&token);
        Self::new("http://127.0.0.1:9", &token, &telemetry).unwrap()
    }

    /// The address of something below the control plane's.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The HTTP client, for long answers: it bounds connecting only.
    pub(crate) fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    pub(crate) fn token(&self) -> &PodToken {
        &self.token
    }

    /// The trace context of the moment, if any.
    pub(crate) fn traceparent(&self) -> Option<String> {
        self.telemetry.traceparent()
    }

    /// Fetches the job; asks for at most so long.
    pub(crate) async fn job(&self, within: Duration) -> Result<Job, CallError> {
        self.persist(within, || self.ask(Method::GET, path::JOB, None::<&()>)).await
    }

    /// Gives one sign of life.
    pub(crate) async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, CallError> {
        self.ask(Method::POST, path::HEARTBEAT, Some(heartbeat)).await
    }

    /// Tells a step, for at most so long.
    pub(crate) async fn step(&self, step: &Step, within: Duration) -> Result<(), CallError> {
        self.persist(within, || async { self.send(Method::POST, path::STEPS, Some(step)).await.map(drop) }).await
    }

    /// Tells the result until it is acknowledged, for at most so long.
    pub(crate) async fn report(&self, report: &Report, within: Duration) -> Result<(), CallError> {
        self.persist(within, || async { self.send(Method::POST, path::RESULT, Some(report)).await.map(drop) }).await
    }

    /// Repeats a request while the control plane cannot be reached.
    async fn persist<T, F>(&self, within: Duration, mut request: impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let deadline = Instant::now() + within;
        let mut pause = FIRST_PAUSE;
        loop {
            match request().await {
                Err(CallError::Unreachable { path, message }) if Instant::now() + pause < deadline => {
                    tracing::warn!(path, message, "the control plane cannot be reached, trying again");
                }
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &'static str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CallError> {
        let bytes = self.send(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Refused {
            path,
            status: 200,
            message: format!("unreadable answer: {error}"),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &'static str,
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, CallError> {
        let unreachable = |error: reqwest::Error| CallError::Unreachable { path, message: chain(&error) };
        let mut request = self.http.request(method, self.address(path)).timeout(REQUEST).headers(self.headers());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let message = self.token.redact(head(&String::from_utf8_lossy(&bytes), 500));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE => {
                Err(CallError::Over(status.as_u16()))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(CallError::Unreachable { path, message: format!("{status}: {message}") })
            }
            _ if status.is_server_error() => {
                Err(CallError::Unreachable { path, message: format!("{status}: {message}") })
            }
            _ => Err(CallError::Refused { path, status: status.as_u16(), message }),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // A `PodToken` fits into a header; a trace context that does not is left out.
        if let Ok(mut bearer) = HeaderValue::from_str(&self.token.bearer()) {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        if let Some(traceparent) = self.traceparent().and_then(|it| HeaderValue::from_str(&it).ok()) {
            headers.insert(HeaderName::from_static("traceparent"), traceparent);
        }
        headers
    }
}

#[expect(clippy::disallowed_methods, reason = "the pod's one HTTP client is built here")]
fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().connect_timeout(CONNECT).no_proxy().redirect(reqwest::redirect::Policy::none()).build()
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
