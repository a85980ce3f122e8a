//! What a process does: the roles, put together and run on one address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::{Problem, SigningKey, Verifier};
use anyhow::{Context, bail};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use command_api::vault::Vault;
use command_api::{Api, Dispatcher};
use metrics_exporter_prometheus::PrometheusHandle;
use outbox::archive::Archive;
use outbox::consumer::Consumer;
use outbox::evidence::Evidence;
use outbox::{Aggregates, Bus, Log, LogSettings, MemorySettings, Place, Progress};
use query_api::QueryState;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use workers::{ConfinementMode, Dependencies, WorkerSettings, Workers};

use crate::config::{Config, Confinement};
use crate::embedded::EmbeddedError;
use crate::facts::ReadModels;
use crate::http::{self, Readiness};
use crate::servers::Servers;

/// A part that a process may play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Commands over HTTP.
    CommandApi,
    /// GraphQL.
    QueryApi,
    /// The log to the bus.
    Relay,
    /// Read models, and the evidence.
    Projections,
    /// Processes, jobs, environments, and the pods' gateway.
    Workers,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::CommandApi, Self::QueryApi, Self::Relay, Self::Projections, Self::Workers];
}

/// The read models that others wait for or follow.
const WATCHED: [&str; 5] = [
    projections::board::NAME,
    projections::card_history::NAME,
    projections::runs::NAME,
    projections::usage::NAME,
    projections::environments::NAME,
];
/// For whoever opens the bare address.
const INDEX: &str = "AgentWorks

/v1            commands (REST); /openapi.json is the contract
/v1/events     what happens, as server-sent events or lines of JSON
/graphql       queries by POST, subscriptions by graphql-transport-ws; /graphiql to explore
/livez /readyz /metrics
";
/// What a stop leaves running pods to report.
const DRAIN: Duration = Duration::from_secs(3);
/// What a stop leaves the workers beyond what it leaves open connections.
const TIDYING: Duration = Duration::from_secs(4);

