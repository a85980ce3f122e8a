//! The log itself, and what of it people want to be told.

use std::collections::BTreeSet;

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use domain::id::{CardKind, EnvironmentKind, ProjectKind, ProviderKind, RunKind, TenantKind, WorkspaceKind};
use domain::{CardId, RunId, registry};
use outbox::consumer;
use schemas::Recorded;
use time::OffsetDateTime;

use super::card::Card;
use super::page;
use super::run::Run;
use crate::error::{OrInternal as _, coded};
use crate::follow::LogPage;
use crate::loader::named;
use crate::personal;
use crate::replay::Cause;
use crate::scalar::{BigInt, Cursor, id, int};
use crate::snapshot::since;
use crate::state::Reading;
use crate::viewer::Viewer;

/// Types of events, as a client names them.
///
/// # Errors
/// `types_unknown`.
pub(super) fn types(wanted: Vec<String>) -> Result<BTreeSet<String>> {
    let known: BTreeSet<_> = registry::events().into_iter().map(|known| known.event.name).collect();
    let unknown: Vec<&str> = wanted.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
    if unknown.is_empty() {
        return Ok(wanted.into_iter().collect());
    }
    Err(coded("types_unknown", format!("there are no events of these types: {}", unknown.join(", "))))
}

/// An event as the log holds it.
pub(super) struct LoggedEvent(pub(super) Recorded);

/// An event as the log holds it.
#[Object]
impl LoggedEvent {
    /// The event, `evt_…`
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// Its place in the log.
    async fn cursor(&self) -> Cursor {
        Cursor(schemas::Cursor { partition: self.0.partition, position: self.0.position })
    }

    /// The event's name, such as `CardMoved`.
    async fn kind(&self) -> &str {
        &self.0.event_type
    }

    /// The version of the payload.
    async fn event_version(&self) -> i32 {
        self.0.event_version.into()
    }

    /// What it happened to, such as `card`.
    async fn aggregate(&self) -> &str {
        &self.0.aggregate_type
    }

    /// The aggregate, such as `crd_…`
    async fn subject(&self) -> ID {
        let stream = self.0.stream;
        match self.0.aggregate_type.as_str() {
            "tenant" => id::<TenantKind>(stream),
            "workspace" => id::<WorkspaceKind>(stream),
            "provider" => id::<ProviderKind>(stream),
            "project" => id::<ProjectKind>(stream),
            "card" => id::<CardKind>(stream),
            "run" => id::<RunKind>(stream),
            "environment" => id::<EnvironmentKind>(stream),
            _ => ID(stream.to_string()),
        }
    }

    /// Its place in the aggregate's stream, from 1.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }

    /// Who acted, such as `user:usr_…`, `agent:run_…` or `system:run-card`; decided by the credential.
    async fn actor(&self) -> String {
        self.0.metadata.actor.to_string()
    }

    /// Why it happened.
    async fn cause(&self) -> Cause {
        Cause::of(&self.0.metadata)
    }

    /// When it was decided.
    async fn occurred_at(&self) -> OffsetDateTime {
        self.0.metadata.occurred_at
    }

    /// When the log took it.
    async fn recorded_at(&self) -> OffsetDateTime {
        self.0.recorded_at
    }

    /// What happened, as JSON text, as it was stored and digested. What people said is sealed in it.
    async fn payload(&self) -> &str {
        self.0.payload.get()
    }

    /// SHA-256 over the event's bytes in their fixed framing, hexadecimal.
    async fn digest(&self) -> String {
        self.0.digest.to_string()
    }

    /// SHA-256 of the stream's chain before and the digest, hexadecimal.
    async fn chain(&self) -> String {
        self.0.chain.to_string()
    }
}

/// A page of the tenant's log.
pub(super) async fn page(
    ctx: &Context<'_>,
    first: Option<i32>,
    after: Option<Cursor>,
) -> Result<Connection<String, LoggedEvent>> {
    let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
    let size = page::size(first)?;
    let after = since(reading, viewer.tenant, after).await?;
    let mut events = reading.log.read_tenant(viewer.tenant, after.unwrap_or(0), size + 1).await.or_internal()?;
    let mut connection = Connection::new(after.is_some(), page::cut(&mut events, size));
    connection.edges.extend(events.into_iter().map(|event| {
        let cursor = schemas::Cursor { partition: event.partition, position: event.position };
        Edge::new(cursor.to_string(), LoggedEvent(event))
    }));
    Ok(connection)
}

/// How far a read model follows the log, for the tenant who asks.
#[derive(SimpleObject)]
pub(super) struct ReadModel {
    /// Its name, such as `board`.
    name: &'static str,
    /// How far it is: what it shows has everything up to here in it.
    cursor: Cursor,
    /// How many events the log is ahead of it, those of other tenants included; it stays above 0 when an event could not
    /// be applied and the tenant's later events wait behind it.
    behind: BigInt,
}

