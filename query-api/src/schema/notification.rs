//! What people want to be told.

use std::collections::BTreeSet;

use async_graphql::{Context, Enum, ID, Object, Result};
use domain::{CardId, RunId};
use schemas::Recorded;
use time::OffsetDateTime;

use super::card::Card;
use super::run::Run;
use crate::follow::LogPage;
use crate::loader::named;
use crate::personal;
use crate::scalar::Cursor;

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
