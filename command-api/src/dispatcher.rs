//! The dispatcher: the only way by which state changes.

use std::sync::Arc;

use domain::tenant::Tenant;
use domain::{Actor, Decider, EventId, RefusalKind, TenantId};
use metrics::counter;
use outbox::{Append, Appended, Loaded, Log, LogError, NewEvent, Verdict, crash, trace};
use ring::digest;
use schemas::{Cursor, Metadata};
use tracing::{Instrument as _, Span, field};
use uuid::Uuid;

use crate::facts::{BoardFacts, Facts};
use crate::order::{Ask, EnvironmentOrder, FinishCardOrder, RunOrder};
use crate::turn::Turns;
use crate::{Caller, DispatchError, Order, Request, clock};

/// How often a decision is made anew because the aggregate changed meanwhile.
const MAX_TRIES: u32 = 8;

/// What an order led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The aggregate.
    pub stream: Uuid,
    /// Its version after the order.
    pub version: i64,
    /// Where its last event stands in the log: what a read waits for to see the order's effect.
    pub cursor: Cursor,
    /// Whether the request had been carried out before, and this is the answer of then.
    pub repeated: bool,
}

/// Authorizes, deduplicates, looks up, decides, appends. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    log: Log,
    board: Arc<dyn BoardFacts>,
    turns: Arc<Turns>,
}

/// One request on its way.
struct Call<'a> {
    caller: &'a Caller,
    request: &'a Request,
    fingerprint: [u8; 32],
}

impl Dispatcher {
    /// On `log`; what only the board knows is asked of `board`.
    pub fn new(log: Log, board: Arc<dyn BoardFacts>) -> Self {
        Self { log, board, turns: Arc::default() }
    }

    /// Carries an order out. Without an expected version, a conflict with others is solved by deciding anew.
    ///
    /// # Errors
    /// Why it was not carried out.
    pub async fn dispatch(&self, caller: &Caller, request: Request, order: Order) -> Result<Answer, DispatchError> {
        if !caller.may(&order) {
            counter!("agentworks_commands_total", "command" => "any", "outcome" => "forbidden").increment(1);
            return Err(DispatchError::Forbidden);
        }
        match order {
            Order::Tenant(ask) => self.observe(caller, &request, &ask).await,
            Order::Workspace(ask) => self.observe(caller, &request, &ask).await,
            Order::Provider(ask) => self.observe(caller, &request, &ask).await,
            Order::Project(ask) => self.observe(caller, &request, &ask).await,
            Order::Card(ask) => self.observe(caller, &request, &ask).await,
            Order::Run { run, command } => self.observe(caller, &request, &RunOrder { run, command }).await,
            Order::Environment { environment, command } => {
                self.observe(caller, &request, &EnvironmentOrder { environment, command }).await
            }
            Order::FinishCard { card, run, result } => {
                self.observe(caller, &request, &FinishCardOrder { card, run, result }).await
            }
        }
    }

    /// The answer of an earlier request under the same id, if it was carried out. For edges that would otherwise ask
    /// the outside world first; [`Dispatcher::dispatch`] looks by itself.
    ///
    /// # Errors
    /// [`DispatchError::KeyReused`], [`DispatchError::Log`].
    pub async fn recall(&self, caller: &Caller, request: &Request) -> Result<Option<Answer>, DispatchError> {
        match request.fingerprint {
            Some(fingerprint) => self.earlier(&Call { caller, request, fingerprint }).await,
            None => Ok(None),
        }
    }

