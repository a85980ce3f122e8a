//! A client of the APIs as a stranger would write one: HTTP for commands, GraphQL for reads, one WebSocket a subscription.
//!
//! The demo and the whole-system tests go through it, so nothing in them reaches around the public interface.

use futures::{SinkExt, Stream, StreamExt, stream};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

/// Speaks to one installation with one token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// What an API answered to a command.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `ETag`, if there was one.
    pub etag: Option<String>,
    /// The body; `null` when it was empty.
    pub body: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The API refused.
    #[error("{method} {path} was answered {status}: {body}")]
    Refused {
        /// The method.
        method: String,
        /// The path.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The problem document.
        body: Value,
    },
    /// The GraphQL answer carries errors, or the subscription ended with one.
    #[error("GraphQL: {0}")]
    Graphql(Value),
}

impl Client {
    /// A client of the installation at `base`, such as `http://127.0.0.1:8080`, with `token`.
    #[expect(clippy::disallowed_methods, reason = "the demo is a client of its own; this is its room for it")]
    pub fn new(base: &str, token: &str) -> Self {
        // The executable has installed it; a test that only brings this client has not.
        let _already = rustls::crypto::ring::default_provider().install_default();
        Self { http: reqwest::Client::new(), base: base.trim_end_matches('/').to_owned(), token: token.to_owned() }
    }

    /// The same installation with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Where the installation is.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Unreachable { address: self.base.clone(), reason: reason.to_string() }
    }

    /// Sends a request as it is and returns whatever is answered.
    ///
    /// # Errors
    /// Only when there is no answer.
    pub async fn send(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status().as_u16();
        let etag = response.headers().get(http::header::ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let text = response.text().await.map_err(|error| self.unreachable(error))?;
        let body = serde_json::from_str(&text).unwrap_or(if text.is_empty() { Value::Null } else { text.into() });
        Ok(Answer { status, etag, body })
    }

    /// Sends a command that must succeed.
    ///
    /// # Errors
    /// When it is refused, or there is no answer.
    pub async fn command(&self, method: http::Method, path: &str, body: Value) -> Result<Value, ClientError> {
        let answer = self.send(method.clone(), path, &[], Some(&body)).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        Err(ClientError::Refused {
            method: method.to_string(),
            path: path.to_owned(),
            status: answer.status,
            body: answer.body,
        })
    }

    /// POSTs a command that must succeed.
    ///
    /// # Errors
    /// As [`Client::command`].
    pub async fn post(&self, path: &str, body: Value) -> Result<Value, ClientError> {
        self.command(http::Method::POST, path, body).await
    }

    /// Asks a GraphQL query and returns its `data`.
    ///
    /// # Errors
    /// When the answer carries errors, or there is none.
    pub async fn query(&self, query: &str, variables: Value) -> Result<Value, ClientError> {
        let body = json!({ "query": query, "variables": variables });
        let answer = self.send(http::Method::POST, "/graphql", &[], Some(&body)).await?;
        match answer.body.get("errors") {
            Some(errors) => Err(ClientError::Graphql(errors.clone())),
            None if answer.status == 200 => Ok(answer.body["data"].clone()),
            None => Err(ClientError::Graphql(answer.body)),
        }
    }

    /// Subscribes over `graphql-transport-ws`; each item is a frame's `data`. The subscription ends when the stream is dropped.
    ///
    /// # Errors
    /// When the connection cannot be made; later errors are the last item.
    pub async fn subscribe(
        &self,
        query: &str,
        variables: Value,
    ) -> Result<impl Stream<Item = Result<Value, ClientError>> + Send + Unpin + use<>, ClientError> {
        let address = format!("{}/graphql", self.base.replacen("http", "ws", 1));
        let mut request = address.into_client_request().map_err(|error| self.unreachable(error))?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("graphql-transport-ws"));
        let (mut socket, _) =
            tokio_tungstenite::connect_async(request).await.map_err(|error| self.unreachable(error))?;
        let init =
            json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {}", self.token) } });
        let subscribe = json!({
            "id": "1", "type": "subscribe", "payload": { "query": query, "variables": variables },
        });
        // The server must acknowledge before the first operation.
        socket.send(text(&init)).await.map_err(|error| self.unreachable(error))?;
        while let Some(message) = socket.next().await {
            let message = parse(message.map_err(|error| self.unreachable(error))?);
            match message["type"].as_str() {
                Some("connection_ack") => break,
                Some("ping") => socket.send(text(&json!({ "type": "pong" }))).await.map_err(|e| self.unreachable(e))?,
                _ => {}
            }
        }
        socket.send(text(&subscribe)).await.map_err(|error| self.unreachable(error))?;
        let base = self.base.clone();
        Ok(Box::pin(stream::unfold(Some(socket), move |socket| {
            let base = base.clone();
            async move { next_frame(socket?, &base).await }
        })))
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// The next frame; no socket goes with the last one.
async fn next_frame(mut socket: Socket, base: &str) -> Option<(Result<Value, ClientError>, Option<Socket>)> {
    loop {
        let message = match socket.next().await? {
            Ok(Message::Close(frame)) => {
                let reason = frame.map_or_else(|| "closed".into(), |frame| frame.to_string());
                return Some((Err(ClientError::Unreachable { address: base.into(), reason }), None));
            }
            Ok(message) => parse(message),
            Err(error) => {
                let reason = error.to_string();
                return Some((Err(ClientError::Unreachable { address: base.into(), reason }), None));
            }
        };
        match message["type"].as_str() {
            Some("next") => {
                let payload = &message["payload"];
                return match payload.get("errors") {
                    Some(errors) => Some((Err(ClientError::Graphql(errors.clone())), None)),
                    None => Some((Ok(payload["data"].clone()), Some(socket))),
                };
            }
            Some("error") => return Some((Err(ClientError::Graphql(message["payload"].clone())), None)),
            Some("complete") => return None,
            Some("ping") => socket.send(text(&json!({ "type": "pong" }))).await.ok()?,
            _ => {}
        }
    }
}

fn text(value: &Value) -> Message {
    Message::text(value.to_string())
}

fn parse(message: Message) -> Value {
    message.into_text().ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
}
