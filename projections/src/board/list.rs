//! Pages of a project's cards.

use domain::TenantId;
use domain::id::{CardId, ProjectId};
use domain::project::Lane;
use domain::value::LaneKey;
use sqlx::{AssertSqlSafe, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::row::CardRow;

/// Which of a project's cards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Only those that changed after this.
    pub updated_after: Option<OffsetDateTime>,
}

/// A place in a list of cards: what its order goes by, and the card. A list goes by one kind of place.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardOrder {
    /// As on the board: by the lane's place among the project's lanes, then by rank.
    Board,
    /// The newest first.
    Created,
    /// The last changed first.
    Updated,
}

/// A part of a list of cards.
#[derive(Debug, Clone)]
pub struct CardPage {
    /// In which order.
    pub order: CardOrder,
    /// Only what stands after this.
    pub after: Option<CardPlace>,
    /// Only what stands before this.
    pub before: Option<CardPlace>,
    /// The end of the range rather than its beginning.
    pub last: bool,
    /// At most so many.
    pub limit: i64,
}

const FILTER: &str = "tenant = $1 AND project = $2 AND ($3::text[] IS NULL OR lane = ANY ($3)) \
     AND ($4::text IS NULL OR to_tsvector('simple', title || ' ' || description) @@ websearch_to_tsquery('simple', $4)) \
     AND ($5::boolean IS NULL OR archived = $5) \
     AND ($6::boolean IS NULL OR (blocked_reason IS NOT NULL) = $6) \
     AND ($7::boolean IS NULL OR (active_run IS NOT NULL) = $7) \
     AND ($8::timestamptz IS NULL OR updated_at > $8)";

macro_rules! filtered {
    ($query:expr, $tenant:expr, $project:expr, $filter:expr) => {
        $query
            .bind($tenant.uuid())
            .bind($project.uuid())
            .bind($filter.lanes.as_ref().map(|lanes| lanes.iter().map(ToString::to_string).collect::<Vec<_>>()))
            // Postgres knows no NUL.
            .bind($filter.search.as_ref().map(|words| words.replace('\0', " ")))
            .bind($filter.archived)
            .bind($filter.blocked)
            .bind($filter.running)
            .bind($filter.updated_after)
    };
}

/// The statement for a part of a list. Of each place it takes lane, rank, time and card; a list's order goes by some of
/// them. A lane that the project has no more comes after all others.
fn statement(page: &CardPage) -> String {
    let place = |lane: &str| format!("coalesce(array_position($9::text[], {lane}), 1000000)");
    let keys = |lane: &str, rank: &str, at: &str, card: &str| match page.order {
        CardOrder::Board => format!("({}, {rank}, {card})", place(lane)),
        CardOrder::Created | CardOrder::Updated => format!("({at}, {card})"),
    };
    let (up, column) = match page.order {
        CardOrder::Board => (true, "created_at"),
        CardOrder::Created => (false, "created_at"),
        CardOrder::Updated => (false, "updated_at"),
    };
    let given = |n: u8| {
        let [lane, rank, at] = [format!("${n}::text"), format!("${}::text", n + 1), format!("${}::timestamptz", n + 2)];
        keys(&lane, &rank, &at, &format!("${}::uuid", n + 3))
    };
    let (on, back) = if up { (">", "<") } else { ("<", ">") };
    let direction = if up == page.last { "DESC" } else { "ASC" };
    let own = keys("lane", "rank", column, "card");
    let sorted = match page.order {
        CardOrder::Board => format!("{} {direction}, rank {direction}, card {direction}", place("lane")),
        CardOrder::Created | CardOrder::Updated => format!("{column} {direction}, card {direction}"),
    };
    format!(
        "SELECT * FROM cards WHERE {FILTER} AND ($13::uuid IS NULL OR {own} {on} {}) \
         AND ($17::uuid IS NULL OR {own} {back} {}) ORDER BY {sorted} LIMIT $18",
        given(10),
        given(14)
    )
}

/// A part of the list of the project's cards, in its order. `lanes` are the project's, in theirs.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    tenant: TenantId,
    project: ProjectId,
    lanes: &[Lane],
    filter: &CardFilter,
    page: &CardPage,
) -> Result<Vec<CardRow>, sqlx::Error> {
    let keys: Vec<&str> = lanes.iter().map(|lane| lane.key.as_str()).collect();
    let mut query = filtered!(sqlx::query_as(AssertSqlSafe(statement(page))), tenant, project, filter).bind(keys);
    for place in [&page.after, &page.before] {
        query = match place {
            None => query.bind(None::<&str>).bind(None::<&str>).bind(None::<OffsetDateTime>).bind(None::<Uuid>),
            Some(CardPlace::Board { lane, rank, card }) => {
                query.bind(lane).bind(rank).bind(None::<OffsetDateTime>).bind(card.uuid())
            }
            Some(CardPlace::Time { at, card }) => {
                query.bind(None::<&str>).bind(None::<&str>).bind(at).bind(card.uuid())
            }
        };
    }
    let mut rows: Vec<CardRow> = query.bind(page.limit).fetch_all(conn).await?;
    if page.last {
        rows.reverse();
    }
    Ok(rows)
}

/// How many of the project's cards there are.
///
/// # Errors
/// When the database does not answer.
pub async fn count(
    conn: &mut PgConnection,
    tenant: TenantId,
    project: ProjectId,
    filter: &CardFilter,
) -> Result<i64, sqlx::Error> {
    let statement = format!("SELECT count(*) FROM cards WHERE {FILTER}");
    filtered!(sqlx::query_scalar(AssertSqlSafe(statement)), tenant, project, filter).fetch_one(conn).await
}
