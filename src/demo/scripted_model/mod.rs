//! A scripted model behind the two vendors' protocols over HTTP: what a model vendor is to AgentWorks, without a key.
//!
//! For: the demo on a machine without a vendor's key, and whole-system tests, which steer it by what they write on the
//! card (the module `script` lists the steps) and make it misbehave (see [`Fault`]).
//! Guarantees: requests are checked and answered in the vendors' shapes, streamed and not; the same request gets the same
//! answer with the same token counts; every request is recorded; what it reports about a repository is what the tools
//! answered.
//! Never: pretends to understand a task that it has no script for, or listens beyond the loopback address.

mod anthropic;
mod conversation;
mod faults;
mod openai;
mod plays;
mod protocol;
mod script;
mod test_command;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use thiserror::Error;

use super::local_server::LocalServer;
use conversation::{Conversation, Reply, tokens};
pub use faults::Fault;
use faults::{FaultQueue, Gates};
use protocol::ApiError;
pub use protocol::Protocol;
use script::{Answer, Before};

/// The name of the scripted model.
pub const MODEL: &str = "scripted-1";

/// The largest request, as the vendor has it.
const MAX_REQUEST_BYTES: usize = 32 << 20;

/// The scripted model could not be started.
#[derive(Debug, Error)]
#[error("scripted model: {0}")]
pub struct ScriptedModelError(#[from] std::io::Error);

/// One request to the model, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The protocol that it came by.
    pub protocol: Protocol,
    /// The body; null if it was no JSON.
    pub body: Value,
    /// The first user message; empty if the request was refused.
    pub task: String,
    /// How many turns the model had had in this conversation.
    pub turn: usize,
    /// The status of the answer; 0 as long as there is none.
    pub status: u16,
    /// The tokens that the answer tells for the request.
    pub input_tokens: usize,
    /// The tokens that the answer tells for itself.
    pub output_tokens: usize,
    /// Whether the answer was handed over to the last byte.
    pub complete: bool,
}

/// A running scripted model.
#[derive(Debug)]
pub struct ScriptedModel {
    shared: Arc<Shared>,
    server: LocalServer,
}

#[derive(Debug)]
struct Shared {
    key: String,
    faults: Mutex<FaultQueue>,
    gates: Gates,
    requests: Mutex<Vec<Request>>,
}

impl ScriptedModel {
    /// Starts a model that takes this key, on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(api_key: &str) -> Result<Self, ScriptedModelError> {
        let shared = Arc::new(Shared {
            key: api_key.to_owned(),
            faults: Mutex::default(),
            gates: Gates::default(),
            requests: Mutex::default(),
        });
        let router = Router::new()
            .route("/v1/messages", post(messages))
            .route("/v1/chat/completions", post(chat_completions))
            .route("/v1/models", get(models))
            .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
            .with_state(Arc::clone(&shared));
        let server = LocalServer::start("scripted-model", router)?;
        Ok(Self { shared, server })
    }

    /// The address before `/v1/…`, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Misbehaves in the next good requests. Faults are used up in order, before those in scripts.
    pub fn inject(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Lets all answers through that wait, or will wait, at this gate.
    pub fn release(&self, gate: &str) {
        self.shared.gates.set(gate, true);
    }

    /// Closes a gate again.
    pub fn close(&self, gate: &str) {
        self.shared.gates.set(gate, false);
    }

    /// Waits until at least `count` answers in all have come to this gate, released or not.
    pub async fn wait_until_held(&self, gate: &str, count: usize) {
        self.shared.gates.arrived(gate, count).await;
    }

    /// All requests so far, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// Lets faults in scripts happen again that have been used up.
    pub fn forget_used_faults(&self) {
        lock(&self.shared.faults).forget();
    }

    /// Stops the model and cuts every connection.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}

type Taken = Result<Bytes, BytesRejection>;

async fn messages(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Taken) -> Response {
    handle(shared, Protocol::Anthropic, &headers, body).await
}

async fn chat_completions(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Taken) -> Response {
    handle(shared, Protocol::OpenAi, &headers, body).await
}

async fn models(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let protocol = match headers.contains_key("anthropic-version") {
        true => Protocol::Anthropic,
        false => Protocol::OpenAi,
    };
    match protocol.authorize(&headers, &shared.key) {
        Ok(()) => answer(200, 0, "application/json", Body::from(protocol.models(MODEL).to_string())),
        Err(error) => refuse(protocol, &error, 0, None),
    }
}

async fn handle(shared: Arc<Shared>, protocol: Protocol, headers: &HeaderMap, body: Taken) -> Response {
    let number = shared.begin(protocol);
    let read = || -> Result<(Conversation, Answer, usize), ApiError> {
        protocol.authorize(headers, &shared.key)?;
        let bytes = body.map_err(|error| ApiError::new(error.status().as_u16(), error.body_text()))?;
        let body: Value = serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::new(400, format!("The request body is not valid JSON: {error}")))?;
        shared.note(number, |request| request.body = body.clone());
        let conversation = protocol.parse(headers, &body)?;
        let answer = script::next(&conversation).map_err(|error| ApiError::new(400, error.to_string()))?;
        Ok((conversation, answer, tokens(bytes.len())))
    };
    let (conversation, answer, input_tokens) = match read() {
        Ok(read) => read,
        Err(error) => {
            shared.note(number, |request| request.status = error.status);
            return refuse(protocol, &error, number, None);
        }
    };
    shared.note(number, |request| {
        request.task.clone_from(&conversation.task);
        request.turn = conversation.turns;
    });
    let fault = shared.before(&conversation, &answer.before).await;
    if let Some(status) = fault.status {
        shared.note(number, |request| request.status = status);
        if fault.first_byte_delay_ms > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(fault.first_byte_delay_ms)).await;
        }
        return refuse(protocol, &ApiError::of_status(status), number, fault.retry_after);
    }
    let mut reply = answer.reply;
    fault.distort(&mut reply);
    send(&shared, protocol, &conversation, &reply, number, input_tokens, &fault)
}

