//! A private Postgres with a log, and a world whose aggregates are driven by commands, so that every history in it
//! could have happened. Shared with the tests of `query-api`.
#![expect(dead_code, reason = "each test binary uses what it needs")]

mod random;
#[path = "../../../outbox/tests/outbox/support/server.rs"]
mod server;

use std::collections::HashMap;
use std::time::Duration;

use access::MasterKeys;
use domain::card::{Card, CardCommand, CardEvent, CardRefusal, Rank, ResolvedModel, RunFacts};
use domain::environment::{Driver, Environment, EnvironmentCommand, Purpose};
use domain::id::{CommandId, EventId};
use domain::process::run_card::{self, Reaction};
use domain::project::{CreateFacts, ExecutionPolicy, Lanes, Project, ProjectCommand, Repository};
use domain::provider::{Provider, ProviderCommand, ProviderKind, ProviderSettings};
use domain::run::{Run, RunCommand, RunEvent, RunRefusal, StepKind, Task, TaskOutcome};
use domain::tenant::{Tenant, TenantCommand};
use domain::value::{Branch, CommitSha, LaneKey, ModelName, Name, Reason, RepositoryUrl, SecretRef, Text, Title};
use domain::workspace::{Workspace, WorkspaceCommand};
use domain::{Actor, CardId, Decider, EnvironmentId, ProjectId, ProviderId, RunId, TenantId, WorkspaceId};
use outbox::progress::Progress;
use outbox::{Append, Bus, Log, LogSettings, NewEvent, Verdict, consumer};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use schemas::Metadata;
pub(crate) use server::Database;
use time::OffsetDateTime;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// Stands where a secret's reference must never be seen.
pub(crate) const SECRET: u128 = 0x5ec4e7;

pub(crate) fn lane(key: &str) -> LaneKey {
    LaneKey::new(key).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn reason(text: &str) -> Reason {
    Reason::new(text).unwrap()
}

pub(crate) fn text(text: &str) -> Text {
    Text::new("text", text).unwrap()
}

pub(crate) fn commit(digit: char) -> CommitSha {
    CommitSha::new(&digit.to_string().repeat(40)).unwrap()
}

fn secret() -> SecretRef {
    SecretRef::vault(Uuid::from_u128(SECRET))
}

/// The read models.
pub(crate) const NAMES: [&str; 5] = [
    projections::board::NAME,
    projections::card_history::NAME,
    projections::runs::NAME,
    projections::usage::NAME,
    projections::environments::NAME,
];

/// A log, and what has been made in it.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) log: Log,
    /// Seal what is kept for people.
    pub(crate) keys: MasterKeys,
    rng: StdRng,
    /// Counts everything that needs to differ.
    count: u64,
    /// The position of the last append.
    pub(crate) position: i64,
    pub(crate) tenants: Vec<TenantId>,
    workspaces: Vec<(TenantId, WorkspaceId)>,
    providers: Vec<(TenantId, ProviderId)>,
    projects: Vec<(TenantId, ProjectId)>,
    cards: Vec<(TenantId, CardId)>,
    runs: Vec<(TenantId, RunId)>,
    environments: Vec<(TenantId, EnvironmentId)>,
    tasks: HashMap<RunId, Task>,
}

impl Following {
    /// Waits until the read models have all that was appended.
    pub(crate) async fn caught_up(&self, world: &World) {
        for partition in 0..world.log.partitions() {
            let head = world.log.head(partition).await.unwrap();
            for name in NAMES {
                let waited = self.progress.wait(name, partition, head, Duration::from_secs(30)).await;
                if let Err(reached) = waited {
                    let model = projections::all().into_iter().find(|model| model.name() == name).unwrap();
                    let page = world.log.read(partition, reached, 1).await.unwrap();
                    let tried = model.apply(&mut world.log.worker_pool().begin().await.unwrap(), &page).await;
                    panic!("{name} stands at {reached} of {head} in partition {partition}: {tried:?}");
                }
            }
        }
    }
}

