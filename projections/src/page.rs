//! Parts of lists, read for many lists at once: whatever the lists and their pages, one statement.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres, Row as _};
use uuid::Uuid;

/// A part of a list: at most `limit` rows from its beginning, or from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page<P> {
    /// Only what stands after this place.
    pub after: Option<P>,
    /// Only what stands before this place.
    pub before: Option<P>,
    /// Whether the last rows of that range are wanted, not the first.
    pub last: bool,
    /// How many.
    pub limit: i64,
}

/// What a list may be ordered by: a column whose values differ within it.
pub(crate) trait Place: Copy + Send {
    /// The type of the column.
    const TYPE: &'static str;
    /// Less than all there is, and more.
    const ENDS: (Self::Column, Self::Column);
    /// The place as the column has it.
    type Column: Copy + Send + Sync + for<'q> sqlx::Encode<'q, Postgres> + sqlx::postgres::PgHasArrayType + 'static;

    fn column(self) -> Self::Column;
}

impl Place for i64 {
    const TYPE: &'static str = "bigint";
    const ENDS: (Self, Self) = (0, Self::MAX);
    type Column = Self;

    fn column(self) -> Self {
        self
    }
}

impl<K: Copy + Send> Place for domain::Id<K> {
    const TYPE: &'static str = "uuid";
    const ENDS: (Uuid, Uuid) = (Uuid::nil(), Uuid::max());
    type Column = Uuid;

    fn column(self) -> Uuid {
        self.uuid()
    }
}

/// Lists that a table holds, of one tenant each.
pub(crate) struct Lists {
    pub(crate) table: &'static str,
    /// Which rows are on the list of `asked.owner`, or of `asked.part` of it; each in a way that an index answers.
    pub(crate) whose: &'static [&'static str],
    /// The column that they are ordered by.
    pub(crate) by: &'static str,
    /// Whether the greatest stands first.
    pub(crate) falling: bool,
}

/// Whose list, and of which part of it.
pub(crate) type Whose = (Option<Uuid>, Option<Uuid>);

impl Lists {
    /// A part of each of these lists, each in its order.
    pub(crate) async fn pages<R, P>(
        &self,
        conn: &mut PgConnection,
        tenant: Uuid,
        asked: &[(Whose, Page<P>)],
    ) -> Result<Vec<Vec<R>>, sqlx::Error>
    where
        R: for<'r> FromRow<'r, PgRow>,
        P: Place,
        Vec<P::Column>: for<'q> sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>,
    {
        let Self { table, whose, by, falling } = self;
        let (on, back) = if *falling { ("DESC", "ASC") } else { ("ASC", "DESC") };
        // Who asks for the end of a list reads its index from there.
        let end = |whose: &str, backward: &str, order: &str| {
            format!(
                "(SELECT * FROM {table} WHERE tenant = $1 AND {whose} AND {by} > asked.low AND {by} < asked.high \
                 AND {backward} ORDER BY {by} {order} LIMIT asked.most)"
            )
        };
        let ends =
            whose.iter().flat_map(|whose| [end(whose, "NOT asked.backward", on), end(whose, "asked.backward", back)]);
        let select = format!(
            "SELECT page.*, asked.list FROM unnest($2::uuid[], $3::uuid[], $4::{kind}[], $5::{kind}[], $6::boolean[], \
             $7::bigint[]) WITH ORDINALITY AS asked (owner, part, low, high, backward, most, list) \
             CROSS JOIN LATERAL ({}) AS page ORDER BY asked.list, page.{by} {on}",
            ends.collect::<Vec<_>>().join(" UNION ALL "),
            kind = P::TYPE
        );
        let (lowest, highest) = P::ENDS;
        let place = |place: Option<P>, end: P::Column| place.map_or(end, P::column);
        let range = |page: &Page<P>| {
            let (low, high) = if *falling { (page.before, page.after) } else { (page.after, page.before) };
            (place(low, lowest), place(high, highest))
        };
        let (low, high): (Vec<_>, Vec<_>) = asked.iter().map(|(_, page)| range(page)).unzip();
        let (owners, parts): (Vec<_>, Vec<_>) = asked.iter().map(|(whose, _)| *whose).unzip();
        let rows = sqlx::query(AssertSqlSafe(select))
            .bind(tenant)
            .bind(owners)
            .bind(parts)
            .bind(low)
            .bind(high)
            .bind(asked.iter().map(|(_, page)| page.last).collect::<Vec<_>>())
            .bind(asked.iter().map(|(_, page)| page.limit).collect::<Vec<_>>())
            .fetch_all(conn)
            .await?;
        by_list(&rows, asked.len())
    }

    /// How long each of these lists is.
    pub(crate) async fn counts(
        &self,
        conn: &mut PgConnection,
        tenant: Uuid,
        asked: &[Whose],
    ) -> Result<Vec<i64>, sqlx::Error> {
        let Self { table, whose, .. } = self;
        let count = |whose: &&str| format!("(SELECT count(*) FROM {table} WHERE tenant = $1 AND {whose})");
        let select = format!(
            "SELECT {} FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS asked (owner, part, list) ORDER BY asked.list",
            whose.iter().map(count).collect::<Vec<_>>().join(" + ")
        );
        let (owners, parts): (Vec<_>, Vec<_>) = asked.iter().copied().unzip();
        sqlx::query_scalar(AssertSqlSafe(select)).bind(tenant).bind(owners).bind(parts).fetch_all(conn).await
    }
}

/// Rows by the list that they are on, which their column `list` numbers from 1.
pub(crate) fn by_list<R: for<'r> FromRow<'r, PgRow>>(rows: &[PgRow], lists: usize) -> Result<Vec<Vec<R>>, sqlx::Error> {
    let mut pages: Vec<Vec<R>> = std::iter::repeat_with(Vec::new).take(lists).collect();
    for row in rows {
        let list: i64 = row.try_get("list")?;
        if let Some(page) = usize::try_from(list - 1).ok().and_then(|list| pages.get_mut(list)) {
            page.push(R::from_row(row)?);
        }
    }
    Ok(pages)
}
