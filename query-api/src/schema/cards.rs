//! Lists of cards.

use std::str::FromStr;
use std::sync::Arc;

use async_graphql::{Enum, InputObject, Result};
use domain::value::LaneKey;
use domain::{CardId, ProjectId, TenantId};
use projections::Page;
use projections::board::{self, CardPlace, CardRow, CardsOf, ProjectRow};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::card::Card;
use crate::error::{coded, cursor_invalid};
use crate::list::List;

/// Bytes of what is searched for.
const SEARCHED: usize = 1_000;

/// The order of a list of cards.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[graphql(remote = "board::CardOrder")]
pub(super) enum CardOrder {
    /// As on the board: lane by lane, each by its cards' ranks.
    #[default]
    Board,
    /// The newest first.
    Created,
    /// The last changed first.
    Updated,
}

/// Which cards. Each field that is given narrows them down further.
#[derive(InputObject)]
pub(super) struct CardFilter {
    /// Only those in a lane with one of these keys.
    lanes: Option<Vec<String>>,
    /// Only those with these words in title or description, whole words in any order and case; `"a phrase"`, `or` and
    /// `-not` as in a search engine. At most 1,000 bytes.
    search: Option<String>,
    /// Only those off the board, or only those on it; both when null.
    #[graphql(default_with = "Some(false)")]
    archived: Option<bool>,
    /// Only those that something holds up, or only the others.
    blocked: Option<bool>,
    /// Only those with a run that is queued or under way, or only the others.
    running: Option<bool>,
    /// Only those with an agent assigned, or only the others.
    assigned: Option<bool>,
    /// Only those that changed after this.
    updated_after: Option<OffsetDateTime>,
}

impl Default for CardFilter {
    fn default() -> Self {
        let archived = Some(false);
        Self { lanes: None, search: None, archived, blocked: None, running: None, assigned: None, updated_after: None }
    }
}

impl CardFilter {
    fn read(self) -> Result<board::CardFilter> {
        let search = self.search.filter(|words| !words.trim().is_empty());
        if search.as_ref().is_some_and(|words| words.len() > SEARCHED) {
            return Err(coded("filter_invalid", format!("at most {SEARCHED} bytes may be searched for")));
        }
        Ok(board::CardFilter {
            // What is no key is no lane's.
            lanes: self.lanes.map(|lanes| lanes.iter().filter_map(|lane| LaneKey::new(lane).ok()).collect()),
            search,
            archived: self.archived,
            blocked: self.blocked,
            running: self.running,
            assigned: self.assigned,
            updated_after: self.updated_after,
        })
    }
}

/// A list of the cards of a project with these lanes.
///
/// # Errors
/// `filter_invalid`.
pub(super) fn cards_of(project: &ProjectRow, filter: Option<CardFilter>, order: CardOrder) -> Result<CardsOf> {
    Ok(CardsOf {
        project: ProjectId::from_uuid(project.project),
        lanes: project.lanes.iter().map(|lane| lane.key.clone()).collect(),
        filter: filter.unwrap_or_default().read()?,
        order: order.into(),
    })
}

impl List for CardsOf {
    type Place = CardPlace;
    type Row = Arc<CardRow>;
    type Node = Card;

    fn place(&self, cursor: &str) -> Result<CardPlace> {
        CardOrder::from(self.order).place(cursor)
    }

    fn cursor(&self, row: &Arc<CardRow>) -> String {
        CardOrder::from(self.order).cursor(row)
    }

    fn node(row: Arc<CardRow>) -> Card {
        Card(row)
    }

    async fn pages(
        conn: &mut PgConnection,
        tenant: TenantId,
        asked: &[(Self, Page<CardPlace>)],
    ) -> sqlx::Result<Vec<Vec<Arc<CardRow>>>> {
        let pages = board::list(conn, tenant, asked).await?;
        Ok(pages.into_iter().map(|page| page.into_iter().map(Arc::new).collect()).collect())
    }

    async fn counts(conn: &mut PgConnection, tenant: TenantId, asked: &[Self]) -> sqlx::Result<Vec<i64>> {
        board::count(conn, tenant, asked).await
    }
}

impl CardOrder {
    /// What a cursor of this order begins with.
    const fn tag(self) -> &'static str {
        match self {
            Self::Board => "b",
            Self::Created => "c",
            Self::Updated => "u",
        }
    }

    /// The cursor of a card in a list of this order. Lanes and ranks have no dots.
    fn cursor(self, row: &CardRow) -> String {
        let (tag, card) = (self.tag(), CardId::from_uuid(row.card));
        let micros = |at: OffsetDateTime| at.unix_timestamp_nanos() / 1_000;
        match self {
            Self::Board => format!("{tag}.{}.{}.{card}", row.lane, row.rank),
            Self::Created => format!("{tag}.{}.{card}", micros(row.created_at)),
            Self::Updated => format!("{tag}.{}.{card}", micros(row.updated_at)),
        }
    }

    /// The place that a cursor of this order stands for.
    ///
    /// # Errors
    /// `cursor_invalid`.
    fn place(self, cursor: &str) -> Result<CardPlace> {
        let place = || {
            let rest = cursor.strip_prefix(self.tag())?.strip_prefix('.')?;
            let (key, card) = rest.rsplit_once('.')?;
            let card = CardId::from_str(card).ok()?;
            if self == Self::Board {
                let (lane, rank) = key.split_once('.')?;
                let (lane, rank) = (LaneKey::new(lane).ok()?.to_string(), rank.to_owned());
                let plain = rank.bytes().all(|b| b.is_ascii_alphanumeric());
                return plain.then_some(CardPlace::Board { lane, rank, card });
            }
            // Those of a log begin after 1970.
            let micros = u64::from_str(key).ok()?;
            let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()?;
            Some(CardPlace::Time { at, card })
        };
        place().ok_or_else(cursor_invalid)
    }
}
