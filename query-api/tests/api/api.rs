//! The API at an address of its own, and clients for it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing helper fails its test")]

use std::net::SocketAddr;
use std::time::Duration;

use access::{ApiGrant, Role, SigningKey, Verifier};
use domain::{Actor, TenantId};
use futures::{SinkExt as _, StreamExt as _};
use query_api::{QueryState, Settings};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::support::{Following, World};

/// What must happen within this time.
const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Api {
    pub(crate) router: axum::Router,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    key: SigningKey,
    following: Following,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: Value,
}

#[expect(clippy::disallowed_methods, reason = "the tests' room for the clock")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

impl Api {
    pub(crate) async fn start(world: &World) -> Self {
        Self::with(world, Settings { wait: Duration::from_secs(10), graphiql: true, ..Settings::default() }).await
    }

    pub(crate) async fn with(world: &World, settings: Settings) -> Self {
        Self::on(world, settings, None).await
    }

    /// With a bus, progress is told over it.
    pub(crate) async fn on(world: &World, settings: Settings, bus: Option<outbox::Bus>) -> Self {
        Self::of(world, world.log.clone(), settings, bus).await
    }

    /// With a way of its own to the log.
    pub(crate) async fn of(world: &World, log: outbox::Log, settings: Settings, bus: Option<outbox::Bus>) -> Self {
        let following = world.follow_on(bus.clone());
        let key = SigningKey::generate().unwrap();
        let verifier = Verifier::new([key.verifying().clone()]);
        let shutdown = CancellationToken::new();
        let progress = following.progress.clone();
        let keys = world.keys.clone();
        let state = QueryState::new(log, bus, progress, verifier, keys, &settings, shutdown.clone());
        let router = query_api::router(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = router.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        Self { router, address, shutdown, key, following }
    }

    pub(crate) async fn caught_up(&self, world: &World) {
        self.following.caught_up(world).await;
    }

    pub(crate) fn token(&self, tenant: Option<TenantId>, lifetime: time::Duration) -> String {
        let role = if tenant.is_some() { Role::Owner } else { Role::Operator };
        let grant = ApiGrant { actor: Actor::Operator("ada".to_owned()), tenant, role, lifetime };
        self.key.mint_api(grant, now(), Uuid::nil()).unwrap()
    }

    pub(crate) fn owner(&self, tenant: TenantId) -> String {
        self.token(Some(tenant), time::Duration::HOUR)
    }

    /// Any request.
    pub(crate) async fn send(&self, request: axum::http::Request<axum::body::Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(response.into_body(), 10_000_000).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into());
        Answer { status, kind: kind.unwrap_or_default(), body }
    }

    /// A question of somebody of the tenant's.
    pub(crate) async fn ask(&self, tenant: TenantId, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let request = axum::http::Request::post("/graphql")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.owner(tenant)))
            .body(body.into())
            .unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// As [`Api::ask`]; there must be no errors.
    pub(crate) async fn data(&self, tenant: TenantId, query: &str, variables: Value) -> Value {
        let answer = self.ask(tenant, query, variables).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].clone()
    }

    /// The code of the only error.
    pub(crate) async fn code(&self, tenant: TenantId, query: &str, variables: Value) -> String {
        let answer = self.ask(tenant, query, variables).await;
        answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// A socket on which nothing has been said.
    pub(crate) async fn socket(&self) -> Socket {
        let mut request = format!("ws://{}/graphql", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        Socket(connect_async(request).await.unwrap().0)
    }

    /// A socket of somebody of the tenant's.
    pub(crate) async fn open(&self, tenant: TenantId) -> Socket {
        let mut socket = self.socket().await;
        socket.say(json!({ "type": "connection_init", "payload": { "token": self.owner(tenant) } })).await;
        assert_eq!(socket.hear().await["type"], "connection_ack");
        socket
    }
}

pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.say(json!({ "type": "subscribe", "id": id, "payload": payload })).await;
    }

    async fn next(&mut self) -> Message {
        loop {
            let message = tokio::time::timeout(SOON, self.0.next()).await.expect("nothing came").unwrap().unwrap();
            if !message.is_ping() {
                return message;
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The value of the only field in the next message's data.
    pub(crate) async fn frame(&mut self) -> Value {
        let message = self.hear().await;
        assert_eq!(message["type"], "next", "{message}");
        assert_eq!(message["payload"].get("errors"), None, "{message}");
        let data = message["payload"]["data"].as_object().unwrap();
        data.values().next().unwrap().clone()
    }

    /// The code with which the other end closes.
    pub(crate) async fn closed(&mut self) -> u16 {
        match self.next().await {
            Message::Close(Some(frame)) => frame.code.into(),
            other => panic!("not closed: {other:?}"),
        }
    }
}