    /// An aggregate as the log has it; the default state when it does not exist or is another tenant's.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn load<A: Decider>(&self, tenant: TenantId, stream: Uuid) -> Result<Loaded<A>, LogError> {
        self.log.load(tenant, stream).await
    }

    /// Carries an order out in a span, and counts it.
    async fn observe<O: Ask>(&self, caller: &Caller, request: &Request, ask: &O) -> Result<Answer, DispatchError> {
        let span = tracing::info_span!(
            "command",
            otel.name = ask.name(),
            command.name = ask.name(),
            command.id = %request.command,
            command.outcome = field::Empty,
            tenant.id = %caller.tenant,
            actor.id = %caller.actor,
            stream.id = field::Empty,
            stream.version = field::Empty,
        );
        // A command from inside continues its request's span by itself.
        if trace::current().is_none() {
            trace::continue_from(&span, request.traceparent.as_deref());
        }
        async {
            let result = self.carry_out(caller, request, ask).await;
            let outcome = match &result {
                Ok(Answer { repeated: true, .. }) => "repeated",
                Ok(_) => "done",
                Err(error) => error.code(),
            };
            let span = Span::current();
            span.record("command.outcome", outcome);
            if let Ok(answer) = &result {
                span.record("stream.id", field::display(answer.stream));
                span.record("stream.version", answer.version);
            }
            counter!("agentworks_commands_total", "command" => ask.name(), "outcome" => outcome).increment(1);
            result
        }
        .instrument(span)
        .await
    }

    async fn carry_out<O: Ask>(&self, caller: &Caller, request: &Request, ask: &O) -> Result<Answer, DispatchError> {
        let target = ask.stream(caller.tenant);
        let fingerprint = request.fingerprint.unwrap_or_else(|| kind_and_target(ask.name(), target));
        let call = Call { caller, request, fingerprint };
        if let Some(answer) = self.earlier(&call).await? {
            return Ok(answer);
        }
        let stream = target.unwrap_or_else(clock::id);
        let _turn = match ask.turn() {
            Some(project) => Some(self.turns.take(project.uuid()).await),
            None => None,
        };
        match self.attempt(&call, ask, stream).await {
            // What forbids it now may be its own effect, from a request that was on its way at the same time.
            Err(error) if !error.is_passing() => match self.earlier(&call).await? {
                Some(answer) => Ok(answer),
                None => Err(error),
            },
            result => result,
        }
    }

    /// Loads, decides and appends, again while others come in between.
    async fn attempt<O: Ask>(&self, call: &Call<'_>, ask: &O, stream: Uuid) -> Result<Answer, DispatchError> {
        let tenant = call.caller.tenant;
        let mut turn = None;
        for attempt in 1..=MAX_TRIES {
            let loaded = self.log.load::<O::Aggregate>(tenant, stream).await?;
            let expected = call.request.expected_version.filter(|_| loaded.version > 0);
            let now = clock::now();
            let facts = Facts { log: &self.log, board: &*self.board, tenant, command: call.request.command, now };
            let command = ask.prepare(&loaded.state, &facts).await?;
            if expected.is_some_and(|expected| expected != loaded.version) {
                return Err(DispatchError::VersionMismatch { current: loaded.version });
            }
            let events = loaded.state.decide(command).map_err(|refusal| DispatchError::refused(&refusal))?;
            if events.is_empty() {
                return Ok(self.answer(tenant, stream, loaded.version, loaded.position, false));
            }
            // Only what would change something is asked for: what does not exist looks the same in any tenant.
            let by_a_person = matches!(call.caller.actor, Actor::User(_) | Actor::Operator(_));
            if by_a_person && <O::Aggregate as Decider>::TYPE != Tenant::TYPE && facts.tenant_suspended().await? {
                let message = "the tenant is suspended: it may read, but change nothing";
                return Err(DispatchError::rule(RefusalKind::Rule, "tenant_not_active", message));
            }
            if let Some(deposit) = &call.request.deposit {
                deposit.store(tenant).await?;
            }
            let append = Append {
                metadata: Metadata {
                    tenant,
                    actor: call.caller.actor.clone(),
                    command: call.request.command,
                    correlation: call.request.correlation,
                    causation: call.request.causation,
                    traceparent: trace::parent(call.request.traceparent.as_deref()),
                    occurred_at: now,
                },
                fingerprint: call.fingerprint,
                aggregate_type: <O::Aggregate as Decider>::TYPE,
                stream,
                expected_version: loaded.version,
                expected_chain: loaded.chain,
                events: events
                    .iter()
                    .map(|event| NewEvent::of(EventId::from_uuid(clock::id()), event))
                    .collect::<Result<_, _>>()?,
            };
            crash::point("command.decided");
            match self.log.append(append).await? {
                Verdict::Stored(appended) => {
                    crash::point("command.stored");
                    return Ok(answered(&appended, false));
                }
                Verdict::Repeated(appended) => return Ok(answered(&appended, true)),
                Verdict::Mismatch => return Err(DispatchError::KeyReused),
                Verdict::Conflict { version } if expected.is_some() => {
                    return Err(DispatchError::VersionMismatch { current: version });
                }
                // Behind the others of this process who lost as well; then only other processes can come in between.
                Verdict::Conflict { .. } if turn.is_none() => turn = Some(self.turns.take(stream).await),
                Verdict::Conflict { .. } => tokio::time::sleep(clock::backoff(attempt)).await,
            }
        }
        Err(DispatchError::Contended)
    }

    /// The answer of the same request, if it was carried out before.
    async fn earlier(&self, call: &Call<'_>) -> Result<Option<Answer>, DispatchError> {
        if !call.request.repeatable {
            return Ok(None);
        }
        match self.log.command(call.caller.tenant, call.request.command).await? {
            None => Ok(None),
            Some(past) if past.fingerprint == call.fingerprint => Ok(Some(answered(&past.appended, true))),
            Some(_) => Err(DispatchError::KeyReused),
        }
    }

    fn answer(&self, tenant: TenantId, stream: Uuid, version: i64, position: i64, repeated: bool) -> Answer {
        Answer { stream, version, cursor: Cursor { partition: self.log.partition_of(tenant), position }, repeated }
    }
}

fn answered(appended: &Appended, repeated: bool) -> Answer {
    Answer {
        stream: appended.stream,
        version: appended.version,
        cursor: Cursor { partition: appended.partition, position: appended.position },
        repeated,
    }
}

/// The fingerprint of a request of the system itself. Its command id derives from what caused it, so its kind and target
/// are all that could differ; values are left out, since their debug form may change from release to release.
fn kind_and_target(name: &str, target: Option<Uuid>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(name.as_bytes());
    context.update(target.unwrap_or_default().as_bytes());
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}