/// Read models that follow the log, until dropped.
pub(crate) struct Following {
    pub(crate) progress: Progress,
    pub(crate) shutdown: CancellationToken,
    _stop: DropGuard,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::of(seed, 1).await
    }

    /// One whose log has so many partitions.
    pub(crate) async fn of(seed: u64, partitions: i32) -> Self {
        let database = Database::with(partitions).await;
        projections::generations::prepare(&mut outbox::migrate::owner(&database.url).await.unwrap()).await.unwrap();
        let settings = LogSettings { url: database.url.clone(), max_connections: 12, notify: false };
        let log = Log::connect(&settings).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::load_or_create(&folder.path().join("master.key")).unwrap();
        Self {
            database,
            log,
            keys,
            rng: StdRng::seed_from_u64(seed),
            count: 0,
            position: 0,
            tenants: vec![],
            workspaces: vec![],
            providers: vec![],
            projects: vec![],
            cards: vec![],
            runs: vec![],
            environments: vec![],
            tasks: HashMap::new(),
        }
    }

    /// Lets every read model follow the log.
    pub(crate) fn follow(&self) -> Following {
        self.follow_on(None)
    }

    /// As [`World::follow`]; with a bus, events and progress go over it.
    pub(crate) fn follow_on(&self, bus: Option<Bus>) -> Following {
        let shutdown = CancellationToken::new();
        for partition in 0..self.log.partitions() {
            for model in projections::all() {
                tokio::spawn(consumer::run(self.log.clone(), bus.clone(), model, partition, shutdown.clone()));
            }
        }
        let progress = Progress::start(self.log.clone(), bus.clone(), &NAMES, shutdown.clone());
        if let Some(bus) = bus {
            for partition in 0..self.log.partitions() {
                let (log, bus) = (self.log.clone(), bus.clone());
                tokio::spawn(outbox::relay::run(log, bus, partition, Uuid::from_u128(1), shutdown.clone()));
            }
        }
        Following { progress, shutdown: shutdown.clone(), _stop: shutdown.drop_guard() }
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// An id whose order is that of its making.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let random: [u8; 10] = self.rng.random();
        let millis = 1_700_000_000_000 + self.next();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A moment later than all before, with more digits than a database keeps.
    fn now(&mut self) -> OffsetDateTime {
        let nanos = i128::from(self.next()) * 61_000_123_457;
        OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_000_000_000 + nanos).unwrap()
    }

    fn rank(&mut self) -> Rank {
        let now = self.now();
        Rank::end(now)
    }

    /// Decides and appends; the events, or the refusal.
    pub(crate) async fn act<A: Decider>(
        &mut self,
        tenant: TenantId,
        stream: Uuid,
        actor: Actor,
        command: A::Command,
    ) -> Result<Vec<A::Event>, A::Refusal> {
        let loaded = self.log.load::<A>(tenant, stream).await.unwrap();
        let events = loaded.state.decide(command)?;
        if events.is_empty() {
            return Ok(events);
        }
        let metadata = Metadata {
            tenant,
            actor,
            command: CommandId::from_uuid(self.uuid()),
            correlation: self.uuid(),
            causation: None,
            traceparent: None,
            occurred_at: self.now(),
        };
        let new = events.iter().map(|event| NewEvent::of(EventId::from_uuid(self.uuid()), event).unwrap()).collect();
        let append = Append {
            metadata,
            fingerprint: [7; 32],
            aggregate_type: A::TYPE,
            stream,
            expected_version: loaded.version,
            expected_chain: loaded.chain,
            events: new,
        };
        match self.log.append(append).await.unwrap() {
            Verdict::Stored(appended) => self.position = appended.position,
            other => panic!("not stored: {other:?}"),
        }
        Ok(events)
    }

    /// An event that no release has ever written.
    pub(crate) async fn nonsense(&mut self, tenant: TenantId) {
        let event = NewEvent {
            id: EventId::from_uuid(self.uuid()),
            event_type: "CardMoved",
            event_version: 1,
            payload: r#"{"to": 7}"#.to_owned(),
        };
        let append = Append {
            metadata: Metadata {
                tenant,
                actor: Self::actor(),
                command: CommandId::from_uuid(self.uuid()),
                correlation: self.uuid(),
                causation: None,
                traceparent: None,
                occurred_at: self.now(),
            },
            fingerprint: [7; 32],
            aggregate_type: "card",
            stream: self.uuid(),
            expected_version: 0,
            expected_chain: schemas::evidence::Hash::ZERO,
            events: vec![event],
        };
        match self.log.append(append).await.unwrap() {
            Verdict::Stored(appended) => self.position = appended.position,
            other => panic!("not stored: {other:?}"),
        }
    }

    pub(crate) fn actor() -> Actor {
        Actor::Operator("ada".to_owned())
    }

    pub(crate) async fn tenant(&mut self) -> TenantId {
        let tenant = TenantId::from_uuid(self.uuid());
        let create = TenantCommand::Create { name: name("Acme") };
        self.act::<Tenant>(tenant, tenant.uuid(), Self::actor(), create).await.unwrap();
        self.tenants.push(tenant);
        tenant
    }

    pub(crate) async fn workspace(&mut self, tenant: TenantId) -> WorkspaceId {
        let id = WorkspaceId::from_uuid(self.uuid());
        let create = WorkspaceCommand::Create { name: name("Team"), tenant_active: true };
        self.act::<Workspace>(tenant, id.uuid(), Self::actor(), create).await.unwrap();
        self.workspaces.push((tenant, id));
        id
    }

    pub(crate) async fn provider(&mut self, tenant: TenantId) -> ProviderId {
        let id = ProviderId::from_uuid(self.uuid());
        let settings = ProviderSettings {
            name: name("Vendor"),
            kind: ProviderKind::Anthropic,
            base_url: None,
            default_model: ModelName::new("model-1").unwrap(),
        };
        let register = ProviderCommand::Register { settings, key: secret(), tenant_active: true };
        self.act::<Provider>(tenant, id.uuid(), Self::actor(), register).await.unwrap();
        self.providers.push((tenant, id));
        id
    }

    pub(crate) fn repository() -> Repository {
        Repository {
            url: RepositoryUrl::new("https://git.example/repository.git").unwrap(),
            default_branch: Branch::new("main").unwrap(),
            credential: Some(secret()),
        }
    }

    /// A project in a workspace of its own.
    pub(crate) async fn project(&mut self, tenant: TenantId) -> ProjectId {
        let workspace = self.workspace(tenant).await;
        self.project_in(tenant, workspace).await
    }

    pub(crate) async fn project_in(&mut self, tenant: TenantId, workspace: WorkspaceId) -> ProjectId {
        let id = ProjectId::from_uuid(self.uuid());
        let create = ProjectCommand::Create {
            workspace,
            name: name("Project"),
            repository: Self::repository(),
            lanes: Lanes::default(),
            policy: ExecutionPolicy::default(),
            model: None,
            facts: CreateFacts { tenant_active: true, workspace_open: true, provider_usable: true },
        };
        self.act::<Project>(tenant, id.uuid(), Self::actor(), create).await.unwrap();
        self.projects.push((tenant, id));
        id
    }

    async fn lanes(&self, tenant: TenantId, project: ProjectId) -> Lanes {
        let project = self.log.load::<Project>(tenant, project.uuid()).await.unwrap().state;
        project.open().map(|open| open.lanes.clone()).unwrap_or_default()
    }

    pub(crate) async fn card(&mut self, tenant: TenantId, project: ProjectId, title: &str) -> CardId {
        let id = CardId::from_uuid(self.uuid());
        let create = CardCommand::Create {
            project,
            title: Title::new(title).unwrap(),
            description: text("Do it."),
            lane: None,
            rank: self.rank(),
            lanes: Some(self.lanes(tenant, project).await),
        };
        self.act::<Card>(tenant, id.uuid(), Self::actor(), create).await.unwrap();
        self.cards.push((tenant, id));
        id
    }

    pub(crate) async fn card_act(&mut self, tenant: TenantId, card: CardId, command: CardCommand) -> Vec<CardEvent> {
        self.act::<Card>(tenant, card.uuid(), Self::actor(), command).await.unwrap()
    }

    pub(crate) async fn move_card(&mut self, tenant: TenantId, card: CardId, to: &str) {
        let command = CardCommand::Move { lane: lane(to), rank: self.rank(), lanes: Lanes::default() };
        self.card_act(tenant, card, command).await;
    }

    pub(crate) async fn rename_project(&mut self, tenant: TenantId, project: ProjectId, to: &str) {
        let rename = ProjectCommand::Rename { name: name(to) };
        self.act::<Project>(tenant, project.uuid(), Self::actor(), rename).await.unwrap();
    }

    /// Presses Run; the run, not yet queued.
    pub(crate) async fn request_run(
        &mut self,
        tenant: TenantId,
        card: CardId,
        provider: ProviderId,
    ) -> Result<RunId, CardRefusal> {
        let state = self.log.load::<Card>(tenant, card.uuid()).await.unwrap().state;
        let project = state.known().unwrap().project;
        let loaded = self.log.load::<Project>(tenant, project.uuid()).await.unwrap().state;
        let project_open = loaded.open().is_some();
        let (Project::Open(known) | Project::Archived(known)) = loaded else { return Err(CardRefusal::NotFound) };
        let run = RunId::from_uuid(self.uuid());
        let facts = RunFacts {
            card,
            tenant_active: true,
            project_open,
            workspace: known.workspace,
            lanes: known.lanes,
            repository: Self::repository(),
            policy: ExecutionPolicy::default(),
            model: Some(ResolvedModel {
                provider,
                kind: ProviderKind::Anthropic,
                model: ModelName::new("model-1").unwrap(),
                usable: true,
            }),
            undone_dependencies: vec![],
            active_runs: 0,
        };
        let command = CardCommand::Run { run, rank: self.rank(), facts: Box::new(facts) };
        let events = self.act::<Card>(tenant, card.uuid(), Self::actor(), command).await?;
        for event in &events {
            if let CardEvent::RunRequested(requested) = event {
                self.tasks.insert(run, requested.task.clone());
            }
        }
        self.runs.push((tenant, run));
        Ok(run)
    }

    /// The run takes up its card's wish.
    pub(crate) async fn queue(&mut self, tenant: TenantId, run: RunId) {
        let queue = RunCommand::Queue { task: Box::new(self.tasks[&run].clone()), requested_by: Self::actor() };
        self.run_act(tenant, run, queue).await.unwrap();
    }

    /// A command to a run, and what follows from it for its card.
    pub(crate) async fn run_act(
        &mut self,
        tenant: TenantId,
        run: RunId,
        command: RunCommand,
    ) -> Result<Vec<RunEvent>, RunRefusal> {
        let actor = Actor::System("run-card".into());
        let events = self.act::<Run>(tenant, run.uuid(), actor.clone(), command).await?;
        let task = self.tasks[&run].clone();
        for reaction in events.iter().flat_map(|event| run_card::on_run(run, event, &task)) {
            if let Reaction::FinishCard { card, run, result } = reaction {
                let lanes = self.lanes(tenant, task.project).await;
                let finish = CardCommand::FinishRun { run, result, lanes, rank: self.rank() };
                self.act::<Card>(tenant, card.uuid(), actor.clone(), finish).await.unwrap();
            }
        }
        Ok(events)
    }

    /// An attempt of the run begins to work.
    pub(crate) async fn begin(&mut self, tenant: TenantId, run: RunId, attempt: u32) -> EnvironmentId {
        let environment = EnvironmentId::from_uuid(self.uuid());
        let task = self.tasks[&run].clone();
        let purpose = Purpose { project: task.project, run, attempt };
        let request = EnvironmentCommand::Request { purpose, driver: Driver::Local };
        self.run_act(tenant, run, RunCommand::Dispatch { attempt, environment }).await.unwrap();
        self.act::<Environment>(tenant, environment.uuid(), Self::actor(), request).await.unwrap();
        self.run_act(tenant, run, RunCommand::Start { attempt }).await.unwrap();
        self.environments.push((tenant, environment));
        environment
    }

    pub(crate) async fn step(&mut self, tenant: TenantId, run: RunId, attempt: u32, number: u32) {
        self.run_act(tenant, run, step(attempt, number)).await.unwrap();
    }

    pub(crate) async fn succeed(&mut self, tenant: TenantId, run: RunId, attempt: u32) {
        let succeed = RunCommand::Succeed { attempt, outcome: Box::new(self.outcome(run, attempt)) };
        self.run_act(tenant, run, succeed).await.unwrap();
    }

    fn outcome(&self, run: RunId, attempt: u32) -> TaskOutcome {
        TaskOutcome {
            branch: self.tasks[&run].branch.clone(),
            base_commit: commit('a'),
            work_commit: commit('b'),
            head_commit: commit('c'),
            summary: text("Did it."),
            files_changed: vec!["src/lib.rs".to_owned(), "odd\0name".to_owned()],
            context_path: ".agentworks/cards/c/r.context.json".to_owned(),
            context_sha256: "0".repeat(64),
            pushed_by_attempt: attempt,
        }
    }
}

