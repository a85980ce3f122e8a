//! What happened to a card.

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, ID, Object, Result};
use domain::id::{EventKind, RunKind};
use domain::{CardId, PersonalText, RunId, SubjectId};
use projections::card_history::{self, HistoryRow, Page};
use schemas::Cursor;
use time::OffsetDateTime;

use super::page::Wanted;
use super::run::Run;
use crate::error::{OrInternal as _, cursor_invalid};
use crate::loader::{HistoryOf, named};
use crate::personal::{self, ERASED};
use crate::scalar::id;
use crate::snapshot::Snapshot;
use crate::state::Reading;
use crate::viewer::Viewer;

/// One thing that happened to a card, to a run of it or to a run's environment.
pub(super) struct HistoryEntry(pub(super) HistoryRow);

/// One thing that happened to a card, to a run of it or to a run's environment.
#[Object]
impl HistoryEntry {
    /// The event, `evt_…`
    async fn id(&self) -> ID {
        id::<EventKind>(self.0.event)
    }

    /// The event's name, such as `CardMoved`.
    async fn kind(&self) -> &str {
        &self.0.kind
    }

    /// One line for people; with `[erased]` where what somebody said was erased.
    async fn summary(&self, ctx: &Context<'_>) -> Result<String> {
        let Some((saying, text @ PersonalText::Sealed(_))) = self.0.said() else { return Ok(self.0.summary.clone()) };
        let said = personal::open(ctx, saying, text).await?;
        Ok(card_history::with(&self.0.summary, said.as_deref().unwrap_or(ERASED)))
    }

    /// The whole of what somebody said by this: a comment, a reason. Null when nobody said anything, or it was erased.
    async fn text(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        let Some((saying, text)) = self.0.said() else { return Ok(None) };
        personal::open(ctx, saying, text).await
    }

    /// Whether somebody said something by this and it was erased.
    async fn erased(&self, ctx: &Context<'_>) -> Result<bool> {
        let Some((saying, text)) = self.0.said() else { return Ok(false) };
        Ok(personal::open(ctx, saying, text).await?.is_none())
    }

    /// The data subject with whom `text` is erased, `sub_…`
    async fn subject(&self) -> Option<ID> {
        let (_, text) = self.0.said()?;
        text.subject().map(|subject| ID(subject.to_string()))
    }

    /// Who acted, such as `operator:ada`, `agent:run_…` or `system:run-card`. An operator who was erased stands under a
    /// pseudonym, `operator:opr_…`
    async fn actor(&self, ctx: &Context<'_>) -> Result<String> {
        personal::actor(ctx, &self.0.actor).await
    }

    /// The data subject that whoever acted is, `sub_…`; null for machines.
    async fn actor_subject(&self) -> Option<ID> {
        SubjectId::of(&self.0.actor.parse().ok()?).map(|subject| ID(subject.to_string()))
    }

    /// When.
    async fn occurred_at(&self) -> OffsetDateTime {
        self.0.occurred_at
    }

    /// The run that it belongs to, `run_…`
    async fn run(&self) -> Option<ID> {
        self.0.run.map(id::<RunKind>)
    }

    /// The run that it belongs to, itself.
    #[graphql(complexity = "5 + child_complexity")]
    async fn in_run(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        let Some(run) = self.0.run else { return Ok(None) };
        Ok(named(ctx, RunId::from_uuid(run)).await?.map(Run))
    }

    /// The attempt that it belongs to, from 1.
    async fn attempt(&self) -> Option<i32> {
        self.0.attempt
    }

    /// What the event says, as JSON text, in the words of the event's JSON Schema. What people said is sealed in it:
    /// `text` has it readable.
    async fn payload(&self) -> &str {
        self.0.payload.get()
    }
}

/// A part of the card's history; `None` when there is no such card.
pub(super) async fn history(
    snapshot: &mut Snapshot,
    card: CardId,
    wanted: Wanted,
) -> Result<Option<Connection<String, HistoryEntry>>> {
    let (tenant, partition) = (snapshot.tenant, snapshot.cursor.partition);
    let (size, last) = wanted.size()?;
    let (after, before) = (position(partition, wanted.after.as_ref())?, position(partition, wanted.before.as_ref())?);
    let asked = Page { after, before, last, limit: size + 1 };
    let rows = card_history::history(snapshot.conn(), tenant, card, asked).await.or_internal()?;
    if rows.is_empty() && !card_history::exists(snapshot.conn(), tenant, card).await.or_internal()? {
        return Ok(None);
    }
    Ok(Some(connection(&wanted, rows, size, partition)))
}

/// A part of the card's history, read together with those of other cards; nothing when the history is not so far as the
/// card.
pub(super) async fn of_card(
    ctx: &Context<'_>,
    card: CardId,
    wanted: Wanted,
) -> Result<Connection<String, HistoryEntry>> {
    let partition = ctx.data::<Reading>()?.log.partition_of(ctx.data::<Viewer>()?.tenant);
    let (size, last) = wanted.size()?;
    let (after, before) = (position(partition, wanted.after.as_ref())?, position(partition, wanted.before.as_ref())?);
    let rows = named(ctx, HistoryOf { card, after, before, last, limit: size + 1 }).await?;
    Ok(connection(&wanted, rows.unwrap_or_default(), size, partition))
}

fn connection(
    wanted: &Wanted,
    mut rows: Vec<HistoryRow>,
    size: i64,
    partition: i32,
) -> Connection<String, HistoryEntry> {
    let (back, on) = wanted.cut(&mut rows, size);
    let mut connection = Connection::new(back, on);
    connection.edges.extend(rows.into_iter().map(|row| {
        let cursor = Cursor { partition, position: row.position };
        Edge::new(cursor.to_string(), HistoryEntry(row))
    }));
    connection
}

fn position(partition: i32, cursor: Option<&String>) -> Result<Option<i64>> {
    let Some(cursor) = cursor else { return Ok(None) };
    let cursor: Cursor = cursor.parse().map_err(|_| cursor_invalid())?;
    if cursor.partition == partition { Ok(Some(cursor.position)) } else { Err(cursor_invalid()) }
}
