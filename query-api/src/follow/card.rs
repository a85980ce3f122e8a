//! Cards as they change, with what happened to them.

use std::sync::Arc;

use async_graphql::Result;
use domain::{CardId, ProjectId, TenantId};
use projections::board;
use projections::card_history::{self, Page};
use uuid::Uuid;

use super::thing::{Followed, Read};
use crate::error::{OrInternal as _, not_found};
use crate::scalar::Cursor;
use crate::schema::CardFrame;
use crate::snapshot::Snapshot;

/// Entries of a frame, at most; those before them are read with `cardHistory`.
const ENTRIES: i64 = 200;

/// A card, and what happens to it, to its runs and to their environments.
pub(crate) struct CardFollowed {
    pub(crate) card: CardId,
    pub(crate) project: ProjectId,
}

impl Followed for CardFollowed {
    type Frame = CardFrame;

    fn sources(&self, _: TenantId) -> Vec<(&'static str, Uuid)> {
        vec![(card_history::NAME, self.card.uuid()), (board::NAME, self.project.uuid())]
    }

    async fn read(&mut self, snapshot: &mut Snapshot, seen: i64, cursor: Cursor) -> Result<Read<CardFrame>> {
        let tenant = snapshot.tenant;
        let card = board::card(snapshot.conn(), tenant, self.card).await.or_internal()?.ok_or_else(not_found)?;
        let page = Page { after: Some(seen), before: Some(cursor.0.position + 1), last: true, limit: ENTRIES + 1 };
        let mut entries = card_history::history(snapshot.conn(), tenant, self.card, page).await.or_internal()?;
        let resync = entries.len() > usize::try_from(ENTRIES).unwrap_or(usize::MAX);
        if resync {
            entries.remove(0);
        }
        let news = card.position > seen || !entries.is_empty();
        Ok(Read { frame: CardFrame { cursor, card: Arc::new(card), entries, cut: resync }, news, over: false })
    }
}
