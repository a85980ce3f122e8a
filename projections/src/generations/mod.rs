//! Generations of the read models: each a schema with the model's tables, built from the log.
//!
//! One generation of a model serves; `read.models` says which. A reader learns it in the statement that sets its tenant,
//! in the snapshot that it then reads from; a writer learns it once it holds the consumer's position. So both follow a
//! switch, which is one transaction, by themselves, and neither is ever between two. The others are `building`, or
//! `retired` and kept until somebody drops them; each has a consumer of its own, called like its schema.

mod build;
mod compare;
mod rebuild;

use std::time::Duration;

pub use compare::Difference;
use domain::TenantId;
use outbox::{Log, LogError};
pub use rebuild::{Built, RebuildError, Rebuilder, Step};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};
use time::OffsetDateTime;

use crate::model::consumer_of;
use crate::{MODELS, Model};

/// One generation of a model.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Generation {
    /// The model's name.
    pub model: String,
    /// The version of the code that it is for.
    pub code: i32,
    /// 1, 2, 3 … within the model.
    pub generation: i32,
    /// `building`, `serving` or `retired`.
    pub state: String,
    /// Where its tables are; also its consumer's name while it does not serve.
    pub schema: String,
    /// Since when it is in that state.
    pub since: OffsetDateTime,
}

const COLUMNS: &str = "model, code, generation, state, schema, since";

/// One tenant's rows of every read model as of one moment: a transaction that only reads, under row-level security.
///
/// # Errors
/// When the database fails.
pub async fn read(log: &Log, tenant: TenantId) -> Result<Transaction<'static, Postgres>, LogError> {
    const ENTER: &str = "SELECT set_config('agentworks.tenant', $1, true), set_config('search_path', \
        (SELECT string_agg(quote_ident(schema), ', ') || ', pg_temp' FROM read.models \
         WHERE state = 'serving' AND (model, code) IN (SELECT * FROM unnest($2::text[], $3::integer[]))), true)";
    let (names, codes): (Vec<_>, Vec<_>) = MODELS.iter().map(|model| (model.name, model.code)).unzip();
    let mut tx = log.snapshot().await?;
    sqlx::query(ENTER).bind(tenant.uuid().to_string()).bind(names).bind(codes).execute(&mut *tx).await?;
    Ok(tx)
}

/// From here to the transaction's end the model's tables are those of the generation that serves.
pub(crate) async fn enter_serving(tx: &mut PgConnection, model: &Model) -> Result<(), sqlx::Error> {
    const ENTER: &str = "SELECT set_config('search_path', quote_ident(schema) || ', pg_temp', true) FROM read.models \
        WHERE model = $1 AND code = $2 AND state = 'serving'";
    let entered = sqlx::query(ENTER).bind(model.name).bind(model.code).execute(tx).await?;
    if entered.rows_affected() == 0 {
        let missing = format!("no generation of `{}` serves version {} of its code", model.name, model.code);
        return Err(sqlx::Error::Configuration(missing.into()));
    }
    Ok(())
}

/// As [`enter_serving`], for a generation that may not serve.
async fn enter(tx: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    const ENTER: &str = "SELECT set_config('search_path', quote_ident($1) || ', pg_temp', true)";
    sqlx::query(ENTER).bind(schema).execute(tx).await.map(drop)
}

/// The tables of the generation that the transaction has entered, quoted.
pub(crate) async fn tables(tx: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
        .fetch_all(tx)
        .await
}

/// Every generation of the model, whatever code it is for, the oldest first. Both roles may ask.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, model: &Model) -> Result<Vec<Generation>, sqlx::Error> {
    let select = format!("SELECT {COLUMNS} FROM read.models WHERE model = $1 ORDER BY generation");
    sqlx::query_as(AssertSqlSafe(select)).bind(model.name).fetch_all(conn).await
}

