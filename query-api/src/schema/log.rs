//! The log itself, and how far the read models follow it.

use std::collections::BTreeSet;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use outbox::consumer;
use schemas::Recorded;
use time::OffsetDateTime;

use super::page::{self, ForwardConnection};
use crate::error::{OrInternal as _, coded};
use crate::events::unknown_types;
use crate::follow::LogPage;
use crate::replay::Cause;
use crate::scalar::{self, BigInt, Cursor, int};
use crate::snapshot::since;
use crate::state::Reading;
use crate::viewer::Viewer;

/// Types of events, as a client names them.
///
/// # Errors
/// `types_unknown`.
pub(super) fn types(wanted: Vec<String>) -> Result<BTreeSet<String>> {
    let wanted = wanted.into_iter().collect();
    match unknown_types(&wanted) {
        unknown if unknown.is_empty() => Ok(wanted),
        unknown => Err(coded("types_unknown", format!("there are no events of these types: {}", unknown.join(", ")))),
    }
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
        scalar::aggregate(&self.0.aggregate_type, self.0.stream)
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
) -> Result<ForwardConnection<LoggedEvent>> {
    let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
    let size = page::size(first)?;
    let after = since(reading, viewer.tenant, after).await?;
    let mut events = reading.log.read_tenant(viewer.tenant, after.unwrap_or(0), size + 1).await.or_internal()?;
    let more = page::cut(&mut events, size);
    let entries = events.into_iter().map(|event| {
        let cursor = schemas::Cursor { partition: event.partition, position: event.position };
        (cursor.to_string(), LoggedEvent(event))
    });
    Ok(ForwardConnection::new(entries, after.is_some(), more))
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
