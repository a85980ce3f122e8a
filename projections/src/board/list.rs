//! Pages of projects' cards.

use std::collections::HashMap;

use domain::TenantId;
use domain::id::{CardId, ProjectId};
use domain::value::LaneKey;
use sqlx::{AssertSqlSafe, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::row::CardRow;
use crate::page::{Page, by_list};

/// Which of a project's cards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CardFilter {
    /// Only those in these lanes.
    pub lanes: Option<Vec<LaneKey>>,
    /// Only those whose title or description has these words, as a search engine takes them: `"a phrase"`, `or`, `-not`.
    pub search: Option<String>,
    /// Only those off the board, or only those on it.
    pub archived: Option<bool>,
    /// Only those that something holds up, or only the others.
    pub blocked: Option<bool>,
    /// Only those with a run that is queued or under way, or only the others.
    pub running: Option<bool>,
    /// Only those with an agent assigned, or only the others.
    pub assigned: Option<bool>,
    /// Only those that changed after this.
    pub updated_after: Option<OffsetDateTime>,
}

/// A place in a list of cards: what its order goes by, and the card. A list goes by one kind of place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CardPlace {
    /// As on the board: by the lane's place among the project's lanes, then by rank.
    Board {
        /// The lane's key.
        lane: String,
        /// The rank.
        rank: String,
        /// The card.
        card: CardId,
    },
    /// By a time, the latest first.
    Time {
        /// The time.
        at: OffsetDateTime,
        /// The card.
        card: CardId,
    },
}

/// The order of a list of cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CardOrder {
    /// As on the board: by the lane's place among the project's lanes, then by rank.
    Board,
    /// The newest first.
    Created,
    /// The last changed first.
    Updated,
}

/// A list of a project's cards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CardsOf {
    /// The project.
    pub project: ProjectId,
    /// The keys of its lanes, in its order. A card in none of them stands behind all others.
    pub lanes: Vec<LaneKey>,
    /// Which cards.
    pub filter: CardFilter,
    /// In which order.
    pub order: CardOrder,
}

const FILTER: &str = "tenant = $1 AND project = asked.owner AND ($2::text[] IS NULL OR lane = ANY ($2)) \
     AND ($3::text IS NULL OR to_tsvector('simple', title || ' ' || description) @@ websearch_to_tsquery('simple', $3)) \
     AND ($4::boolean IS NULL OR archived = $4) \
     AND ($5::boolean IS NULL OR (blocked_reason IS NOT NULL) = $5) \
     AND ($6::boolean IS NULL OR (active_run IS NOT NULL) = $6) \
     AND ($7::boolean IS NULL OR (agent IS NOT NULL) = $7) \
     AND ($8::timestamptz IS NULL OR updated_at > $8)";

macro_rules! filtered {
    ($query:expr, $tenant:expr, $filter:expr) => {
        $query
            .bind($tenant.uuid())
            .bind($filter.lanes.as_ref().map(|lanes| lanes.iter().map(ToString::to_string).collect::<Vec<_>>()))
            // Postgres knows no NUL.
            .bind($filter.search.as_ref().map(|words| words.replace('\0', " ")))
            .bind($filter.archived)
            .bind($filter.blocked)
            .bind($filter.running)
            .bind($filter.assigned)
            .bind($filter.updated_after)
    };
}

/// The statement for parts of lists of one order. Of each place it takes lane, rank, time and card; an order goes by some
/// of them.
fn statement(order: CardOrder, last: bool) -> String {
    let place = |lane: &str| format!("coalesce(array_position(asked.lanes, {lane}), 1000000)");
    let keys = |lane: &str, rank: &str, at: &str, card: &str| match order {
        CardOrder::Board => format!("({}, {rank}, {card})", place(lane)),
        CardOrder::Created | CardOrder::Updated => format!("({at}, {card})"),
    };
    let (up, column) = match order {
        CardOrder::Board => (true, "created_at"),
        CardOrder::Created => (false, "created_at"),
        CardOrder::Updated => (false, "updated_at"),
    };
    let given = |end: &str| {
        let [lane, rank, at, card] = ["lane", "rank", "at", "card"].map(|part| format!("asked.{end}_{part}"));
        keys(&lane, &rank, &at, &card)
    };
    let (on, back) = if up { (">", "<") } else { ("<", ">") };
    let own = keys("lane", "rank", column, "card");
    let sorted = |up: bool| {
        let direction = if up { "ASC" } else { "DESC" };
        match order {
            CardOrder::Board => format!("{} {direction}, rank {direction}, card {direction}", place("lane")),
            CardOrder::Created | CardOrder::Updated => format!("{column} {direction}, card {direction}"),
        }
    };
    format!(
        "SELECT page.*, asked.list FROM (SELECT *, string_to_array(joined, '.') AS lanes FROM unnest($9::uuid[], $10::text[], \
         $11::text[], $12::text[], $13::timestamptz[], $14::uuid[], $15::text[], $16::text[], $17::timestamptz[], \
         $18::uuid[], $19::bigint[]) WITH ORDINALITY AS asked (owner, joined, after_lane, after_rank, after_at, after_card, \
         before_lane, before_rank, before_at, before_card, most, list)) AS asked CROSS JOIN LATERAL \
         (SELECT * FROM cards WHERE {FILTER} AND (asked.after_card IS NULL OR {own} {on} {}) \
         AND (asked.before_card IS NULL OR {own} {back} {}) ORDER BY {} LIMIT asked.most) AS page ORDER BY asked.list, {}",
        given("after"),
        given("before"),
        sorted(up != last),
        sorted(up)
    )
}

