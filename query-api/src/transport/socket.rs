//! Subscriptions (and questions) over a WebSocket: the protocol `graphql-transport-ws`.
//!
//! The token comes in the payload of `connection_init`, as `{"Authorization": "Bearer …"}` or `{"token": "…"}`, or in
//! the request's header. A socket ends with its token (4403: come back with another one), when nobody is heard at the
//! other end, and when this process stops (1001: go on elsewhere).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use access::{Problem, TokenError};
use async_graphql::Data;
use async_graphql::http::{WebSocket as Protocol, WebSocketProtocols, WsMessage};
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures::future::ready;
use futures::{SinkExt as _, Stream, StreamExt as _};
use metrics::gauge;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use super::data;
use crate::follow::Slots;
use crate::state::QueryState;
use crate::viewer::{self, Viewer};

const NAME: &str = "graphql-transport-ws";
/// How long a client may take to say who it is.
const INIT: Duration = Duration::from_secs(10);
/// How often the other end is asked for a sign of life.
const PING: Duration = Duration::from_secs(20);
/// How long the other end may take to receive a message.
const SEND: Duration = Duration::from_secs(30);

/// The protocol's codes for closing.
mod code {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const BAD_REQUEST: u16 = 4400;
    pub(super) const UNAUTHORIZED: u16 = 4401;
    pub(super) const FORBIDDEN: u16 = 4403;
    pub(super) const INIT_TIMEOUT: u16 = 4408;
}

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
    if upgrade.selected_protocol().is_none() {
        let text = format!("ask for the WebSocket protocol `{NAME}`");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "protocol_unsupported", text));
    }
    Ok(upgrade.on_upgrade(move |socket| async move {
        gauge!("agentworks_graphql_sockets").increment(1);
        serve(state, known, socket).await;
        gauge!("agentworks_graphql_sockets").decrement(1);
    }))
}

/// Whether the client has said who it is.
#[derive(Debug, Clone, Copy)]
enum Door {
    /// Not yet.
    Closed,
    /// Yes, and may stay until then.
    Open(Instant),
    /// What it said was not good enough.
    Refused,
}

async fn serve(state: QueryState, known: Option<Viewer>, socket: WebSocket) {
    let (mut sink, stream) = socket.split();
    let heard = Arc::new(AtomicBool::new(true));
    let (schema, shutdown) = (state.schema.clone(), state.shutdown.clone());
    let (opens, door) = watch::channel(Door::Closed);
    let init = move |payload| async move {
        let viewer = identify(&state, known, &payload).map_err(|problem| {
            opens.send_replace(Door::Refused);
            async_graphql::Error::new(format!("{}: {}", problem.code(), problem.detail()))
        })?;
        opens.send_replace(Door::Open(Instant::now() + viewer::remaining(viewer.expires)));
        let mut data: Data = data(&state, viewer);
        data.insert(Slots::default());
        Ok(data)
    };
    let input = texts(stream, heard.clone());
    let mut protocol = pin!(Protocol::new(schema, input, WebSocketProtocols::GraphQLWS).on_connection_init(init));
    let late = Instant::now() + INIT;
    let mut ping = interval_at(Instant::now() + PING, PING);
    let goodbye = loop {
        let (until, then) = match *door.borrow() {
            Door::Open(end) => (end, (code::FORBIDDEN, "token_expired: the token has expired")),
            Door::Closed | Door::Refused => (late, (code::INIT_TIMEOUT, "no connection_init came in time")),
        };
        let message = tokio::select! {
            () = shutdown.cancelled() => break Some(close(code::GOING_AWAY, "this instance is stopping")),
            () = sleep_until(until) => break Some(close(then.0, then.1)),
            _ = ping.tick() => if heard.swap(false, Ordering::Relaxed) {
                Message::Ping(Bytes::new())
            } else {
                break None;
            },
            message = protocol.next() => match message {
                Some(WsMessage::Text(text)) => Message::Text(text.into()),
                Some(WsMessage::Close(_, why)) if matches!(*door.borrow(), Door::Refused) => {
                    break Some(close(code::FORBIDDEN, &why));
                }
                Some(WsMessage::Close(1002, why)) => break Some(close(code::BAD_REQUEST, &why)),
                Some(WsMessage::Close(1011, why)) => break Some(close(code::UNAUTHORIZED, &why)),
                Some(WsMessage::Close(other, why)) => break Some(close(other, &why)),
                None => break None,
            },
        };
        // Who does not receive is let go: its subscriptions go on from their cursor elsewhere.
        if !matches!(timeout(SEND, sink.send(message)).await, Ok(Ok(()))) {
            break None;
        }
    };
    if let Some(goodbye) = goodbye {
        // The other end may be gone already.
        let _ = timeout(SEND, sink.send(goodbye)).await;
    }
}

/// What the client says, as bytes; ends with the socket.
fn texts(
    stream: impl Stream<Item = Result<Message, axum::Error>>,
    heard: Arc<AtomicBool>,
) -> impl Stream<Item = Bytes> {
    stream.take_while(|message| ready(!matches!(message, Err(_) | Ok(Message::Close(_))))).filter_map(move |message| {
        heard.store(true, Ordering::Relaxed);
        ready(match message {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => Some(message.into_data()),
            _ => None,
        })
    })
}

/// Who it is, by the payload of `connection_init`, or else by the request's header.
fn identify(state: &QueryState, known: Option<Viewer>, payload: &Value) -> Result<Viewer, Problem> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(TokenError::Malformed);
    if let Some(value) = payload.get("Authorization").or_else(|| payload.get("authorization")) {
        return viewer::of_authorization(&state.verifier, &text(value)?);
    }
    if let Some(value) = payload.get("token") {
        return viewer::of_token(&state.verifier, &text(value)?);
    }
    known.ok_or_else(|| TokenError::Missing.into())
}

fn close(code: u16, why: &str) -> Message {
    Message::Close(Some(CloseFrame { code, reason: cut(why).into() }))
}

/// A close frame holds 123 bytes of explanation.
fn cut(why: &str) -> &str {
    &why[..why.floor_char_boundary(123)]
}
