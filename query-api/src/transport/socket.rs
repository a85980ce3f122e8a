//! Subscriptions (and questions) over a WebSocket: the protocol `graphql-transport-ws`.
//!
//! The token comes in the payload of `connection_init`, as `{"Authorization": "Bearer …"}` or `{"token": "…"}`, or in
//! the request's header. The payload of a `ping` may carry the next one, and the socket goes on with it. A socket ends
//! with its token (4403: come back with another one), when nobody is heard at the other end, and when this process stops
//! (1001: go on elsewhere).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use access::{Problem, TokenError};
use async_graphql::{Data, Response as Answer};
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures::stream::{AbortHandle, BoxStream, SelectAll, abortable, once};
use futures::{SinkExt as _, StreamExt as _};
use metrics::gauge;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::answer::{never_ran, text};
use super::asked::Asked;
use super::messages::{Said, Saying};
use super::{data, run};
use crate::error::Refused;
use crate::state::QueryState;
use crate::viewer::{self, Viewer};

const NAME: &str = "graphql-transport-ws";
/// How long a client may take to say who it is.
const INIT: Duration = Duration::from_secs(10);
/// How often the other end is asked for a sign of life.
const PING: Duration = Duration::from_secs(20);
/// How long the other end may take to receive a message.
const SEND: Duration = Duration::from_secs(30);
/// Operations of one socket at once: its subscriptions, and some questions.
const OPERATIONS: usize = 250;
/// Bytes that a socket reads, and gathers for writing, at once. Frames are small, and idle sockets many.
const BUFFER: usize = 4 * 1024;

/// Takes a socket.
///
/// # Errors
/// 401 or 403 for a token in the header that does not hold; 400 for another protocol.
pub(super) fn accept(state: QueryState, headers: &HeaderMap, upgrade: WebSocketUpgrade) -> Result<Response, Problem> {
    let known = if headers.contains_key(header::AUTHORIZATION) {
        Some(viewer::of_headers(&state.verifier, headers)?)
    } else {
        None
    };
    let upgrade = upgrade.protocols([NAME]).max_message_size(super::BODY);
    let upgrade = upgrade.read_buffer_size(BUFFER).write_buffer_size(BUFFER);
    if upgrade.selected_protocol().is_none() {
        let text = format!("ask for the WebSocket protocol `{NAME}`");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "protocol_unsupported", text));
    }
    Ok(upgrade.on_upgrade(move |socket| async move {
        gauge!("agentworks_graphql_sockets").increment(1);
        Conversation::new(state, known).hold(socket).await;
        gauge!("agentworks_graphql_sockets").decrement(1);
    }))
}

/// Why we end a socket: a code of the protocol's, and a text for people.
struct Goodbye(u16, String);

impl Goodbye {
    fn going_away() -> Self {
        Self(1001, "this instance is stopping".to_owned())
    }

    fn malformed(why: impl std::fmt::Display) -> Self {
        Self(4400, format!("Invalid message: {why}"))
    }

    fn unauthorized() -> Self {
        Self(4401, "Unauthorized".to_owned())
    }

    fn forbidden(why: impl std::fmt::Display) -> Self {
        Self(4403, format!("Forbidden: {why}"))
    }

    fn too_late() -> Self {
        Self(4408, "Connection initialisation timeout".to_owned())
    }

    fn again(id: &str) -> Self {
        Self(4409, format!("Subscriber for {id} already exists"))
    }

    fn too_many_inits() -> Self {
        Self(4429, "Too many initialisation requests".to_owned())
    }

    fn frame(&self) -> Message {
        // A close frame holds 123 bytes of explanation.
        let why = &self.1[..self.1.floor_char_boundary(123)];
        Message::Close(Some(CloseFrame { code: self.0, reason: why.into() }))
    }
}

/// Who is at the other end, once that is known.
struct Guest {
    viewer: Viewer,
    data: Arc<Data>,
}

/// What comes of one operation.
enum Came {
    Answer(Box<Answer>),
    End,
}

type Answers = SelectAll<BoxStream<'static, (Arc<str>, Came)>>;

/// One socket.
struct Conversation {
    state: QueryState,
    /// Who the request's header named.
    known: Option<Viewer>,
    guest: Option<Guest>,
    /// When it ends, unless the guest has come, or shows another token, before.
    until: Instant,
    /// What stops each operation that is under way.
    running: HashMap<Arc<str>, AbortHandle>,
    answers: Answers,
}

impl Conversation {
    fn new(state: QueryState, known: Option<Viewer>) -> Self {
        let until = Instant::now() + INIT;
        Self { state, known, guest: None, until, running: HashMap::new(), answers: SelectAll::new() }
    }

    async fn hold(mut self, socket: WebSocket) {
        let (mut sink, mut stream) = socket.split();
        let shutdown = self.state.shutdown.clone();
        let mut ping = interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = true;
        let goodbye = loop {
            let message = tokio::select! {
                biased;
                () = shutdown.cancelled() => break Some(Goodbye::going_away()),
                () = sleep_until(self.until) => break Some(match self.guest {
                    Some(_) => Goodbye::forbidden("the token has expired"),
                    None => Goodbye::too_late(),
                }),
                said = stream.next() => {
                    heard = true;
                    let said = match said {
                        Some(Ok(Message::Text(text))) => self.hear(text.as_str()),
                        Some(Ok(Message::Binary(_))) => Err(Goodbye::malformed("not a text")),
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                    };
                    match said {
                        Ok(Some(message)) => message,
                        Ok(None) => continue,
                        Err(goodbye) => break Some(goodbye),
                    }
                }
                _ = ping.tick() => if std::mem::take(&mut heard) {
                    Message::Ping(Bytes::new())
                } else {
                    break None;
                },
                Some((id, came)) = self.answers.next(), if !self.answers.is_empty() => self.tell(&id, &came),
            };
            // Who does not receive is let go: its subscriptions go on from their cursor elsewhere.
            if !matches!(timeout(SEND, sink.send(message)).await, Ok(Ok(()))) {
                break None;
            }
        };
        if let Some(goodbye) = goodbye {
            // The other end may be gone already.
            let _ = timeout(SEND, sink.send(goodbye.frame())).await;
        }
    }

