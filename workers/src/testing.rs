//! What the tests stand on: a private Postgres with a log, and one tenant with a run to be.

pub(crate) mod git_host;
#[path = "../../outbox/tests/outbox/support/server.rs"]
#[expect(dead_code, reason = "shared with the outbox's tests, which use more of it")]
mod server;
pub(crate) mod vendor;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use access::{PodGrant, SigningKey, Verifier};
use async_trait::async_trait;
use command_api::vault::Vault;
use command_api::{BoardFacts, Caller, Dispatcher, FactsUnavailable, Order, Request};
use domain::card::{Card, CardCreated, CardEvent, CardRunRequested, Rank};
use domain::environment::Environment;
use domain::id::{CommandId, EventId, Id};
use domain::project::{ExecutionPolicy, Lanes, Project, ProjectCreated, ProjectEvent, Repository};
use domain::provider::{Provider, ProviderEvent, ProviderKind, ProviderRegistered, ProviderSettings};
use domain::run::{Run, RunCommand, RunEvent, Task};
use domain::value::{BaseUrl, Branch, LaneKey, ModelName, Name, RepositoryUrl, SecretRef, Text, Title};
use domain::{Actor, Decider, EnvironmentId, ProjectId, RunId, TenantId};
use outbox::{Append, Log, LogSettings, NewEvent, Verdict};
use schemas::evidence::Hash;
use schemas::{Cursor, Metadata};
use secrecy::SecretString;
use sqlx::PgPool;
use uuid::Uuid;

use crate::control::{Control, Origin};
use crate::{clock, ids};
use server::Database;

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `ask` says something.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Installs what TLS needs; each test that builds an HTTP client calls it.
pub(crate) fn tls() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}

/// A new id of any kind.
pub(crate) fn id<K>() -> Id<K> {
    Id::from_uuid(ids::fresh())
}

struct NoBoard;

#[async_trait]
impl BoardFacts for NoBoard {
    async fn active_runs(&self, _: TenantId, _: ProjectId, _: Cursor) -> Result<u32, FactsUnavailable> {
        Ok(0)
    }

    async fn occupied_lanes(
        &self,
        _: TenantId,
        _: ProjectId,
        _: Cursor,
    ) -> Result<BTreeSet<LaneKey>, FactsUnavailable> {
        Ok(BTreeSet::new())
    }
}

