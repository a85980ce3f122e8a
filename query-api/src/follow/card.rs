//! Cards as they change, with what happened to them.

use std::sync::Arc;

use async_graphql::Result;
use domain::{CardId, ProjectId, TenantId};
use projections::Page;
use projections::board;
use projections::card_history;
use uuid::Uuid;

use super::thing::{Followed, Range, Read};
use crate::error::{OrInternal as _, not_found};
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

    async fn read(&mut self, snapshot: &mut Snapshot, range: Range) -> Result<Read<CardFrame>> {
        let tenant = snapshot.tenant;
        let card = board::card(snapshot.conn(), tenant, self.card).await.or_internal()?.ok_or_else(not_found)?;
        let (after, before) = (Some(range.after), Some(range.upto.0.position + 1));
        let page = Page { after, before, last: true, limit: ENTRIES + 1 };
        let mut entries = card_history::history(snapshot.conn(), tenant, self.card, page).await.or_internal()?;
        let more = entries.len() > usize::try_from(ENTRIES).unwrap_or(usize::MAX);
        if more {
            entries.remove(0);
        }
        let resync = Some(range.resync).filter(|_| more && range.after > 0);
        let (news, whole) = (card.position > range.after || !entries.is_empty(), range.after == 0 || more);
        let frame = CardFrame { cursor: range.upto, card: Arc::new(card), entries, whole, resync };
        Ok(Read { frame, news, over: false })
    }
}
