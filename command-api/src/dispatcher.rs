//! The dispatcher: the only way by which state changes.

use std::sync::Arc;

use domain::subject::Subject;
use domain::tenant::Tenant;
use domain::{Actor, Decider, EventId, RefusalKind, SubjectId, TenantId};
use metrics::counter;
use outbox::{Aggregates, Append, Appended, Loaded, Log, LogError, MemorySettings, NewEvent, Verdict, crash, trace};
use ring::digest;
use schemas::{Cursor, Metadata};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use crate::facts::{BoardFacts, Facts, Memory};
use crate::order::{Ask, EnvironmentOrder, FinishCardOrder, RunOrder};
use crate::turn::Turns;
use crate::vault::Vault;
use crate::{Caller, DispatchError, Order, Request, clock};

/// How often a decision is made anew because the aggregate changed meanwhile.
const MAX_TRIES: u32 = 8;

/// What people may change while their tenant is suspended: the tenant itself, and that a person is known.
const ALSO_WHILE_SUSPENDED: [&str; 2] = [Tenant::TYPE, Subject::TYPE];

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
    aggregates: Aggregates,
    board: Arc<dyn BoardFacts>,
    vault: Vault,
    turns: Arc<Turns>,
}

/// One request on its way.
struct Call<'a> {
    /// Under a pseudonym, when it is an operator.
    caller: &'a Caller,
    /// The operator's name.
    name: Option<&'a str>,
    request: &'a Request,
    fingerprint: [u8; 32],
}

/// What follows from an order: nothing, where there is no append.
struct Decided<A: Decider> {
    loaded: Arc<Loaded<A>>,
    append: Option<(Append, Vec<A::Event>)>,
}

/// How an order was carried out.
enum Done {
    /// By what the log took in, now or in an earlier request.
    Appended(Answer),
    /// It was so already.
    Already(Answer),
}

impl Done {
    const fn answer(self) -> Answer {
        match self {
            Self::Appended(answer) | Self::Already(answer) => answer,
        }
    }
}

impl Dispatcher {
    /// On `log`; what only the board knows is asked of `board`, and what people say is sealed by `vault`.
    pub fn new(log: Log, board: Arc<dyn BoardFacts>, vault: Vault) -> Self {
        Self::remembering(Aggregates::new(log, MemorySettings::default()), board, vault)
    }

