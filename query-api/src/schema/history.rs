//! What happened to a card.

use async_graphql::{Context, ID, Object, Result};
use domain::id::{EventKind, RunKind};
use domain::{CardId, PersonalText, RunId, SubjectId, TenantId};
use projections::Page;
use projections::card_history::{self, HistoryRow};
use schemas::Cursor;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::run::Run;
use crate::error::cursor_invalid;
use crate::list::List;
use crate::loader::named;
use crate::personal::{self, ERASED};
use crate::scalar::id;
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

/// The history of a card, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HistoryOf {
    card: CardId,
    /// Where the tenant lives.
    partition: i32,
}

impl HistoryOf {
    pub(super) fn new(ctx: &Context<'_>, card: CardId) -> Result<Self> {
        let partition = ctx.data::<Reading>()?.log.partition_of(ctx.data::<Viewer>()?.tenant);
        Ok(Self { card, partition })
    }
}

impl List for HistoryOf {
    type Place = i64;
    type Row = HistoryRow;
    type Node = HistoryEntry;

    fn place(&self, cursor: &str) -> Result<i64> {
        let cursor: Cursor = cursor.parse().map_err(|_| cursor_invalid())?;
        if cursor.partition == self.partition { Ok(cursor.position) } else { Err(cursor_invalid()) }
    }

    fn cursor(&self, row: &HistoryRow) -> String {
        Cursor { partition: self.partition, position: row.position }.to_string()
    }

    fn node(row: HistoryRow) -> HistoryEntry {
        HistoryEntry(row)
    }

    async fn pages(
        conn: &mut PgConnection,
        tenant: TenantId,
        asked: &[(Self, Page<i64>)],
    ) -> sqlx::Result<Vec<Vec<HistoryRow>>> {
        let asked: Vec<_> = asked.iter().map(|(of, page)| (of.card, *page)).collect();
        card_history::histories(conn, tenant, &asked).await
    }

    async fn counts(conn: &mut PgConnection, tenant: TenantId, asked: &[Self]) -> sqlx::Result<Vec<i64>> {
        let cards: Vec<_> = asked.iter().map(|of| of.card).collect();
        card_history::lengths(conn, tenant, &cards).await
    }
}
