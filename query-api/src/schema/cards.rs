//! Lists of cards.

use std::str::FromStr;
use std::sync::Arc;

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, Enum, ID, InputObject, Result, SimpleObject};
use domain::CardId;
use domain::value::LaneKey;
use projections::board::{self, CardPage, CardPlace, CardRow};
use time::OffsetDateTime;

use super::card::Card;
use super::page::Wanted;
use crate::error::{OrInternal as _, coded, cursor_invalid};
use crate::scalar::{self, int, named};
use crate::snapshot::Snapshot;

/// Bytes of what is searched for.
const SEARCHED: usize = 1_000;

/// The order of a list of cards.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Only those that changed after this.
    updated_after: Option<OffsetDateTime>,
}

impl Default for CardFilter {
    fn default() -> Self {
        let archived = Some(false);
        Self { lanes: None, search: None, archived, blocked: None, running: None, updated_after: None }
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
            updated_after: self.updated_after,
        })
    }
}

/// How long a list is.
#[derive(SimpleObject)]
pub(super) struct Counted {
    /// How many there are in all, on every page.
    total_count: i32,
}

/// A part of the project's cards.
pub(super) async fn cards(
    ctx: &Context<'_>,
    project: &ID,
    filter: CardFilter,
    order: CardOrder,
    wanted: Wanted,
    wait_for: Option<scalar::Cursor>,
) -> Result<Connection<String, Card, Counted>> {
    let (size, last) = wanted.size()?;
    let filter = filter.read()?;
    let place = |cursor: &Option<String>| cursor.as_ref().map(|text| order.place(text)).transpose();
    let (after, before) = (place(&wanted.after)?, place(&wanted.before)?);
    let nothing = |behind| Connection::with_additional_fields(behind, false, Counted { total_count: 0 });
    let Some(project) = named(project) else { return Ok(nothing(after.is_some())) };
    let mut snapshot = Snapshot::open(ctx, board::NAME, wait_for).await?;
    let tenant = snapshot.tenant;
    let Some(row) = board::project(snapshot.conn(), tenant, project).await.or_internal()? else {
        return Ok(nothing(after.is_some()));
    };
    // Of the same moment as the page.
    let counted = ctx.look_ahead().field("totalCount").exists();
    let total = if counted { board::count(snapshot.conn(), tenant, project, &filter).await.or_internal()? } else { 0 };
    let page = CardPage { order: order.into(), after, before, last, limit: size + 1 };
    let mut rows = board::list(snapshot.conn(), tenant, project, &row.lanes, &filter, &page).await.or_internal()?;
    let (back, on) = wanted.cut(&mut rows, size);
    let mut connection = Connection::with_additional_fields(back, on, Counted { total_count: int(total) });
    connection.edges.extend(rows.into_iter().map(|row| Edge::new(order.cursor(&row), Card(Arc::new(row)))));
    Ok(connection)
}

impl From<CardOrder> for board::CardOrder {
    fn from(order: CardOrder) -> Self {
        match order {
            CardOrder::Board => Self::Board,
            CardOrder::Created => Self::Created,
            CardOrder::Updated => Self::Updated,
        }
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