/// Serves a router on a free port of the loopback; its address, such as `http://127.0.0.1:1234`.
pub(crate) async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// A log with all that stands before it.
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) vault: Vault,
    pub(crate) control: Control,
    pub(crate) key: SigningKey,
    pub(crate) tenant: TenantId,
    _keys: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        tls();
        let database = Database::with(1).await;
        let settings = LogSettings { url: database.url, max_connections: 8, notify: false };
        let log = Log::connect(&settings).await.unwrap();
        let keys = tempfile::tempdir().unwrap();
        let vault = Vault::open(log.app_pool().clone(), &keys.path().join("master.key")).unwrap();
        let dispatcher = Dispatcher::new(log.clone(), Arc::new(NoBoard), vault.clone());
        let control = Control::new(dispatcher.clone(), vault.clone());
        let key = SigningKey::generate().unwrap();
        Self { log, dispatcher, vault, control, key, tenant: id(), _keys: keys }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.log.worker_pool()
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new([self.key.verifying().clone()])
    }

    /// Puts a secret into the vault.
    pub(crate) async fn secret(&self, secret: &str) -> SecretRef {
        self.vault.put(self.tenant, ids::fresh(), &SecretString::from(secret.to_owned())).await.unwrap()
    }

    /// Appends events to a new stream, whoever might refuse them.
    pub(crate) async fn given<A: Decider>(&self, stream: Uuid, events: &[A::Event]) {
        let events = events.iter().map(|event| NewEvent::of(EventId::from_uuid(ids::fresh()), event).unwrap());
        let append = Append {
            metadata: Metadata {
                tenant: self.tenant,
                actor: Actor::Operator("ada".into()),
                command: CommandId::from_uuid(ids::fresh()),
                correlation: ids::fresh(),
                causation: None,
                traceparent: None,
                occurred_at: clock::now(),
            },
            fingerprint: [0; 32],
            aggregate_type: A::TYPE,
            stream,
            expected_version: 0,
            expected_chain: Hash::ZERO,
            events: events.collect(),
        };
        assert!(matches!(self.log.append(append).await.unwrap(), Verdict::Stored(_)));
    }

    /// A task with a new card in a new project, which exist as well.
    pub(crate) async fn task(&self, run: RunId, repository: &str, credential: Option<SecretRef>) -> Task {
        let card = id();
        let task = Task {
            workspace: id(),
            project: id(),
            card,
            title: Title::new("Fix the build").unwrap(),
            description: Text::new("text", "It fails since Monday.").unwrap(),
            instructions: None,
            repository: Repository {
                url: RepositoryUrl::new(repository).unwrap(),
                default_branch: Branch::new("main").unwrap(),
                credential,
            },
            branch: Branch::of_run(card, run),
            provider: id(),
            provider_kind: ProviderKind::Anthropic,
            model: ModelName::new("claude-sonnet").unwrap(),
            policy: ExecutionPolicy::default(),
        };
        let created = ProjectCreated {
            workspace: task.workspace,
            name: Name::new("Shop").unwrap(),
            repository: task.repository.clone(),
            lanes: Lanes::default(),
            policy: task.policy.clone(),
            model: None,
        };
        self.given::<Project>(task.project.uuid(), &[ProjectEvent::from(created)]).await;
        task
    }

    /// The task's provider, at this address.
    pub(crate) async fn provider(&self, task: &Task, base_url: &str, key: &str) {
        let settings = ProviderSettings {
            name: Name::new("Account").unwrap(),
            kind: task.provider_kind,
            base_url: Some(BaseUrl::new(base_url).unwrap()),
            default_model: task.model.clone(),
        };
        let registered = ProviderRegistered { settings, key: self.secret(key).await };
        self.given::<Provider>(task.provider.uuid(), &[ProviderEvent::from(registered)]).await;
    }

    /// The task's card, on which Run was pressed.
    pub(crate) async fn press_run(&self, run: RunId, task: &Task) {
        let created = CardCreated {
            project: task.project,
            title: task.title.clone(),
            description: task.description.clone(),
            lane: LaneKey::new("in-progress").unwrap(),
            rank: Rank::end(clock::now()),
        };
        let requested = CardRunRequested { run, task: task.clone() };
        self.given::<Card>(task.card.uuid(), &[CardEvent::from(created), requested.into()]).await;
    }

    /// Queues a run past its card.
    pub(crate) async fn queue(&self, run: RunId, task: &Task) {
        let command = RunCommand::Queue { task: Box::new(task.clone()), requested_by: Actor::Operator("ada".into()) };
        self.tell(run, command).await;
    }

    /// Tells a run, as the system.
    pub(crate) async fn tell(&self, run: RunId, command: RunCommand) {
        let caller = Caller::system(self.tenant, "test");
        let request = Request::internal(CommandId::from_uuid(ids::fresh()), ids::fresh(), None, None);
        self.dispatcher.dispatch(&caller, request, Order::Run { run, command }).await.unwrap();
    }

    /// A run whose first attempt is dispatched to an environment.
    pub(crate) async fn dispatched(&self, run: RunId, task: &Task) -> EnvironmentId {
        let environment = id();
        self.queue(run, task).await;
        self.tell(run, RunCommand::Dispatch { attempt: 1, environment }).await;
        environment
    }

    /// A pod's token.
    pub(crate) fn token(&self, run: RunId, task: &Task, attempt: u32, environment: EnvironmentId) -> String {
        let lifetime = time::Duration::minutes(5);
        let grant = PodGrant { tenant: self.tenant, project: task.project, run, attempt, environment, lifetime };
        self.key.mint_pod(&grant, clock::now(), ids::fresh()).unwrap()
    }

    pub(crate) async fn run(&self, run: RunId) -> Run {
        self.log.load(self.tenant, run.uuid()).await.unwrap().state
    }

    pub(crate) async fn environment(&self, environment: EnvironmentId) -> Environment {
        self.log.load(self.tenant, environment.uuid()).await.unwrap().state
    }

    /// What happened to a run.
    pub(crate) async fn run_events(&self, run: RunId) -> Vec<RunEvent> {
        let events = self.log.read_stream(self.tenant, run.uuid(), 0, 1_000).await.unwrap();
        events.iter().map(|event| event.decode::<Run>().unwrap().unwrap()).collect()
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { correlation: ids::fresh(), causation: Some(id()), traceparent: None }
    }
}