/// Places by their parts, as the statement takes them.
#[derive(Default)]
struct Places {
    lanes: Vec<Option<String>>,
    ranks: Vec<Option<String>>,
    times: Vec<Option<OffsetDateTime>>,
    cards: Vec<Option<Uuid>>,
}

impl Places {
    fn of<'a>(places: impl Iterator<Item = &'a Option<CardPlace>>) -> Self {
        let mut all = Self::default();
        for place in places {
            let (lane, rank, at, card) = match place {
                None => (None, None, None, None),
                Some(CardPlace::Board { lane, rank, card }) => (Some(lane), Some(rank), None, Some(card)),
                Some(CardPlace::Time { at, card }) => (None, None, Some(*at), Some(card)),
            };
            all.lanes.push(lane.cloned());
            all.ranks.push(rank.cloned());
            all.times.push(at);
            all.cards.push(card.map(|card| card.uuid()));
        }
        all
    }
}

/// The places of those that agree in what one statement has in common.
fn alike<'a, T, K: std::hash::Hash + Eq>(asked: &'a [T], key: impl Fn(&'a T) -> K) -> HashMap<K, Vec<usize>> {
    let mut groups = HashMap::<K, Vec<usize>>::new();
    for (place, one) in asked.iter().enumerate() {
        groups.entry(key(one)).or_default().push(place);
    }
    groups
}

/// A part of each of these lists, each in its order: one statement for all that are filtered and ordered alike.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    tenant: TenantId,
    asked: &[(CardsOf, Page<CardPlace>)],
) -> Result<Vec<Vec<CardRow>>, sqlx::Error> {
    let mut pages = vec![vec![]; asked.len()];
    for ((filter, order, last), places) in alike(asked, |(of, page)| (&of.filter, of.order, page.last)) {
        let group: Vec<_> = places.iter().map(|place| &asked[*place]).collect();
        let lanes = |of: &CardsOf| of.lanes.iter().map(LaneKey::as_str).collect::<Vec<_>>().join(".");
        let after = Places::of(group.iter().map(|(_, page)| &page.after));
        let before = Places::of(group.iter().map(|(_, page)| &page.before));
        let rows = filtered!(sqlx::query(AssertSqlSafe(statement(order, last))), tenant, filter)
            .bind(group.iter().map(|(of, _)| of.project.uuid()).collect::<Vec<_>>())
            .bind(group.iter().map(|(of, _)| lanes(of)).collect::<Vec<_>>())
            .bind(after.lanes)
            .bind(after.ranks)
            .bind(after.times)
            .bind(after.cards)
            .bind(before.lanes)
            .bind(before.ranks)
            .bind(before.times)
            .bind(before.cards)
            .bind(group.iter().map(|(_, page)| page.limit).collect::<Vec<_>>())
            .fetch_all(&mut *conn)
            .await?;
        let read = by_list(&rows, places.len())?;
        places.into_iter().zip(read).for_each(|(place, page)| pages[place] = page);
    }
    Ok(pages)
}

/// How long each of these lists is: one statement for all that are filtered alike.
///
/// # Errors
/// When the database does not answer.
pub async fn count(conn: &mut PgConnection, tenant: TenantId, asked: &[CardsOf]) -> Result<Vec<i64>, sqlx::Error> {
    let mut counts = vec![0; asked.len()];
    for (filter, places) in alike(asked, |of| &of.filter) {
        let statement = format!(
            "SELECT (SELECT count(*) FROM cards WHERE {FILTER}) \
             FROM unnest($9::uuid[]) WITH ORDINALITY AS asked (owner, list) ORDER BY asked.list"
        );
        let read: Vec<i64> = filtered!(sqlx::query_scalar(AssertSqlSafe(statement)), tenant, filter)
            .bind(places.iter().map(|place| asked[*place].project.uuid()).collect::<Vec<_>>())
            .fetch_all(&mut *conn)
            .await?;
        places.into_iter().zip(read).for_each(|(place, count)| counts[place] = count);
    }
    Ok(counts)
}