pub(crate) fn step(attempt: u32, number: u32) -> RunCommand {
    RunCommand::RecordStep {
        attempt,
        number,
        kind: StepKind::Tool,
        title: reason(&format!("run_command: step {number}")),
        detail: text("ok\n\\u0000 stays as it is"),
        ok: !number.is_multiple_of(3),
        duration_ms: u64::from(number) * 10,
    }
}

pub(crate) fn model_call(attempt: u32, provider: ProviderId, tokens: u64) -> RunCommand {
    RunCommand::RecordModelCall {
        attempt,
        provider,
        model: ModelName::new("model-1-2026").unwrap(),
        input_tokens: tokens,
        output_tokens: tokens / 2,
        cache_read_tokens: tokens / 3,
        cache_write_tokens: tokens / 4,
        status: 200,
        duration_ms: 1_000,
    }
}

/// Everything that the read models hold, one text a table.
pub(crate) async fn contents(database: &Database) -> Vec<(String, String)> {
    let mut admin = database.admin().await;
    let tables: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.tablename::text, format('%I.%I', t.schemaname, t.tablename) \
         FROM read.models m JOIN pg_tables t ON t.schemaname = m.schema WHERE m.state = 'serving' \
         AND m.code = (SELECT max(code) FROM read.models WHERE model = m.model) ORDER BY 1",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    let mut all = Vec::new();
    for (table, place) in tables {
        let rows = format!(
            "SELECT coalesce(string_agg(row, E'\n' ORDER BY row), '') FROM (SELECT t::text AS row FROM {place} t) r"
        );
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(&mut admin).await.unwrap();
        all.push((table, rows));
    }
    all
}