/// How far each read model is.
pub(super) async fn read_models(ctx: &Context<'_>) -> Result<Vec<ReadModel>> {
    let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
    let partition = reading.log.partition_of(viewer.tenant);
    let mut tx = projections::read(&reading.log, viewer.tenant).await.or_internal()?;
    let mut models = Vec::new();
    for model in projections::MODELS {
        let position =
            consumer::tenant_position(&mut tx, model.consumer, partition, viewer.tenant).await.or_internal()?;
        models.push((model.name, position));
    }
    drop(tx);
    // Asked last, so that no model is ahead of it.
    let head = reading.log.head(partition).await.or_internal()?;
    let of = |(name, position): (&'static str, i64)| ReadModel {
        name,
        cursor: Cursor(schemas::Cursor { partition, position }),
        behind: BigInt(head - position),
    };
    Ok(models.into_iter().map(of).collect())
}

/// What happened between the frame before (or `since`) and this frame's cursor.
pub(crate) struct EventsFrame(pub(crate) LogPage);

/// What happened between the frame before (or `since`) and this frame's cursor.
#[Object]
impl EventsFrame {
    /// How far this goes: give it as `since` after a reconnect.
    async fn cursor(&self) -> Cursor {
        self.0.cursor
    }

    /// The events, in the order of the log; none in the first frame.
    #[graphql(complexity = "20 * child_complexity")]
    async fn events(&self) -> Vec<LoggedEvent> {
        self.0.events.iter().cloned().map(LoggedEvent).collect()
    }
}

/// Why somebody is told.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotificationKind {
    /// A run ended with work on its branch.
    RunSucceeded,
    /// A run ended without.
    RunFailed,
    /// A run took too long.
    RunTimedOut,
    /// A card is held up.
    CardBlocked,
    /// Somebody said something about a card.
    CardCommented,
}

impl NotificationKind {
    const ALL: [(&'static str, Self); 5] = [
        ("RunSucceeded", Self::RunSucceeded),
        ("RunFailed", Self::RunFailed),
        ("RunTimedOut", Self::RunTimedOut),
        ("CardBlocked", Self::CardBlocked),
        ("CardCommented", Self::CardCommented),
    ];

    /// The types of events that people are told of.
    pub(super) fn types() -> BTreeSet<String> {
        Self::ALL.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    fn of(event: &Recorded) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == event.event_type).map(|(_, kind)| kind)
    }
}

/// Something that people want to be told.
pub(super) struct Notification {
    kind: NotificationKind,
    event: Recorded,
}

/// Something that people want to be told.
#[Object]
impl Notification {
    /// The event that it is about, `evt_…`
    async fn id(&self) -> ID {
        ID(self.event.id.to_string())
    }

    /// What it is.
    async fn kind(&self) -> NotificationKind {
        self.kind
    }

    /// Who acted.
    async fn actor(&self, ctx: &Context<'_>) -> Result<String> {
        personal::actor(ctx, &self.event.metadata.actor.to_string()).await
    }

    /// When.
    async fn occurred_at(&self) -> OffsetDateTime {
        self.event.metadata.occurred_at
    }

    /// The card that it is about; null while it cannot be read yet.
    #[graphql(complexity = "5 + child_complexity")]
    async fn card(&self, ctx: &Context<'_>) -> Result<Option<Card>> {
        let card = match self.event.aggregate_type.as_str() {
            "card" => CardId::from_uuid(self.event.stream),
            _ => match named(ctx, RunId::from_uuid(self.event.stream)).await? {
                Some(run) => CardId::from_uuid(run.card),
                None => return Ok(None),
            },
        };
        Ok(named(ctx, card).await?.map(Card))
    }

    /// The run that it is about; null when it is about none, or while it cannot be read yet.
    #[graphql(complexity = "5 + child_complexity")]
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        if self.event.aggregate_type != "run" {
            return Ok(None);
        }
        Ok(named(ctx, RunId::from_uuid(self.event.stream)).await?.map(Run))
    }
}

/// What people want to be told, between the frame before (or `since`) and this frame's cursor.
pub(crate) struct NotificationsFrame(pub(crate) LogPage);

/// What people want to be told, between the frame before (or `since`) and this frame's cursor.
#[Object]
impl NotificationsFrame {
    /// How far this goes: give it as `since` after a reconnect.
    async fn cursor(&self) -> Cursor {
        self.0.cursor
    }

    /// In the order in which it happened; none in the first frame.
    #[graphql(complexity = "20 * child_complexity")]
    async fn notifications(&self) -> Vec<Notification> {
        let of = |event: &Recorded| Some(Notification { kind: NotificationKind::of(event)?, event: event.clone() });
        self.0.events.iter().filter_map(of).collect()
    }
}
