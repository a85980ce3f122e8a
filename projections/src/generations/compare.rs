//! Whether two generations hold the same rows, and where not.

use std::fmt;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

/// The first difference between two generations that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The row: the columns of its key.
    pub key: Value,
    /// The column; none where one of them has no such row.
    pub column: Option<String>,
    /// What the generation that serves has there.
    pub serving: Value,
    /// What the generation that was built has there.
    pub built: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, key, column, serving, built } = self;
        match column {
            Some(column) => write!(f, "table {table}, key {key}, column {column}: {serving} serves, {built} was built"),
            None if serving.is_null() => write!(f, "table {table}, key {key}: a row that does not serve was built"),
            None => write!(f, "table {table}, key {key}: a row that serves was not built"),
        }
    }
}

/// Compares all tables, by digests of their rows first, but for the rows of `parked` tenants. Both must be seen as of one
/// moment and at the same position.
pub(super) async fn difference(
    snapshot: &mut PgConnection,
    serving: &str,
    built: &str,
    parked: &[Uuid],
) -> Result<Option<Difference>, sqlx::Error> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY 1")
            .bind(built)
            .fetch_all(&mut *snapshot)
            .await?;
    for table in tables {
        let (one, other) = (format!("{serving}.{table}"), format!("{built}.{table}"));
        if digest(snapshot, &one, parked).await? != digest(snapshot, &other, parked).await? {
            return first(snapshot, &table, &one, &other, parked).await;
        }
    }
    Ok(None)
}

/// How many rows a table has, and two sums over all of them that no order changes.
async fn digest(
    snapshot: &mut PgConnection,
    table: &str,
    parked: &[Uuid],
) -> Result<(i64, Option<i64>, Option<String>), sqlx::Error> {
    let select = format!(
        "SELECT count(*), bit_xor(hashtextextended(t::text, 1)), sum(hashtextextended(t::text, 2)::numeric)::text \
         FROM {table} t WHERE tenant <> ALL ($1)"
    );
    sqlx::query_as(AssertSqlSafe(select)).bind(parked).fetch_one(snapshot).await
}

async fn first(
    snapshot: &mut PgConnection,
    table: &str,
    serving: &str,
    built: &str,
    parked: &[Uuid],
) -> Result<Option<Difference>, sqlx::Error> {
    let key: Vec<String> = sqlx::query_scalar(
        "SELECT attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
         WHERE i.indrelid = $1::text::regclass AND i.indisprimary ORDER BY attnum",
    )
    .bind(built)
    .fetch_all(&mut *snapshot)
    .await?;
    let same: Vec<String> = key.iter().map(|column| format!("s.{column} = b.{column}")).collect();
    let select = format!(
        "SELECT to_jsonb(s), to_jsonb(b) FROM {serving} s FULL JOIN {built} b ON {} \
         WHERE s::text IS DISTINCT FROM b::text AND coalesce(s.tenant, b.tenant) <> ALL ($1) LIMIT 1",
        same.join(" AND ")
    );
    let rows: Option<(Option<Value>, Option<Value>)> =
        sqlx::query_as(AssertSqlSafe(select)).bind(parked).fetch_optional(snapshot).await?;
    Ok(rows.map(|(serving, built)| named(table, &key, serving.unwrap_or_default(), built.unwrap_or_default())))
}

/// What differs between two rows of a table.
fn named(table: &str, key: &[String], serving: Value, built: Value) -> Difference {
    let either = if serving.is_null() { &built } else { &serving };
    let key = key.iter().map(|column| (column.clone(), either[column].clone())).collect();
    let column = match (&serving, &built) {
        (Value::Object(one), Value::Object(other)) => {
            one.iter().find(|(column, value)| other.get(*column) != Some(value)).map(|(column, _)| column.clone())
        }
        _ => None,
    };
    let (serving, built) = match &column {
        Some(column) => (serving[column].clone(), built[column].clone()),
        None => (serving, built),
    };
    Difference { table: table.to_owned(), key: Value::Object(key), column, serving, built }
}