    /// Takes in what the client says; the answer to it, if it has one at once.
    fn hear(&mut self, text: &str) -> Result<Option<Message>, Goodbye> {
        match serde_json::from_str(text).map_err(Goodbye::malformed)? {
            Said::ConnectionInit { payload } => self.init(&payload.unwrap_or_default()).map(Some),
            Said::Ping { payload } => {
                self.renew(&payload.unwrap_or_default())?;
                Ok(Some(say(&Saying::Pong)))
            }
            Said::Pong {} => Ok(None),
            Said::Subscribe { id, payload } => self.subscribe(id, payload),
            Said::Complete { id } => {
                if let Some(operation) = self.running.remove(id.as_str()) {
                    operation.abort();
                }
                Ok(None)
            }
        }
    }

    fn init(&mut self, payload: &Map<String, Value>) -> Result<Message, Goodbye> {
        if self.guest.is_some() {
            return Err(Goodbye::too_many_inits());
        }
        let shown = shown(&self.state, payload).map_err(|problem| Goodbye::forbidden(problem.code()))?;
        let viewer = (shown.or_else(|| self.known.take()))
            .ok_or_else(|| Goodbye::forbidden(Problem::from(TokenError::Missing).code()))?;
        let mut data = data(&self.state, viewer.clone());
        data.insert(self.state.subscribers.of(&viewer));
        self.until = Instant::now() + viewer::remaining(viewer.expires);
        self.guest = Some(Guest { viewer, data: Arc::new(data) });
        Ok(say(&Saying::ConnectionAck))
    }

    /// Goes on with the token in the payload of a ping, if there is one. It must be of the same somebody, who may do the
    /// same: what runs already was allowed to them.
    fn renew(&mut self, payload: &Map<String, Value>) -> Result<(), Goodbye> {
        let Some(shown) = shown(&self.state, payload).map_err(|problem| Goodbye::forbidden(problem.code()))? else {
            return Ok(());
        };
        let Some(Guest { viewer, .. }) = &mut self.guest else { return Err(Goodbye::unauthorized()) };
        if (shown.tenant, &shown.actor, shown.role) != (viewer.tenant, &viewer.actor, viewer.role) {
            return Err(Goodbye::forbidden("the token is somebody else's"));
        }
        viewer.expires = shown.expires;
        self.until = Instant::now() + viewer::remaining(shown.expires);
        Ok(())
    }

    fn subscribe(&mut self, id: String, asked: Asked) -> Result<Option<Message>, Goodbye> {
        let Some(guest) = &self.guest else { return Err(Goodbye::unauthorized()) };
        if id.is_empty() {
            return Err(Goodbye::malformed("`id` is empty"));
        }
        if self.running.contains_key(id.as_str()) {
            return Err(Goodbye::again(&id));
        }
        let room = if self.running.len() < OPERATIONS {
            Ok(())
        } else {
            Err(Refused::new("too_many_operations", format!("a socket has at most {OPERATIONS} operations at once")))
        };
        let request = match room.and_then(|()| asked.into_request(&self.state.documents)) {
            Ok(request) => request,
            Err(refused) => {
                let payload = &Answer::from(refused).errors;
                return Ok(Some(say(&Saying::Error { id: &id, payload })));
            }
        };
        let id: Arc<str> = id.into();
        let (of, last) = (id.clone(), id.clone());
        let answers = run(&self.state, request, guest.data.clone())
            .map(move |answer| (of.clone(), Came::Answer(Box::new(answer))))
            .chain(once(async move { (last, Came::End) }));
        let (answers, stop) = abortable(answers);
        self.running.insert(id, stop);
        self.answers.push(answers.boxed());
        Ok(None)
    }

    /// What came of an operation, as a message. An operation that was not executed ends with it.
    fn tell(&mut self, id: &str, came: &Came) -> Message {
        match came {
            Came::Answer(answer) if never_ran(answer) => {
                if let Some(operation) = self.running.remove(id) {
                    operation.abort();
                }
                say(&Saying::Error { id, payload: &answer.errors })
            }
            Came::Answer(answer) => match RawValue::from_string(text(answer)) {
                Ok(payload) => say(&Saying::Next { id, payload: &payload }),
                Err(error) => {
                    tracing::error!(%error, "an answer is no JSON");
                    say(&Saying::Complete { id })
                }
            },
            Came::End => {
                self.running.remove(id);
                say(&Saying::Complete { id })
            }
        }
    }
}

/// Who the token in a payload names, when there is one.
fn shown(state: &QueryState, payload: &Map<String, Value>) -> Result<Option<Viewer>, Problem> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(TokenError::Malformed);
    if let Some(value) = payload.get("Authorization").or_else(|| payload.get("authorization")) {
        return viewer::of_authorization(&state.verifier, &text(value)?).map(Some);
    }
    let token = payload.get("token").map(text).transpose()?;
    token.map(|token| viewer::of_token(&state.verifier, &token)).transpose()
}

fn say(message: &Saying<'_>) -> Message {
    let text = serde_json::to_string(message).unwrap_or_else(|error| {
        tracing::error!(%error, "a message has no JSON form");
        String::new()
    });
    Message::Text(text.into())
}
