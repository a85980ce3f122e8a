//! What the tests stand on: a private Postgres with a log, the whole API before it, and a client.

#[path = "../../../outbox/tests/outbox/support/server.rs"]
#[expect(dead_code, reason = "shared with the outbox's tests, which use more of it")]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use access::{ApiGrant, Role, SigningKey, Verifier};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use command_api::vault::Vault;
use command_api::{
    Api, BoardFacts, Dispatcher, FactsUnavailable, ProbeError, ProbedRepository, RepositoryProbe, router,
};
use domain::card::{Card, CardEvent};
use domain::id::Kind;
use domain::value::{Branch, LaneKey, RepositoryUrl};
use domain::{Actor, Decider as _, Id, ProjectId, TenantId};
use outbox::{Aggregates, Log, LogSettings, MemorySettings};
use schemas::Cursor;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
pub(crate) use server::Database;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;
use uuid::Uuid;

/// Bytes that a body may have here.
pub(crate) const MAX_BODY: usize = 1 << 20;
/// What opens `https://private.example/…`.
pub(crate) const CREDENTIAL: &str = "github_pat_SECRETSECRET";
/// A vendor's key.
pub(crate) const KEY: &str = "sk-ant-SECRETSECRET";

#[expect(clippy::disallowed_methods, reason = "the tests' room for ids")]
pub(crate) fn uuid() -> Uuid {
    Uuid::now_v7()
}

/// Far off, so that the tests need no clock.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()
}

/// Everything.
pub(crate) struct World {
    pub(crate) database: Arc<Database>,
    pub(crate) log: Log,
    pub(crate) vault: Vault,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) probe: Arc<Probe>,
    pub(crate) key: SigningKey,
    router: Router,
    keys: Arc<tempfile::TempDir>,
}

/// A tenant with a workspace, a provider, a project and its owner's token.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) tenant: TenantId,
    pub(crate) token: String,
    pub(crate) workspace: String,
    pub(crate) provider: String,
    pub(crate) project: String,
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn id(&self) -> String {
        assert!(self.status.is_success(), "{self:?}");
        self.body["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn version(&self) -> i64 {
        assert!(self.status.is_success(), "{self:?}");
        assert_eq!(self.headers["etag"], format!("\"{}\"", self.body["version"]));
        self.body["version"].as_i64().unwrap()
    }

    /// The status and the code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status.as_u16());
        assert!(self.body["title"].is_string() && self.body["detail"].is_string() && self.body["type"].is_string());
        (self.status.as_u16(), self.body["code"].as_str().unwrap())
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let keys = Arc::new(tempfile::tempdir().unwrap());
        let key = SigningKey::generate().unwrap();
        Self::on(Arc::new(Database::with(1).await), keys, key, MemorySettings::default()).await
    }

    /// Another process on the same log.
    pub(crate) async fn beside(&self, memory: MemorySettings) -> Self {
        Self::on(Arc::clone(&self.database), Arc::clone(&self.keys), self.key.clone(), memory).await
    }

    async fn on(
        database: Arc<Database>,
        keys: Arc<tempfile::TempDir>,
        key: SigningKey,
        memory: MemorySettings,
    ) -> Self {
        let settings = LogSettings { url: database.url.clone(), max_connections: 8, notify: false };
        let log = Log::connect(&settings).await.unwrap();
        let vault = Vault::open(log.app_pool().clone(), &keys.path().join("master.key")).unwrap();
        let aggregates = Aggregates::new(log.clone(), memory);
        let dispatcher = Dispatcher::remembering(aggregates, Arc::new(LogBoard(log.clone())), vault.clone());
        let probe = Arc::new(Probe::default());
        let router = router(Api {
            dispatcher: dispatcher.clone(),
            vault: vault.clone(),
            verifier: Verifier::new([key.verifying().clone()]),
            probe: Arc::clone(&probe) as Arc<dyn RepositoryProbe>,
            max_body_bytes: MAX_BODY,
        });
        Self { database, log, vault, dispatcher, probe, key, router, keys }
    }

    pub(crate) fn token(&self, tenant: Option<TenantId>, role: Role) -> String {
        let grant = ApiGrant { actor: Actor::Operator("ada".into()), tenant, role, lifetime: Duration::HOUR };
        self.key.mint_api(grant, now(), uuid()).unwrap()
    }

    pub(crate) fn operator(&self) -> String {
        self.token(None, Role::Operator)
    }

    /// A request with a JSON body; `headers` as pairs.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        request = request.header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.raw(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn post(&self, shop: &Shop, path: &str, body: Value) -> Reply {
        self.call("POST", path, &shop.token, &[], &body).await
    }

    pub(crate) async fn put(&self, shop: &Shop, path: &str, body: Value) -> Reply {
        self.call("PUT", path, &shop.token, &[], &body).await
    }

    pub(crate) async fn shop(&self) -> Shop {
        let tenant = self.call("POST", "/v1/tenants", &self.operator(), &[], &json!({ "name": "Shop Ltd" })).await.id();
        let tenant: TenantId = tenant.parse().unwrap();
        let token = self.token(Some(tenant), Role::Owner);
        let mut shop =
            Shop { tenant, token, workspace: String::new(), provider: String::new(), project: String::new() };
        shop.workspace = self.post(&shop, "/v1/workspaces", json!({ "name": "Team" })).await.id();
        let provider = json!({ "name": "A", "kind": "anthropic", "default_model": "default-model", "key": KEY });
        shop.provider = self.post(&shop, "/v1/providers", provider).await.id();
        let project = json!({
            "workspace": shop.workspace, "name": "Shop", "repository": { "url": "https://git.example/shop.git" },
            "model": { "provider": shop.provider },
        });
        shop.project = self.post(&shop, "/v1/projects", project).await.id();
        shop
    }

    pub(crate) async fn card(&self, shop: &Shop, title: &str) -> String {
        let path = format!("/v1/projects/{}/cards", shop.project);
        self.post(shop, &path, json!({ "title": title })).await.id()
    }

    pub(crate) async fn load(&self, shop: &Shop, card: &str) -> Card {
        self.log.load::<Card>(shop.tenant, id::<domain::id::CardKind>(card).uuid()).await.unwrap().state
    }

    /// Events in the whole log.
    pub(crate) async fn head(&self) -> i64 {
        self.log.head(0).await.unwrap()
    }
}

