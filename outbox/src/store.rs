//! The log as a `cqrs_es::EventStore`, so that a `CqrsFramework` works over it.
//!
//! One store stands for one command: the metadata names the tenant, the actor and the command id, and a command is
//! appended once. An aggregate's id is its UUID in text. What `cqrs_es` calls metadata is ignored: the log has its own.

use std::collections::HashMap;

use cqrs_es::{Aggregate, AggregateContext, AggregateError, EventEnvelope, EventStore};
use domain::{Actor, Decider, DecodeError, TenantId};
use schemas::Metadata;
use schemas::evidence::Hash;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{Append, Log, LogError, NewEvent, Verdict, ids};

/// Events that one read of a stream takes.
const PAGE: i64 = 1_000;

/// A store for one command.
#[derive(Debug, Clone)]
pub struct LogStore {
    /// The log.
    pub log: Log,
    /// What the events will say about who, why and when; its tenant is the only one that is read.
    pub metadata: Metadata,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An event makes no sense to this release.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The aggregate's id is no UUID.
    #[error("`{0}` is no aggregate id: a UUID is wanted")]
    Id(String),
    /// The command id was used before.
    #[error("the command id was used before for something else")]
    Mismatch,
}

/// An aggregate on its way from load to commit.
#[derive(Debug, Clone)]
pub struct LogContext<A> {
    /// Whose it is.
    pub tenant: TenantId,
    /// Who acts on it.
    pub actor: Actor,
    /// Its id.
    pub stream: Uuid,
    /// The version that was loaded; 0 when it did not exist.
    pub version: i64,
    /// The chain at that version.
    pub chain: Hash,
    /// Its state, with what the command does to it.
    pub aggregate: A,
}

impl<A: Aggregate> AggregateContext<A> for LogContext<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

impl<A> EventStore<A> for LogStore
where
    A: Aggregate<Event = <A as Decider>::Event> + Decider,
{
    type AC = LogContext<A>;

    async fn load_events(&self, id: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        self.events(id).await.map_err(unexpected)
    }

    async fn load_aggregate(&self, id: &str) -> Result<LogContext<A>, AggregateError<A::Error>> {
        let stream = parse(id).map_err(unexpected)?;
        let tenant = self.metadata.tenant;
        let loaded = self.log.load::<A>(tenant, stream).await.map_err(unexpected)?;
        Ok(LogContext {
            tenant,
            actor: self.metadata.actor.clone(),
            stream,
            version: loaded.version,
            chain: loaded.chain,
            aggregate: loaded.state,
        })
    }

    async fn commit(
        &self,
        events: Vec<<A as Aggregate>::Event>,
        context: LogContext<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let (stream, version) = (context.stream, context.version);
        let append = self.append_of(&events, context).map_err(unexpected)?;
        match self.log.append(append).await.map_err(unexpected)? {
            Verdict::Stored(_) | Verdict::Repeated(_) => {}
            Verdict::Conflict { .. } => return Err(AggregateError::AggregateConflict),
            Verdict::Mismatch => return Err(unexpected(StoreError::Mismatch)),
        }
        let envelope = |(payload, version): (_, i64)| EventEnvelope {
            aggregate_id: stream.to_string(),
            sequence: usize::try_from(version).unwrap_or(0),
            payload,
            metadata: metadata.clone(),
        };
        Ok(events.into_iter().zip(version + 1..).map(envelope).collect())
    }
}

impl LogStore {
    /// A store for the command that `metadata` names.
    pub const fn new(log: Log, metadata: Metadata) -> Self {
        Self { log, metadata }
    }

    async fn events<A>(&self, id: &str) -> Result<Vec<EventEnvelope<A>>, StoreError>
    where
        A: Aggregate<Event = <A as Decider>::Event> + Decider,
    {
        let stream = parse(id)?;
        let (mut envelopes, mut after) = (Vec::new(), 0);
        loop {
            let page = self.log.read_stream(self.metadata.tenant, stream, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(envelopes) };
            after = last.version;
            for event in &page {
                let Some(payload) = event.decode::<A>()? else { continue };
                envelopes.push(EventEnvelope {
                    aggregate_id: id.to_owned(),
                    sequence: usize::try_from(event.version).unwrap_or(0),
                    payload,
                    metadata: HashMap::new(),
                });
            }
        }
    }

    fn append_of<A>(&self, events: &[<A as Decider>::Event], context: LogContext<A>) -> Result<Append, StoreError>
    where
        A: Decider,
    {
        let new = |event| NewEvent::of(ids::event_id(), event);
        let events = events.iter().map(new).collect::<Result<Vec<_>, _>>()?;
        // The framework does not show the command; what it led to, on which stream, stands for it.
        let mut said = Sha256::new().chain_update(context.stream);
        for event in &events {
            said.update(event.event_type);
            said.update([0]);
            said.update(&event.payload);
            said.update([0]);
        }
        Ok(Append {
            metadata: Metadata { tenant: context.tenant, actor: context.actor, ..self.metadata.clone() },
            fingerprint: said.finalize().into(),
            aggregate_type: <A as Decider>::TYPE,
            stream: context.stream,
            expected_version: context.version,
            expected_chain: context.chain,
            events,
        })
    }
}

fn parse(id: &str) -> Result<Uuid, StoreError> {
    Uuid::parse_str(id).map_err(|_| StoreError::Id(id.chars().take(64).collect()))
}

fn unexpected<T: std::error::Error>(error: impl Into<StoreError>) -> AggregateError<T> {
    AggregateError::UnexpectedError(Box::new(error.into()))
}
