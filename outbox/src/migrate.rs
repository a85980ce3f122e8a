//! Brings a database to this release: roles and schemas, the numbered migrations, the partitions.

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use crate::LogError;
use crate::log::as_role;

const ROLES: &str = include_str!("../../migrations/roles.sql");

/// Brings the database at `url` to this release. Changes nothing when it is there already; several may run at once.
///
/// The user must be a superuser, or the owner of the database with `CREATEROLE`. `partitions` is fixed the first time.
///
/// # Errors
/// [`LogError::Database`], [`LogError::Migrate`], or [`LogError::Partitions`] when the log has another number of
/// partitions.
pub async fn run(url: &str, partitions: i32) -> Result<(), LogError> {
    let options = PgConnectOptions::from_str(url)?;
    let mut connection = options.connect().await?;
    sqlx::raw_sql(ROLES).execute(&mut connection).await?;
    connection.close().await?;

    // From here on as the owner of it all, whoever connects.
    let mut owner = owner(url).await?;
    numbered().run(&mut owner).await?;
    set_partitions(&mut owner, partitions).await?;
    owner.close().await?;
    Ok(())
}

/// The numbered migrations, run in role `agentworks_owner` after the roles and schemas are there.
#[doc(hidden)]
pub fn numbered() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("../migrations");
    migrator.dangerous_set_table_name("log.migrations");
    migrator
}

/// A connection in role `agentworks_owner`, which may do everything to our schemas.
///
/// # Errors
/// [`LogError::Database`].
pub async fn owner(url: &str) -> Result<PgConnection, LogError> {
    let options = PgConnectOptions::from_str(url)?;
    Ok(as_role(&options, "agentworks_owner").connect().await?)
}

async fn set_partitions(owner: &mut PgConnection, wanted: i32) -> Result<(), LogError> {
    let mut tx = owner.begin().await?;
    sqlx::query("LOCK TABLE log.clock IN EXCLUSIVE MODE").execute(&mut *tx).await?;
    let existing: i32 = sqlx::query_scalar("SELECT count(*)::int FROM log.clock").fetch_one(&mut *tx).await?;
    if existing == 0 {
        sqlx::query("INSERT INTO log.clock (partition) SELECT generate_series(0, $1 - 1)")
            .bind(wanted.max(1))
            .execute(&mut *tx)
            .await?;
    } else if existing != wanted {
        return Err(LogError::Partitions { existing, wanted });
    }
    tx.commit().await?;
    Ok(())
}