impl Shop {
    /// The path of a card, and what stands below it.
    pub(crate) fn at(&self, card: &str, rest: &str) -> String {
        format!("/v1/projects/{}/cards/{card}{rest}", self.project)
    }
}

pub(crate) fn id<K: Kind>(text: &str) -> Id<K> {
    text.parse().unwrap()
}

/// The board's facts, folded from the log itself.
struct LogBoard(Log);

impl LogBoard {
    async fn cards(&self, tenant: TenantId, project: ProjectId) -> Vec<Card> {
        let mut cards = BTreeMap::<Uuid, Card>::new();
        for event in self.0.read_tenant(tenant, 0, 100_000).await.unwrap() {
            if let Some(decoded) = event.decode::<Card>().unwrap() {
                let _: &CardEvent = &decoded;
                cards.entry(event.stream).or_default().evolve(&decoded);
            }
        }
        cards.into_values().filter(|card| card.known().is_some_and(|known| known.project == project)).collect()
    }
}

#[async_trait]
impl BoardFacts for LogBoard {
    async fn active_runs(&self, tenant: TenantId, project: ProjectId, _: Cursor) -> Result<u32, FactsUnavailable> {
        let cards = self.cards(tenant, project).await;
        let active = cards.iter().filter(|card| card.known().is_some_and(|known| known.active_run.is_some()));
        Ok(u32::try_from(active.count()).unwrap())
    }

    async fn occupied_lanes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        _: Cursor,
    ) -> Result<BTreeSet<LaneKey>, FactsUnavailable> {
        let cards = self.cards(tenant, project).await;
        Ok(cards
            .iter()
            .filter_map(|card| if let Card::Open(card) = card { Some(card.lane.clone()) } else { None })
            .collect())
    }
}

/// Knows a few repositories by their hosts, and counts how often it is asked.
#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) asked: AtomicU32,
}

#[async_trait]
impl RepositoryProbe for Probe {
    async fn probe(
        &self,
        url: &RepositoryUrl,
        credential: Option<&SecretString>,
    ) -> Result<ProbedRepository, ProbeError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let opened = credential.is_some_and(|credential| credential.expose_secret() == CREDENTIAL);
        match url.as_str() {
            url if url.contains("missing.example") => Err(ProbeError::NotFound),
            url if url.contains("private.example") && !opened => Err(ProbeError::Unauthorized),
            url if url.contains("down.example") => Err(ProbeError::Unreachable("10.0.0.1 refused".into())),
            url if url.contains("empty.example") => Err(ProbeError::Empty),
            _ => {
                let branch = |name| Branch::new(name).unwrap();
                Ok(ProbedRepository {
                    default_branch: branch("trunk"),
                    branches: BTreeSet::from([branch("trunk"), branch("release")]),
                })
            }
        }
    }
}
