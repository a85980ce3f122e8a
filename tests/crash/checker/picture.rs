//! What the database holds, read by SQL of our own once everything is at rest.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use super::archive::Archived;

/// An event of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) partition: i32,
    pub(crate) position: i64,
    pub(crate) tenant: Uuid,
    pub(crate) id: Uuid,
    pub(crate) aggregate_type: String,
    pub(crate) stream: Uuid,
    pub(crate) version: i64,
    pub(crate) event_type: String,
    pub(crate) event_version: u16,
    pub(crate) actor: String,
    pub(crate) command: Uuid,
    pub(crate) correlation: Uuid,
    pub(crate) causation: Option<Uuid>,
    pub(crate) traceparent: Option<String>,
    /// As the database writes it in JSON.
    pub(crate) occurred_at: String,
    /// The same in microseconds since 1970.
    pub(crate) occurred_us: i64,
    /// The bytes as stored.
    pub(crate) payload: String,
    pub(crate) meta: String,
    /// `\x…`
    pub(crate) digest: String,
    pub(crate) chain: String,
}

impl Event {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.payload).expect("a payload is JSON")
    }

    /// The trace that it belongs to.
    pub(crate) fn trace(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }

    /// Whether somebody outside asked for it, as opposed to the system and its agents.
    pub(crate) fn by_a_person(&self) -> bool {
        self.actor.starts_with("user:") || self.actor.starts_with("operator:")
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        format!(
            "{} at {}/{} ({} {} v{})",
            self.event_type, self.partition, self.position, self.aggregate_type, self.stream, self.version
        )
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    /// Those of the database and of the archive, in the order of partition and position.
    pub(crate) events: Vec<Event>,
    pub(crate) archives: Vec<Archived>,
    /// `log.streams`, `log.commands` and `log.consumers`, as JSON.
    pub(crate) streams: Vec<Value>,
    pub(crate) commands: Vec<Value>,
    pub(crate) consumers: Vec<Value>,
    /// By partition.
    pub(crate) clock: Vec<i64>,
    /// `log.checkpoints` and `log.evidence_keys`.
    pub(crate) checkpoints: Vec<Value>,
    pub(crate) keys: Vec<Value>,
    /// The rows of the read models, by table.
    pub(crate) tables: BTreeMap<String, Vec<Value>>,
    /// What waits to be done, or is parked.
    pub(crate) waiting: BTreeMap<String, Vec<Value>>,
}

const EVENTS: &str = "SELECT (to_jsonb(e) || jsonb_build_object('payload', e.payload::text, 'meta', e.meta::text, \
    'occurred_us', (extract(epoch FROM e.occurred_at) * 1000000)::bigint))::text \
    FROM log.events e ORDER BY e.partition, e.position";

/// What must be empty when all is at rest.
const WAITING: [&str; 3] = ["work.outgoing", "work.jobs", "log.parked"];

impl Picture {
    /// Reads it, in one snapshot, and the files below `archive`.
    pub(crate) async fn take(database: &str, archive: &Path) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect(database).await?;
        let conn = &mut connection;
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL timezone = 'UTC'")
            .execute(&mut *conn)
            .await?;
        let archives = archives(conn, archive).await?;
        let mut events: Vec<Event> = archives.iter().filter_map(|archived| archived.events().ok()).flatten().collect();
        for event in json(conn, EVENTS).await? {
            events.push(serde_json::from_value(event).expect("an event"));
        }
        events.sort_by_key(|event| (event.partition, event.position));
        let mut tables = BTreeMap::new();
        for (schema, table) in read_tables(conn).await? {
            let rows = json(conn, &format!("SELECT to_jsonb(t)::text FROM {schema}.{table} t")).await?;
            tables.insert(table, rows);
        }
        let mut waiting = BTreeMap::new();
        for table in WAITING {
            let there: bool =
                sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(&mut *conn).await?;
            if there {
                waiting
                    .insert(table.to_owned(), json(conn, &format!("SELECT to_jsonb(t)::text FROM {table} t")).await?);
            }
        }
        let picture = Self {
            events,
            archives,
            streams: json(conn, "SELECT to_jsonb(s)::text FROM log.streams s").await?,
            commands: json(conn, "SELECT to_jsonb(c)::text FROM log.commands c").await?,
            checkpoints: json(conn, "SELECT to_jsonb(c)::text FROM log.checkpoints c").await?,
            keys: json(conn, "SELECT to_jsonb(k)::text FROM log.evidence_keys k").await?,
            consumers: json(conn, "SELECT to_jsonb(c)::text FROM log.consumers c").await?,
            clock: sqlx::query_scalar("SELECT position FROM log.clock ORDER BY partition")
                .fetch_all(&mut *conn)
                .await?,
            tables,
            waiting,
        };
        connection.close().await?;
        Ok(picture)
    }
}

/// The ranges that are archived, and their files. One that is not there is empty.
pub(crate) async fn archives(conn: &mut PgConnection, folder: &Path) -> Result<Vec<Archived>, sqlx::Error> {
    let rows = json(
        conn,
        "SELECT (to_jsonb(r) || jsonb_build_object('left', \
             to_regclass(format('log.events_%s_%s', partition, first)) IS NOT NULL))::text \
         FROM log.ranges r WHERE state = 'archived' ORDER BY partition, first",
    )
    .await?;
    let read = |row: Value| {
        let path = folder.join(row["archive"].as_str().unwrap_or_default());
        Archived { row, file: std::fs::read(path).unwrap_or_default() }
    };
    Ok(rows.into_iter().map(read).collect())
}

async fn json(conn: &mut PgConnection, sql: &str) -> Result<Vec<Value>, sqlx::Error> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row.try_get::<&str, _>(0)?).expect("JSON"))).collect()
}

/// The tables of the read models that serve, with their schemas.
async fn read_tables(conn: &mut PgConnection) -> Result<Vec<(String, String)>, sqlx::Error> {
    let sql = "SELECT m.schema, t.tablename::text FROM read.models m JOIN pg_tables t ON t.schemaname = m.schema \
               WHERE m.state = 'serving' ORDER BY t.tablename";
    sqlx::query_as(sql).fetch_all(conn).await
}
