//! The workers of a process, put together.

use std::sync::Arc;

use access::{SigningKey, Verifier};
use axum::Router;
use command_api::Dispatcher;
use command_api::vault::Vault;
use outbox::consumer::{self, Consumer};
use outbox::subjects::Eraser;
use outbox::{Bus, Log, LogError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::control::Control;
use crate::environments::local::LocalDriver;
use crate::environments::{Driver, DriverError};
use crate::http::Http;
use crate::jobs::wake::Wakes;
use crate::jobs::{queue, reaper};
use crate::pod_gateway::{self, Gateway};
use crate::process::{RunCard, sender};
use crate::runner::Runner;
use crate::settings::WorkerSettings;

/// Commands of process managers that are dispatched at the same time: one that waits for a read model holds up no other.
const SENDERS: usize = 2;

/// What workers need of the rest of the system.
pub struct Dependencies {
    /// The log.
    pub log: Log,
    /// The bus, if this process has one; without it workers look for work by themselves, once a second.
    pub bus: Option<Bus>,
    /// The one way to change anything.
    pub dispatcher: Dispatcher,
    /// Providers' keys and repositories' credentials.
    pub vault: Vault,
    /// Mints pods' tokens.
    pub signing_key: SigningKey,
    /// Takes pods' tokens: signed by this process or by another worker.
    pub verifier: Verifier,
}

/// Why there are no workers.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// The HTTP clients cannot be built.
    #[error("the HTTP clients cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
    /// Environments cannot be made here.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The log or the queue cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A part of the workers came to an end by a defect.
    #[error("a worker task ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The workers of a process. [`Workers::router`] is the door of their pods, [`Workers::run`] the work itself.
pub struct Workers {
    runner: Arc<Runner>,
    gateway: Gateway,
    log: Log,
    bus: Option<Bus>,
}

/// The consumers of the log that workers are, for `rebuild` and for progress. `log` is only read.
pub fn consumers(log: &Log) -> Vec<Arc<dyn Consumer>> {
    vec![Arc::new(RunCard::new(log.clone(), Arc::new(Wakes::new(None)))), Arc::new(Eraser::new(log.clone()))]
}

impl Workers {
    /// Workers as `settings` say, with the driver for this machine. Starts nothing yet.
    ///
    /// # Errors
    /// [`WorkersError::Http`].
    pub fn new(settings: WorkerSettings, dependencies: Dependencies) -> Result<Self, WorkersError> {
        let driver = Arc::new(LocalDriver::new(&settings));
        Self::with_driver(settings, dependencies, driver)
    }

    /// Workers with another driver.
    ///
    /// # Errors
    /// [`WorkersError::Http`].
    pub fn with_driver(
        settings: WorkerSettings,
        dependencies: Dependencies,
        driver: Arc<dyn Driver>,
    ) -> Result<Self, WorkersError> {
        let Dependencies { log, bus, dispatcher, vault, signing_key, verifier } = dependencies;
        let control = Control::new(dispatcher, vault);
        let pool = log.worker_pool().clone();
        let otlp = settings.otlp_endpoint.clone();
        let gateway = Gateway { control: control.clone(), pool: pool.clone(), http: Http::new()?, verifier, otlp };
        let wakes = Arc::new(Wakes::new(bus.clone()));
        let runner = Arc::new(Runner { settings, pool, control, driver, signing_key, wakes, leases: Arc::default() });
        Ok(Self { runner, gateway, log, bus })
    }

    /// The pods' door: `schemas::pod::path`. It may be served before [`Workers::run`] and must be served beside it.
    pub fn router(&self) -> Router {
        pod_gateway::router(self.gateway.clone())
    }

    /// Whether environments can be made here; asked before anything is served, so that a refusal is the first thing said.
    ///
    /// # Errors
    /// [`WorkersError::Driver`], with the remedy.
    pub async fn check(&self) -> Result<(), WorkersError> {
        self.runner.driver.probe().await?;
        Ok(())
    }

    /// Works until `shutdown`. First it makes sure that environments can be made, and cleans up what an earlier life left.
    /// Afterwards it drains: running pods get the settings' `drain` to report.
    ///
    /// # Errors
    /// What keeps it from starting, or the defect that ended it.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkersError> {
        let runner = &self.runner;
        let confinement = runner.driver.probe().await?;
        runner.driver.remove_orphans().await?;
        let (pool, control) = (&runner.pool, &runner.control);
        reaper::reap_former_self(pool, control, runner.settings.holder).await.map_err(LogError::from)?;
        queue::set_limit(pool, runner.settings.max_runs_per_tenant).await.map_err(LogError::from)?;
        info!(?confinement, max_concurrent_runs = runner.settings.max_concurrent_runs, "workers are ready");

        let mut tasks = JoinSet::new();
        let process: Arc<dyn Consumer> = Arc::new(RunCard::new(self.log.clone(), Arc::clone(&runner.wakes)));
        let eraser = Arc::new(Eraser::new(self.log.clone()));
        let erasing: Arc<dyn Consumer> = Arc::clone(&eraser) as _;
        for (partition, worker) in (0..self.log.partitions()).flat_map(|p| [(p, &process), (p, &erasing)]) {
            let (log, bus, worker) = (self.log.clone(), self.bus.clone(), Arc::clone(worker));
            let shutdown = shutdown.clone();
            tasks.spawn(async move { consumer::run(log, bus, worker, partition, shutdown).await });
        }
        let stop = shutdown.clone();
        tasks.spawn(ok(async move { stop.run_until_cancelled(eraser.purge()).await.unwrap_or(()) }));
        for _ in 0..SENDERS {
            let wakes = Arc::clone(&runner.wakes);
            tasks.spawn(ok(sender::run(pool.clone(), control.clone(), wakes, shutdown.clone())));
        }
        tasks.spawn(ok(reaper::run(pool.clone(), control.clone(), runner.settings.dispatch_timeout, shutdown.clone())));
        let (wakes, listening) = (Arc::clone(&runner.wakes), shutdown.clone());
        tasks.spawn(async move {
            wakes.listen(listening).await;
            Ok(())
        });
        tasks.spawn(ok(Arc::clone(runner).run(shutdown.clone())));

        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.map_err(WorkersError::from).and_then(|ended| ended.map_err(WorkersError::from));
            if let (Err(error), Ok(())) = (ended, &outcome) {
                // One part without the others would look alive and do nothing.
                shutdown.cancel();
                outcome = Err(error);
            }
        }
        outcome
    }
}

async fn ok(work: impl Future<Output = ()>) -> Result<(), LogError> {
    work.await;
    Ok(())
}