    /// On the log of `aggregates`, which remember as they were told to.
    pub fn remembering(aggregates: Aggregates, board: Arc<dyn BoardFacts>, vault: Vault) -> Self {
        Self { aggregates, board, vault, turns: Arc::default() }
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
            Order::Subject(ask) => self.observe(caller, &request, &ask).await,
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
            Some(fingerprint) => self.earlier(&Call { caller, name: None, request, fingerprint }).await,
            None => Ok(None),
        }
    }

    /// An aggregate as the log has it; the default state when it does not exist or is another tenant's.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn load<A: Decider>(&self, tenant: TenantId, stream: Uuid) -> Result<Loaded<A>, LogError> {
        self.aggregates.log().load(tenant, stream).await
    }

    /// Carries an order out in a span, and counts it.
    async fn observe<O: Ask>(&self, caller: &Caller, request: &Request, ask: &O) -> Result<Answer, DispatchError> {
        let veiled = Caller { actor: self.vault.veil(&caller.actor), ..*caller };
        let name = caller.actor.operator_name();
        let span = tracing::info_span!(
            "command",
            otel.name = ask.name(),
            command.name = ask.name(),
            command.id = %request.command,
            tenant.id = %caller.tenant,
            actor.id = %veiled.actor,
        );
        // A command from inside continues its request's span by itself.
        if trace::current().is_none() {
            trace::continue_from(&span, request.traceparent.as_deref());
        }
        async {
            let result = self.carry_out(&veiled, name, request, ask).await;
            let outcome = match &result {
                Ok(Answer { repeated: true, .. }) => "repeated",
                Ok(_) => "done",
                Err(error) => error.code(),
            };
            let span = Span::current();
            trace::note(&span, "command.outcome", outcome);
            if let Ok(answer) = &result {
                trace::note(&span, "stream.id", answer.stream.to_string());
                trace::note(&span, "stream.version", answer.version);
            }
            counter!("agentworks_commands_total", "command" => ask.name(), "outcome" => outcome).increment(1);
            result
        }
        .instrument(span)
        .await
    }

    async fn carry_out<O: Ask>(
        &self,
        caller: &Caller,
        name: Option<&str>,
        request: &Request,
        ask: &O,
    ) -> Result<Answer, DispatchError> {
        let target = ask.stream(caller.tenant);
        let fingerprint = request.fingerprint.unwrap_or_else(|| kind_and_target(ask.name(), target));
        let call = Call { caller, name, request, fingerprint };
        // The append finds out by itself whether the request was carried out before. Only what is done ahead of it, and
        // might be in the way of the request of then, has to ask first.
        if request.deposit.is_some()
            && let Some(answer) = self.earlier(&call).await?
        {
            return Ok(answer);
        }
        let _turn = match ask.turn() {
            Some(project) => Some(self.turns.take(project.uuid()).await),
            None => None,
        };
        let result = self.attempt(&call, ask, target).await;
        // What forbids it now, or makes it needless, may be its own effect.
        match result {
            Ok(Done::Appended(answer)) => Ok(answer),
            Err(error) if matches!(error, DispatchError::Log(_)) => Err(error),
            result => match self.earlier(&call).await? {
                Some(answer) => Ok(answer),
                None => result.map(Done::answer),
            },
        }
    }

    /// Loads, decides and appends, again while others come in between.
    async fn attempt<O: Ask>(&self, call: &Call<'_>, ask: &O, target: Option<Uuid>) -> Result<Done, DispatchError> {
        let stream = target.unwrap_or_else(clock::id);
        // Where facts about several things decide, they are looked up when it is their turn.
        let mut trust = ask.turn().is_none();
        let (mut turn, mut tries) = (None, 0);
        while tries < MAX_TRIES {
            let memory = Memory::new(trust);
            let decided = self.decide(call, ask, (target, stream), &memory).await;
            let (loaded, append, events) = match decided {
                Ok(Decided { loaded, append: Some((append, events)) }) => (loaded, append, events),
                // The append proves what was remembered; whatever else follows from it does not.
                _ if memory.was_used() => {
                    trust = false;
                    continue;
                }
                Ok(Decided { loaded, append: None }) => {
                    let partition = self.aggregates.log().partition_of(call.caller.tenant);
                    let cursor = Cursor { partition, position: loaded.position };
                    return Ok(Done::Already(Answer { stream, version: loaded.version, cursor, repeated: false }));
                }
                Err(error) => return Err(error),
            };
            tries += 1;
            crash::point("command.decided");
            match self.aggregates.append(append, &loaded, &events).await? {
                Verdict::Stored(appended) => {
                    crash::point("command.stored");
                    return Ok(Done::Appended(answered(&appended, false)));
                }
                Verdict::Repeated(appended) => return Ok(Done::Appended(answered(&appended, true))),
                Verdict::Mismatch => return Err(DispatchError::KeyReused),
                // What was expected was there when it was remembered; whether it was the caller's, the log must say.
                Verdict::Conflict { .. } if memory.was_used() => {}
                Verdict::Conflict { version } if call.request.expected_version.is_some() && loaded.version > 0 => {
                    return Err(DispatchError::VersionMismatch { current: version });
                }
                Verdict::Conflict { .. } => {}
            }
            match turn {
                // Behind the others of this process who lost as well; then only other processes can come in between.
                None => turn = Some(self.turns.take(stream).await),
                Some(_) => tokio::time::sleep(clock::backoff(tries)).await,
            }
        }
        Err(DispatchError::Contended)
    }

    /// What follows from the order, as things stand.
    async fn decide<O: Ask>(
        &self,
        call: &Call<'_>,
        ask: &O,
        (target, stream): (Option<Uuid>, Uuid),
        memory: &Memory,
    ) -> Result<Decided<O::Aggregate>, DispatchError> {
        let (tenant, now) = (call.caller.tenant, clock::now());
        let loaded = match (target, memory.use_if_any(|| self.aggregates.seen::<O::Aggregate>(tenant, stream))) {
            (_, Some(seen)) => seen,
            // A new id names nothing yet.
            (None, None) => Arc::default(),
            (Some(_), None) => self.aggregates.load(tenant, stream).await?,
        };
        let facts = Facts {
            aggregates: &self.aggregates,
            memory,
            board: &*self.board,
            vault: &self.vault,
            tenant,
            command: call.request.command,
            now,
            author: SubjectId::of(&call.caller.actor),
        };
        let command = ask.prepare(&loaded.state, &facts).await?;
        let expected = call.request.expected_version.filter(|_| loaded.version > 0);
        if expected.is_some_and(|expected| expected != loaded.version) {
            return Err(DispatchError::VersionMismatch { current: loaded.version });
        }
        let events = loaded.state.decide(command).map_err(|refusal| DispatchError::refused(&refusal))?;
        if events.is_empty() {
            return Ok(Decided { loaded, append: None });
        }
        // Only what would change something is asked for: what does not exist looks the same in any tenant.
        let by_a_person = matches!(call.caller.actor, Actor::User(_) | Actor::Operator(_));
        let holds_here = !ALSO_WHILE_SUSPENDED.contains(&<O::Aggregate as Decider>::TYPE);
        if by_a_person && holds_here && facts.tenant_suspended().await? {
            let message = "the tenant is suspended: it may read, but change nothing";
            return Err(DispatchError::rule(RefusalKind::Rule, "tenant_not_active", message));
        }
        if let Some((name, subject)) = call.name.zip(facts.author) {
            self.vault.introduce(tenant, subject, name).await?;
        }
        if let Some(deposit) = &call.request.deposit {
            deposit.store(tenant).await?;
        }
        let new = |event| NewEvent::of(EventId::from_uuid(clock::id()), event);
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
            events: events.iter().map(new).collect::<Result<_, _>>()?,
        };
        Ok(Decided { loaded, append: Some((append, events)) })
    }

    /// The answer of the same request, if it was carried out before.
    async fn earlier(&self, call: &Call<'_>) -> Result<Option<Answer>, DispatchError> {
        if !call.request.repeatable {
            return Ok(None);
        }
        match self.aggregates.log().command(call.caller.tenant, call.request.command).await? {
            None => Ok(None),
            Some(past) if past.fingerprint == call.fingerprint => Ok(Some(answered(&past.appended, true))),
            Some(_) => Err(DispatchError::KeyReused),
        }
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
