//! One attempt of a run, from its claim to its end.
//!
//! Order of things: the environment is requested and the run dispatched to it before anything is started, so that a pod
//! that comes up is known, and a crash at any point leaves a job whose row names what is to be cleaned up. All commands
//! are keyed by the attempt or the environment. The result itself is the pod gateway's to record; here the attempt is
//! watched: its pod, its clocks, its lease, and the wish to stop it.
//!
//! On a graceful stop a pod gets `drain` to report. Then it is ended and its attempt given up with that reason: another
//! worker, or the next life of this one, makes the next attempt at once; the last attempt fails the run and says why.

use std::sync::Arc;
use std::time::Duration;

use access::PodGrant;
use domain::environment::{EnvironmentCommand, Purpose};
use domain::run::{Run, RunCommand, Task, Timeout};
use domain::value::Reason;
use outbox::{crash, trace};
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, warn};

use super::Runner;
use super::ending::Ending;
use super::leases::{Hold, Word};
use crate::control::settled;
use crate::environments::{Handle, Spec};
use crate::jobs::queue::{self, Job, Lease};
use crate::jobs::reaper;
use crate::{clock, ids};

/// How much longer than its run a pod's token holds.
const TOKEN_SLACK: Duration = Duration::from_secs(60);
/// Silence after which a pod that has spoken is given up: several signs of life.
const POD_SILENCE: Duration = Duration::from_secs(12 * schemas::pod::HEARTBEAT_SECONDS);
/// Longest time for a pod to end by itself once its run has.
const LEAVES: Duration = Duration::from_secs(3);

/// An attempt under way.
pub(super) struct Attempt {
    pub(super) runner: Arc<Runner>,
    pub(super) job: Job,
    /// Keeps the job's lease.
    pub(super) hold: Hold,
    shutdown: CancellationToken,
}

/// The clocks of an attempt whose pod was started.
struct Clocks {
    start: Instant,
    run: Instant,
    /// Set when a graceful stop begins.
    drained: Option<Instant>,
}

impl Attempt {
    pub(super) fn new(runner: Arc<Runner>, job: Job, shutdown: CancellationToken) -> Self {
        let hold = runner.leases.hold(job.environment);
        Self { runner, job, hold, shutdown }
    }

    /// Sees it through.
    pub(super) async fn run(self) {
        let span = tracing::info_span!(
            "attempt",
            run.id = %self.job.run,
            tenant.id = %self.job.tenant,
            attempt = self.job.attempt,
            environment.id = %self.job.environment,
        );
        trace::continue_from(&span, self.job.origin.traceparent.as_deref());
        async {
            let Some(task) = self.admit().await else { return };
            metrics::counter!("agentworks_attempts_total").increment(1);
            if !self.dispatch(&task).await {
                return;
            }
            match self.start(&task).await {
                Ok(handle) => {
                    let started = Instant::now();
                    self.see_through(&task, handle, started).await;
                }
                Err(reason) => self.end(Ending::NotStarted(reason)).await,
            }
        }
        .instrument(span)
        .await;
    }

    /// What to do, when this attempt is really the next one. Else the job is put right.
    async fn admit(&self) -> Option<Task> {
        let Job { tenant, run, attempt, environment, .. } = self.job;
        match self.runner.control.load_run(tenant, run).await {
            Ok(Run::Queued { task, attempts_lost }) if attempts_lost + 1 == attempt => Some(*task),
            Ok(_) => {
                // An attempt without a lease, or an end that the queue has not heard of yet.
                if let Err(error) = reaper::reap(&self.runner.pool, &self.runner.control, &self.job).await {
                    warn!(%error, "a job that makes no sense stays until its lease runs out");
                }
                None
            }
            Err(error) => {
                warn!(%error, "the run cannot be read; its job is given back");
                let _runs_out = queue::release(&self.runner.pool, tenant, run, environment, attempt).await;
                tokio::time::sleep(crate::jobs::wake::LOOK).await;
                None
            }
        }
    }

    /// Requests the environment and gives the attempt to it. False when the run has moved on.
    async fn dispatch(&self, task: &Task) -> bool {
        let Job { tenant, run, attempt, environment, ref origin, .. } = self.job;
        let purpose = Purpose { project: task.project, run, attempt };
        let request = EnvironmentCommand::Request { purpose, driver: self.runner.driver.kind() };
        if !self.tell_environment("request", &request).await {
            return false;
        }
        crash::point("environment.requested");
        let command = RunCommand::Dispatch { attempt, environment };
        let step = format!("dispatch/{environment}");
        let told = self.runner.control.tell_run(tenant, run, (attempt, &step), origin, &command).await;
        if told.is_ok() {
            crash::point("environment.dispatched");
            return true;
        }
        if settled("dispatching an attempt", run, &told) {
            info!("the run needs no attempt any more");
        }
        self.tell_environment("fail", &EnvironmentCommand::Fail { reason: Reason::cut("it was not needed any more") })
            .await;
        if let Err(error) = reaper::reap(&self.runner.pool, &self.runner.control, &self.job).await {
            warn!(%error, "the job stays until its lease runs out");
        }
        false
    }

    /// Makes the environment and starts the pod in it.
    async fn start(&self, task: &Task) -> Result<Box<dyn Handle>, String> {
        self.tell_environment("provision", &EnvironmentCommand::Provision).await;
        let spec = self.spec(task)?;
        let bound = self.runner.settings.start_timeout;
        let started = tokio::time::timeout(bound, self.runner.driver.start(spec)).await;
        let handle = started
            .map_err(|_| format!("it was not made within {} s", bound.as_secs()))?
            .map_err(|error| error.to_string())?;
        crash::point("environment.started");
        info!(confinement = ?handle.confinement(), "the pod was started");
        self.tell_environment("ready", &EnvironmentCommand::MarkReady { confinement: handle.confinement() }).await;
        Ok(handle)
    }

