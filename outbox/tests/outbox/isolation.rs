//! Tenants cannot see each other, and nobody writes the log but through `append`.

use domain::tenant::Tenant;
use sqlx::PgConnection;

use crate::support::{Database, connect, fill, first, tenant, uuid};

const INSUFFICIENT_PRIVILEGE: &str = "42501";

async fn refused(connection: &mut PgConnection, sql: &str) {
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.expect_err(sql);
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    assert_eq!(code.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{sql}: {error}");
}

async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn without_a_tenant_or_with_another_there_are_no_rows() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (mine, other, stream) = (tenant(), tenant(), uuid());
    let append = first(mine, stream, 2);
    let command = append.metadata.command;
    log.append(append).await.unwrap();
    let tables = ["log.events", "log.commands", "log.streams"];

    let mut bare = log.app_pool().acquire().await.unwrap();
    for table in tables {
        assert_eq!(count(&mut bare, table).await, 0, "{table}");
    }
    for (tenant, visible) in [(mine, [2, 1, 1]), (other, [0, 0, 0])] {
        let mut tx = log.tenant_read(tenant).await.unwrap();
        for (table, expected) in tables.into_iter().zip(visible) {
            assert_eq!(count(&mut tx, table).await, expected, "{table}");
        }
    }
    // Nothing of it stays with the connection.
    assert_eq!(count(&mut bare, "log.events").await, 0);

    assert_eq!(log.load::<Tenant>(other, stream).await.unwrap().version, 0);
    assert!(log.read_stream(other, stream, 0, 10).await.unwrap().is_empty());
    assert!(log.read_tenant(other, 0, 10).await.unwrap().is_empty());
    assert!(log.command(other, command).await.unwrap().is_none());
    assert!(log.command(mine, command).await.unwrap().is_some());
}

#[tokio::test]
async fn the_tenant_condition_is_an_index_condition() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let mut tx = log.tenant_read(tenant()).await.unwrap();
    sqlx::raw_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off").execute(&mut *tx).await.unwrap();
    let plan: Vec<String> =
        sqlx::query_scalar("EXPLAIN SELECT * FROM log.tree_tiles WHERE level = 0").fetch_all(&mut *tx).await.unwrap();
    assert!(plan.iter().any(|line| line.contains("Index Cond: (tenant = $0)")), "{plan:#?}");
}

#[tokio::test]
async fn neither_role_writes_the_log() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    fill(&log, tenant(), 1).await;
    for role in ["agentworks_app", "agentworks_worker"] {
        let mut connection = database.in_role(role).await;
        for table in ["events", "streams", "commands", "clock", "migrations"] {
            refused(&mut connection, &format!("INSERT INTO log.{table} SELECT * FROM log.{table}")).await;
            refused(&mut connection, &format!("DELETE FROM log.{table}")).await;
            refused(&mut connection, &format!("TRUNCATE log.{table}")).await;
        }
        refused(&mut connection, "UPDATE log.events SET actor = 'system:nobody'").await;
        refused(&mut connection, "UPDATE log.streams SET version = 0").await;
        refused(&mut connection, "UPDATE log.commands SET fingerprint = ''").await;
        refused(&mut connection, "UPDATE log.clock SET position = 0").await;
        refused(&mut connection, "ALTER TABLE log.events DISABLE ROW LEVEL SECURITY").await;
        refused(&mut connection, "SELECT log.protect('log.events')").await;
        refused(&mut connection, "CREATE TABLE log.mine ()").await;
    }
}

#[tokio::test]
async fn the_roles_have_what_they_need_and_no_more() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    fill(&log, tenant(), 1).await;

    let mut worker = database.in_role("agentworks_worker").await;
    let arguments = ["NULL"; 24].join(", ");
    refused(&mut worker, &format!("SELECT log.append({arguments})")).await;
    assert_eq!(count(&mut worker, "log.events").await, 1);
    let writes = "INSERT INTO log.consumers (name, partition) VALUES ('c', 0); UPDATE log.consumers SET position = 1; \
                  INSERT INTO log.leases VALUES ('l', gen_random_uuid(), now()); UPDATE log.leases SET expires = now()";
    sqlx::raw_sql(writes).execute(&mut worker).await.unwrap();

    let mut app = database.in_role("agentworks_app").await;
    assert_eq!(count(&mut app, "log.consumers").await, 1);
    refused(&mut app, "UPDATE log.consumers SET position = 2").await;
    refused(&mut app, "SELECT * FROM log.leases").await;
    refused(&mut app, "CREATE TABLE work.mine ()").await;
    refused(&mut app, "SELECT * FROM log.events, work.nothing").await;
}

#[tokio::test]
async fn not_even_the_owner_changes_an_event() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    fill(&log, tenant(), 1).await;
    for mut connection in [database.in_role("agentworks_owner").await, database.admin().await] {
        refused(&mut connection, "UPDATE log.events SET actor = 'system:nobody'").await;
        refused(&mut connection, "DELETE FROM log.events").await;
        refused(&mut connection, "TRUNCATE log.events").await;
    }
}

#[tokio::test]
async fn every_table_with_a_tenant_that_requests_may_read_is_protected() {
    let database = Database::with(1).await;
    let bare: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE (n.nspname IN ('log', 'read') OR n.nspname IN (SELECT schema FROM read.models)) AND c.relkind IN ('r', 'p') \
         AND has_table_privilege('agentworks_app', c.oid, 'SELECT') \
         AND c.oid::regclass::text NOT IN ('log.clock', 'log.consumers', 'log.ranges', 'read.models') \
         AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    )
    .fetch_all(&mut database.admin().await)
    .await
    .unwrap();
    assert!(bare.is_empty(), "without row-level security: {bare:?}");
}
