//! How workers speak to the rest of the system: commands through the dispatcher, aggregates from the log, secrets from
//! the vault. Guarantees: each command is keyed, so that it may be repeated; what passes is tried again for a bounded
//! time. Never: a decision.

use std::time::Duration;

use command_api::vault::{Vault, VaultError};
use command_api::{Answer, Caller, DispatchError, Dispatcher, Order, Request};
use domain::environment::EnvironmentCommand;
use domain::id::{CommandId, EventId, ProviderId, RunId};
use domain::provider::Provider;
use domain::run::{Run, RunCommand};
use domain::value::SecretRef;
use domain::{Decider, EnvironmentId, TenantId};
use outbox::LogError;
use schemas::Recorded;
use secrecy::SecretString;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::ids;

/// Waits between tries of a command that could not be carried out for a passing reason.
const PATIENCE: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// Who the workers are in the history.
const WORKER: &str = "worker";

/// What a command follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The same for everything that follows from one outside request.
    pub(crate) correlation: Uuid,
    /// The event that caused it.
    pub(crate) causation: Option<EventId>,
    /// W3C trace context to continue.
    pub(crate) traceparent: Option<String>,
}

impl Origin {
    /// What follows from an event.
    pub(crate) fn of(event: &Recorded) -> Self {
        Self {
            correlation: event.metadata.correlation,
            causation: Some(event.id),
            traceparent: event.metadata.traceparent.clone(),
        }
    }

    pub(crate) fn request(&self, command: CommandId) -> Request {
        Request::internal(command, self.correlation, self.causation, self.traceparent.clone())
    }
}

/// The way to the rest of the system. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Control {
    dispatcher: Dispatcher,
    vault: Vault,
}

impl Control {
    pub(crate) fn new(dispatcher: Dispatcher, vault: Vault) -> Self {
        Self { dispatcher, vault }
    }

    /// The run as the log has it now.
    pub(crate) async fn load_run(&self, tenant: TenantId, run: RunId) -> Result<Run, LogError> {
        self.load(tenant, run.uuid()).await
    }

    /// The provider as the log has it now.
    pub(crate) async fn load_provider(&self, tenant: TenantId, provider: ProviderId) -> Result<Provider, LogError> {
        self.load(tenant, provider.uuid()).await
    }

    async fn load<A: Decider>(&self, tenant: TenantId, id: Uuid) -> Result<A, LogError> {
        self.dispatcher.load::<A>(tenant, id).await.map(|loaded| loaded.state)
    }

    /// A secret; `None` when the vault has none under this reference for this tenant.
    pub(crate) async fn secret(
        &self,
        tenant: TenantId,
        reference: &SecretRef,
    ) -> Result<Option<SecretString>, VaultError> {
        self.vault.get(tenant, reference).await
    }

    /// Tells a run, as a worker, once for each `step` of an attempt.
    pub(crate) async fn tell_run(
        &self,
        tenant: TenantId,
        run: RunId,
        (attempt, step): (u32, &str),
        origin: &Origin,
        command: &RunCommand,
    ) -> Result<Answer, DispatchError> {
        let request = || origin.request(ids::of_attempt(run, attempt, step));
        let order = || Order::Run { run, command: command.clone() };
        self.dispatch(&Caller::system(tenant, WORKER), request, order).await
    }

    /// Tells a run, as its own agent.
    pub(crate) async fn tell_run_as_agent(
        &self,
        tenant: TenantId,
        run: RunId,
        id: CommandId,
        origin: &Origin,
        command: &RunCommand,
    ) -> Result<Answer, DispatchError> {
        let order = || Order::Run { run, command: command.clone() };
        self.dispatch(&Caller::agent(tenant, run), || origin.request(id), order).await
    }

    /// Tells an environment, once for each `step`.
    pub(crate) async fn tell_environment(
        &self,
        tenant: TenantId,
        environment: EnvironmentId,
        step: &str,
        origin: &Origin,
        command: &EnvironmentCommand,
    ) -> Result<Answer, DispatchError> {
        let request = || origin.request(ids::of_environment(environment, step));
        let order = || Order::Environment { environment, command: command.clone() };
        self.dispatch(&Caller::system(tenant, WORKER), request, order).await
    }

    /// Dispatches until it is carried out, refused for good, or has failed for too long.
    async fn dispatch(
        &self,
        caller: &Caller,
        request: impl Fn() -> Request,
        order: impl Fn() -> Order,
    ) -> Result<Answer, DispatchError> {
        let mut waits = PATIENCE.iter();
        loop {
            match self.dispatcher.dispatch(caller, request(), order()).await {
                Err(error) if error.is_passing() => {
                    let Some(wait) = waits.next() else { return Err(error) };
                    debug!(%error, "a command is tried again");
                    tokio::time::sleep(*wait).await;
                }
                done => return done,
            }
        }
    }

    /// Dispatches once; whoever calls tries again.
    pub(crate) async fn dispatch_once(
        &self,
        caller: &Caller,
        request: Request,
        order: Order,
    ) -> Result<Answer, DispatchError> {
        self.dispatcher.dispatch(caller, request, order).await
    }
}

/// Whether a command has found its end: carried out, or refused because things have moved on. What failed otherwise is
/// told of here.
pub(crate) fn settled(what: &'static str, run: RunId, told: &Result<Answer, DispatchError>) -> bool {
    match told {
        Ok(_) => true,
        Err(error @ (DispatchError::Refused(_) | DispatchError::NotFound | DispatchError::KeyReused)) => {
            debug!(%run, %error, "{what}: things have moved on");
            true
        }
        Err(error) => {
            warn!(%run, %error, "{what}: failed; the run's lease will run out and another worker goes on");
            false
        }
    }
}