/// Sees to it that each model has a generation that serves this program. A new one is empty and fills itself as its
/// consumer follows the log; who wants no such time builds it before ([`Rebuilder`]).
///
/// # Errors
/// When the database fails.
pub async fn prepare(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    for model in &MODELS {
        let mut tx = owner.begin().await?;
        // One process at a time.
        sqlx::query("LOCK TABLE read.models IN EXCLUSIVE MODE").execute(&mut *tx).await?;
        let serving = list(&mut tx, model).await?;
        if !serving.iter().any(|generation| generation.code == model.code && generation.state == "serving") {
            let new = create(&mut tx, model, "serving").await?;
            index(&mut tx, model, &new.schema).await?;
            for begin in ["DELETE FROM log.consumers WHERE name = $1", "DELETE FROM log.parked WHERE consumer = $1"] {
                sqlx::query(begin).bind(model.consumer).execute(&mut *tx).await?;
            }
            tracing::info!(
                model = model.name,
                generation = new.generation,
                "a new generation serves and is being filled"
            );
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Makes a generation, empty, in the transaction of `owner`.
async fn create(owner: &mut PgConnection, model: &Model, state: &str) -> Result<Generation, sqlx::Error> {
    let insert = format!(
        "INSERT INTO read.models (model, code, generation, state) \
         SELECT $1, $2, coalesce(max(generation), 0) + 1, $3 FROM read.models WHERE model = $1 RETURNING {COLUMNS}"
    );
    let new: Generation = sqlx::query_as(AssertSqlSafe(insert))
        .bind(model.name)
        .bind(model.code)
        .bind(state)
        .fetch_one(&mut *owner)
        .await?;
    let schema = &new.schema;
    let make = format!(
        "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO agentworks_app, agentworks_worker; \
         SET LOCAL search_path = {schema}, pg_temp; {} \
         SELECT log.protect(format('%I.%I', schemaname, tablename)::regclass) FROM pg_tables WHERE schemaname = '{schema}'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO agentworks_worker",
        model.tables
    );
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *owner).await?;
    Ok(new)
}

/// Makes the indexes that only readers need, in the transaction of `owner`.
async fn index(owner: &mut PgConnection, model: &Model, schema: &str) -> Result<(), sqlx::Error> {
    enter(owner, schema).await?;
    sqlx::raw_sql(model.indexes).execute(&mut *owner).await?;
    for table in tables(owner).await? {
        sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {table}"))).execute(&mut *owner).await?;
    }
    Ok(())
}

/// Drops the model's generations that have been retired for at least so long, and those of older code once one has served
/// this code for so long. A read that began before a generation was retired may still be in it: leave it the time that a
/// statement may take. What was dropped.
///
/// # Errors
/// When the database fails.
pub async fn drop_retired(
    owner: &mut PgConnection,
    model: &Model,
    since: Duration,
) -> Result<Vec<Generation>, sqlx::Error> {
    let select = format!(
        "WITH old AS (SELECT * FROM read.models WHERE model = $1 AND since <= now() - make_interval(secs => $3)) \
         SELECT {COLUMNS} FROM old WHERE code = $2 AND state = 'retired' \
            OR code < $2 AND EXISTS (SELECT FROM old WHERE code = $2 AND state = 'serving') ORDER BY generation"
    );
    let retired: Vec<Generation> = sqlx::query_as(AssertSqlSafe(select))
        .bind(model.name)
        .bind(model.code)
        .bind(since.as_secs_f64())
        .fetch_all(&mut *owner)
        .await?;
    for generation in &retired {
        discard(owner, generation).await?;
    }
    Ok(retired)
}

/// Drops a generation, unless it has come to serve meanwhile.
async fn discard(owner: &mut PgConnection, generation: &Generation) -> Result<(), sqlx::Error> {
    let mut tx = owner.begin().await?;
    let deleted = sqlx::query("DELETE FROM read.models WHERE schema = $1 AND state = $2")
        .bind(&generation.schema)
        .bind(&generation.state)
        .execute(&mut *tx)
        .await?;
    if deleted.rows_affected() == 1 {
        let consumer = match generation.state.as_str() {
            "serving" => consumer_of(&generation.model, generation.code),
            _ => generation.schema.clone(),
        };
        for forget in ["DELETE FROM log.consumers WHERE name = $1", "DELETE FROM log.parked WHERE consumer = $1"] {
            sqlx::query(forget).bind(&consumer).execute(&mut *tx).await?;
        }
        let drop = format!("DROP SCHEMA {} CASCADE", generation.schema);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *tx).await?;
    }
    tx.commit().await
}