/// Roles at work.
pub struct Running {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Running {
    /// Waits until every part has stopped. A part that fails stops the others.
    ///
    /// # Errors
    /// What the first failing part said.
    pub async fn stopped(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(result) = self.tasks.join_next().await {
            let result = result.context("a part of the process panicked").and_then(|result| result);
            if let Err(error) = result {
                tracing::error!(error = format!("{error:#}"), "a part of the process failed");
                self.stop.cancel();
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }
}

/// Puts `roles` together on `servers` and starts them; everything that answers does so on `listener`.
///
/// # Errors
/// When a server cannot be reached, a key is not usable, or the machine cannot confine a run.
pub async fn start(
    config: &Config,
    servers: &Servers,
    roles: &[Role],
    listener: TcpListener,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> anyhow::Result<Running> {
    let plays = |role| roles.contains(&role);
    let parts = Parts::connect(config, servers, !plays(Role::Relay), &stop).await?;
    let mut tasks = JoinSet::new();
    let mut router = Router::new();
    let mut drained = CancellationToken::new();
    if plays(Role::Relay) {
        parts.relay(&mut tasks, &stop);
    }
    if plays(Role::Projections) {
        let mut owner = outbox::migrate::owner(servers.database.expose_secret()).await?;
        projections::generations::prepare(&mut owner).await.context("the read models cannot be prepared")?;
        parts.projections(&mut tasks, &stop);
        parts.evidence(config, &mut tasks, &stop)?;
    }
    if plays(Role::CommandApi) {
        let contract = openapi();
        router = router
            .merge(parts.command_api(config)?)
            .route("/openapi.json", get(move || std::future::ready(Json(contract.clone()))));
    }
    if plays(Role::QueryApi) {
        router = router.merge(parts.query_api(config, &stop)?);
    }
    if plays(Role::Workers) {
        let workers = parts.workers(config, listener.local_addr()?)?;
        workers.check().await?;
        router = router.merge(workers.router());
        let (stop, drained) = (stop.clone(), drained.clone());
        tasks.spawn(async move {
            let outcome = workers.run(stop).await;
            // Until now pods had to be able to report.
            drained.cancel();
            Ok(outcome?)
        });
    } else {
        drained = stop.clone();
    }
    router = router.route("/", get(async || INDEX));
    let router = http::operations(parts.readiness(), metrics).merge(http::observed(router.fallback(nothing)));
    let grace = config.shutdown.grace.saturating_sub(TIDYING);
    tasks.spawn(async move { http::serve(listener, router, drained, grace).await.context("the HTTP server failed") });
    Ok(Running { tasks, stop })
}

/// The contract of everything under `/v1`.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    let mut contract = command_api::openapi();
    contract.merge(query_api::openapi());
    contract
}

/// The log of a data folder, for commands that only look at it: that of the installation that runs there, or of one
/// started for the purpose.
///
/// # Errors
/// When neither can be reached.
pub async fn reader(config: &Config) -> anyhow::Result<(Log, Option<Servers>)> {
    let (url, servers) = database(config).await?;
    Ok((log_at(config, &url).await?, servers))
}

/// The log of a database, for commands that look at it, with the archived ranges.
///
/// # Errors
/// When it cannot be opened.
pub async fn log_at(config: &Config, url: &SecretString) -> anyhow::Result<Log> {
    let settings = LogSettings { url: url.expose_secret().to_owned(), max_connections: 4, notify: false };
    with_archive(Log::connect(&settings).await?, config)
}

/// Where the database of a data folder is: that of the installation that runs there, or of one started for the purpose.
///
/// # Errors
/// When neither can be reached.
pub async fn database(config: &Config) -> anyhow::Result<(SecretString, Option<Servers>)> {
    Ok(match Servers::start(config).await {
        Ok(servers) => {
            servers.migrate(config).await?;
            (servers.database.clone(), Some(servers))
        }
        Err(error) if matches!(error.downcast_ref(), Some(EmbeddedError::InUse { .. })) => {
            (Servers::running(config)?, None)
        }
        Err(error) => return Err(error),
    })
}

/// The store of archived ranges, when one is configured.
///
/// # Errors
/// When its address makes no sense.
pub fn archive(config: &Config) -> anyhow::Result<Option<Archive>> {
    let Some(store) = &config.archive.store else { return Ok(None) };
    let place = Place::new(store, &config.store_options()).context("archive.store")?;
    Ok(Some(Archive::new(place).context("archive.store")?))
}

fn with_archive(log: Log, config: &Config) -> anyhow::Result<Log> {
    Ok(match archive(config)? {
        Some(archive) => log.with_archive(archive),
        None => log,
    })
}

/// Every consumer of the log, for commands that look after them. `log` is only read.
pub fn consumers(log: &Log) -> Vec<Arc<dyn Consumer>> {
    let evidence: Arc<dyn Consumer> = Arc::new(Evidence::default());
    projections::all().into_iter().chain(workers::consumers(log)).chain([evidence]).collect()
}

/// What is at no path of this process.
async fn nothing() -> Problem {
    let detail = "there is nothing at this path; commands are under `/v1`, queries at `/graphql`, the contract at `/openapi.json`";
    Problem::new(StatusCode::NOT_FOUND, "path_unknown", detail)
}

/// What roles share.
struct Parts {
    log: Log,
    bus: Bus,
    progress: Progress,
    dispatcher: Dispatcher,
    vault: Vault,
    key: SigningKey,
    verifier: Verifier,
}

impl Parts {
    async fn connect(
        config: &Config,
        servers: &Servers,
        notify: bool,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let settings = LogSettings {
            url: servers.database.expose_secret().to_owned(),
            max_connections: config.database.max_connections,
            notify,
        };
        let log = Log::connect(&settings)
            .await
            .context("the log cannot be opened in the database of database.url (DATABASE_URL)")?;
        let log = with_archive(log, config)?.snapshot_after(config.log.snapshot_events);
        let max_bytes = i64::try_from(config.bus.max_bytes).unwrap_or(i64::MAX);
        let bus = Bus::connect(servers.bus.expose_secret(), max_bytes).await?;
        let progress = Progress::start(log.clone(), Some(bus.clone()), &WATCHED, stop.clone());
        let facts = ReadModels::new(log.clone(), progress.clone());
        let vault =
            Vault::open(log.app_pool().clone(), &config.master_key_file()).context("the master key is not usable")?;
        let memory = MemorySettings { max_bytes: config.log.memory_bytes, ..Default::default() };
        let aggregates = Aggregates::new(log.clone(), memory);
        let dispatcher = Dispatcher::remembering(aggregates.clone(), Arc::new(facts), vault.clone());
        let (others, stopped) = (bus.clone(), stop.clone());
        tokio::spawn(async move { aggregates.follow(&others, stopped).await });
        let key = SigningKey::load_or_create(&config.signing_key_file()).context("the signing key is not usable")?;
        let verifier = Verifier::new([key.verifying().clone()]);
        Ok(Self { log, bus, progress, dispatcher, vault, key, verifier })
    }

    fn relay(&self, tasks: &mut JoinSet<anyhow::Result<()>>, stop: &CancellationToken) {
        let holder = holder();
        for partition in 0..self.log.partitions() {
            let (log, bus, stop) = (self.log.clone(), self.bus.clone(), stop.clone());
            tasks.spawn(async move { Ok(outbox::relay::run(log, bus, partition, holder, stop).await?) });
        }
    }

    fn projections(&self, tasks: &mut JoinSet<anyhow::Result<()>>, stop: &CancellationToken) {
        for consumer in projections::all() {
            for partition in 0..self.log.partitions() {
                let (log, bus, stop) = (self.log.clone(), Some(self.bus.clone()), stop.clone());
                let consumer = Arc::clone(&consumer);
                tasks.spawn(async move { Ok(outbox::consumer::run(log, bus, consumer, partition, stop).await?) });
            }
        }
    }

    /// The Merkle logs, and who signs them.
    fn evidence(
        &self,
        config: &Config,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let notary = crate::evidence::notary(config, self.log.clone())?;
        let consumer = Arc::new(Evidence::telling(&notary));
        for partition in 0..self.log.partitions() {
            let (log, bus, stop) = (self.log.clone(), Some(self.bus.clone()), stop.clone());
            let consumer = Arc::clone(&consumer);
            tasks.spawn(async move { Ok(outbox::consumer::run(log, bus, consumer, partition, stop).await?) });
        }
        let stop = stop.clone();
        tasks.spawn(async move {
            notary.run(stop).await;
            Ok(())
        });
        Ok(())
    }

    fn command_api(&self, config: &Config) -> anyhow::Result<Router> {
        let api = Api {
            dispatcher: self.dispatcher.clone(),
            vault: self.vault.clone(),
            verifier: self.verifier.clone(),
            probe: Arc::new(workers::git::probe::HttpProbe::new()?),
            max_body_bytes: config.http.max_body_bytes,
        };
        Ok(command_api::router(api))
    }

    fn query_api(&self, config: &Config, stop: &CancellationToken) -> anyhow::Result<Router> {
        let graphql = &config.graphql;
        let operations = graphql.operations_file.as_deref().map(operations).transpose()?;
        let settings = query_api::Settings {
            graphiql: graphql.graphiql,
            max_depth: graphql.max_depth,
            max_complexity: graphql.max_complexity,
            time: graphql.query_time,
            subscriptions_per_user: graphql.subscriptions_per_user,
            operations,
            events: query_api::EventSettings {
                streams_per_tenant: config.events.streams_per_tenant,
                ..Default::default()
            },
            ..Default::default()
        };
        let (log, bus, progress) = (self.log.clone(), Some(self.bus.clone()), self.progress.clone());
        let (verifier, keys) = (self.verifier.clone(), self.vault.keys().clone());
        Ok(query_api::router(QueryState::new(log, bus, progress, verifier, keys, &settings, stop.clone())))
    }

    fn workers(&self, config: &Config, address: SocketAddr) -> anyhow::Result<Workers> {
        let dependencies = Dependencies {
            log: self.log.clone(),
            bus: Some(self.bus.clone()),
            dispatcher: self.dispatcher.clone(),
            vault: self.vault.clone(),
            signing_key: self.key.clone(),
            verifier: self.verifier.clone(),
        };
        Ok(Workers::new(worker_settings(config, address)?, dependencies)?)
    }

    fn readiness(&self) -> Readiness {
        let (log, bus) = (self.log.clone(), self.bus.clone());
        Readiness::new()
            .check("postgres", move || {
                let log = log.clone();
                async move { log.head(0).await.map(drop).map_err(|error| error.to_string()) }
            })
            .check("nats", move || {
                let bus = bus.clone();
                async move { bus.ping().await.map_err(|error| error.to_string()) }
            })
    }
}

fn worker_settings(config: &Config, address: SocketAddr) -> anyhow::Result<WorkerSettings> {
    // Who listens everywhere is reached by the pods of this machine on loopback.
    let host = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    let (workers, local) = (&config.workers, &config.environments.local);
    Ok(WorkerSettings {
        data_dir: config.data_dir.clone(),
        holder: lasting_holder(config)?,
        max_concurrent_runs: workers.max_concurrent_runs,
        max_runs_per_tenant: workers.max_runs_per_tenant,
        lease: workers.lease,
        dispatch_timeout: workers.dispatch_timeout,
        start_timeout: workers.start_timeout,
        drain: DRAIN,
        control_plane: format!("http://{}", SocketAddr::new(host, address.port())),
        confinement: match local.confinement {
            Confinement::Required => ConfinementMode::Required,
            Confinement::NoneIAcceptTheRisk => ConfinementMode::None,
        },
        read_only_paths: local.read_only_paths.clone(),
        pod_executable: pod_executable(local.pod_executable.as_ref())?,
        memory_mib: local.memory_mib,
        cpus: None,
        otlp_endpoint: config.telemetry.otlp_endpoint.clone(),
    })
}

/// The configured one, or the one beside this executable.
fn pod_executable(configured: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match configured {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("where is this executable?")?.with_file_name("agentworks-pod"),
    };
    if path.is_file() {
        return Ok(path);
    }
    bail!(
        "the executable of environments is not at {}: build it (`cargo build --workspace --bins`), or name it in \
         environments.local.pod_executable",
        path.display()
    )
}

/// The only operations that are run.
fn operations(file: &Path) -> anyhow::Result<query_api::Operations> {
    let text = std::fs::read_to_string(file).with_context(|| format!("graphql.operations_file: {}", file.display()))?;
    query_api::Operations::parse(&text).with_context(|| format!("graphql.operations_file: {}", file.display()))
}

/// Who the workers of this data folder are in leases, in every life: so that a new one can give up what the last one held.
fn lasting_holder(config: &Config) -> anyhow::Result<Uuid> {
    let file = config.data_dir.join("holder");
    if let Ok(text) = std::fs::read_to_string(&file)
        && let Ok(known) = text.trim().parse()
    {
        return Ok(known);
    }
    let new = holder();
    std::fs::write(&file, new.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(new)
}

#[expect(clippy::disallowed_methods, reason = "a name for this life of the process, in leases")]
fn holder() -> Uuid {
    Uuid::now_v7()
}