    fn spec(&self, task: &Task) -> Result<Spec, String> {
        let settings = &self.runner.settings;
        let policy = &task.policy;
        let whole = Duration::from_secs(policy.max_run_seconds.into()) + settings.start_timeout + TOKEN_SLACK;
        let grant = PodGrant {
            tenant: self.job.tenant,
            project: task.project,
            run: self.job.run,
            attempt: self.job.attempt,
            environment: self.job.environment,
            lifetime: time::Duration::try_from(whole).map_err(|error| error.to_string())?,
        };
        let token = self.runner.signing_key.mint_pod(&grant, clock::now(), ids::fresh());
        Ok(Spec {
            environment: self.job.environment,
            control_plane: settings.control_plane.clone(),
            token: SecretString::from(token.map_err(|error| error.to_string())?),
            traceparent: trace::current().or_else(|| self.job.origin.traceparent.clone()),
            traces: settings.otlp_endpoint.is_some(),
            memory_mib: u64::from(policy.memory_mib).min(settings.memory_mib),
            max_processes: policy.max_processes,
            cpu_seconds: policy.max_run_seconds,
        })
    }

    /// Watches the pod until there is an end, and brings everything to it.
    async fn see_through(&self, task: &Task, mut handle: Box<dyn Handle>, started: Instant) {
        let ending = self.watch(task, &mut *handle, started).await;
        info!(?ending, "the attempt has come to its end");
        if matches!(ending, Ending::Decided) {
            // It has reported and will leave by itself; what it still writes may be of use to nobody but the log.
            let _killed_below = tokio::time::timeout(LEAVES, handle.exited()).await;
        }
        let log_tail = handle.log_tail();
        // First the pod, then the word about it: once the run hears that the attempt is lost, another one may start.
        let stopped = handle.stop().await;
        if let Err(error) = &stopped {
            error!(%error, "an environment was not removed");
        }
        self.end_started(ending, &log_tail, stopped.err().map(|error| error.to_string())).await;
    }

    async fn watch(&self, task: &Task, handle: &mut dyn Handle, started: Instant) -> Ending {
        let settings = &self.runner.settings;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let mut clocks = Clocks {
            start: started + settings.start_timeout,
            run: started + seconds(task.policy.max_run_seconds),
            drained: None,
        };
        let watch = self.runner.wakes.watch(self.job.run);
        let mut words = self.hold.words();
        let mut trusted_until = Instant::now() + settings.lease;
        loop {
            let drained = clocks.drained;
            tokio::select! {
                exit = handle.exited() => return self.after_exit(exit.reason).await,
                () = watch.ended() => {
                    if self.is_over().await {
                        return Ending::Decided;
                    }
                }
                Ok(()) = words.changed() => {
                    let word = *words.borrow_and_update();
                    if let Some(ending) = self.hold_on(word, &mut trusted_until).await {
                        return ending;
                    }
                }
                () = tokio::time::sleep_until(trusted_until) => return Ending::LeaseLost,
                () = tokio::time::sleep_until(clocks.start) => {
                    if self.has_started().await {
                        // Never again: the run's own clock comes first.
                        clocks.start = clocks.run + settings.lease;
                    } else {
                        return Ending::TimedOut(Timeout::Start, settings.start_timeout);
                    }
                }
                () = tokio::time::sleep_until(clocks.run) => {
                    return Ending::TimedOut(Timeout::Run, seconds(task.policy.max_run_seconds));
                }
                () = self.shutdown.cancelled(), if drained.is_none() => {
                    clocks.drained = Some(Instant::now() + settings.drain);
                }
                () = tokio::time::sleep_until(drained.unwrap_or(clocks.run)), if drained.is_some() => {
                    return Ending::ShutDown;
                }
            }
        }
    }

    /// The pod is gone. What it reported last is known to the log by now, since it waits for the answer.
    async fn after_exit(&self, reason: String) -> Ending {
        if self.is_over().await { Ending::Decided } else { Ending::Exited(reason) }
    }

    /// Takes a word about the lease; an ending when the attempt is not ours any more, or its pod is silent.
    async fn hold_on(&self, word: Option<Word>, trusted_until: &mut Instant) -> Option<Ending> {
        match word? {
            (asked, Lease::Held { pod_silent }) => {
                *trusted_until = asked + self.runner.settings.lease;
                let silent = pod_silent.filter(|silent| *silent > POD_SILENCE)?;
                Some(Ending::Silent(silent))
            }
            (_, Lease::Gone) => Some(if self.is_over().await { Ending::Decided } else { Ending::LeaseLost }),
        }
    }

    /// Whether the log says that this attempt is over. What cannot be read is not over.
    async fn is_over(&self) -> bool {
        let loaded = self.runner.control.load_run(self.job.tenant, self.job.run).await;
        loaded.is_ok_and(|run| !run.is_current(self.job.attempt))
    }

    async fn has_started(&self) -> bool {
        let loaded = self.runner.control.load_run(self.job.tenant, self.job.run).await;
        // When the log cannot be read, the run's own clock decides.
        loaded.map_or(true, |run| !matches!(run, Run::Active { attempt, .. } if !attempt.started))
    }

    /// Whether the environment took it.
    pub(super) async fn tell_environment(&self, step: &str, command: &EnvironmentCommand) -> bool {
        let Job { tenant, run, environment, ref origin, .. } = self.job;
        let told = self.runner.control.tell_environment(tenant, environment, step, origin, command).await;
        settled("telling an environment", run, &told)
    }
}