/// Sends the reply, as the fault has it.
fn send(
    shared: &Arc<Shared>,
    protocol: Protocol,
    conversation: &Conversation,
    reply: &Reply,
    number: usize,
    input_tokens: usize,
    fault: &Fault,
) -> Response {
    shared.note(number, |request| {
        request.status = 200;
        request.input_tokens = input_tokens;
        request.output_tokens = reply.tokens();
    });
    let pieces = protocol.render(conversation, reply, number, input_tokens, fault.stream_error);
    let whole = !fault.stream_error;
    let record = Arc::clone(shared);
    let sent = move || record.note(number, |request| request.complete = whole);
    let kind = match conversation.stream {
        true => "text/event-stream; charset=utf-8",
        false => "application/json",
    };
    answer(200, number, kind, faults::body(pieces, fault, sent))
}

impl Shared {
    /// Records a new request; its number.
    fn begin(&self, protocol: Protocol) -> usize {
        let mut requests = lock(&self.requests);
        requests.push(Request {
            protocol,
            body: Value::Null,
            task: String::new(),
            turn: 0,
            status: 0,
            input_tokens: 0,
            output_tokens: 0,
            complete: false,
        });
        requests.len()
    }

    fn note(&self, number: usize, change: impl FnOnce(&mut Request)) {
        if let Some(request) = lock(&self.requests).get_mut(number.wrapping_sub(1)) {
            change(request);
        }
    }

    /// Waits at the gates before this answer; the fault that it shall have.
    async fn before(&self, conversation: &Conversation, steps: &[Before]) -> Fault {
        let mut fault = lock(&self.faults).take();
        for step in steps {
            match step {
                Before::Hold(gate) => self.gates.pass(gate).await,
                Before::Fault(place, scripted) if fault.is_none() => {
                    let take = lock(&self.faults).take_scripted(&conversation.task, *place, scripted);
                    fault = take.then(|| scripted.clone());
                }
                Before::Fault(..) => {}
            }
        }
        fault.unwrap_or_default()
    }
}

fn refuse(protocol: Protocol, error: &ApiError, number: usize, retry_after: Option<u64>) -> Response {
    let body = protocol.error(error, &format!("req_{number:024}"));
    let mut response = answer(error.status, number, "application/json", Body::from(body.to_string()));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn answer(status: u16, number: usize, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(id) = HeaderValue::from_str(&format!("req_{number:024}")) {
        headers.insert("request-id", id.clone());
        headers.insert("x-request-id", id);
    }
    response
}

/// Locks even after a panic elsewhere: what is guarded here is never left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
