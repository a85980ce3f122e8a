//! The keys of data subjects, as the database keeps them: sealed, one for each person in each tenant.
//!
//! Guarantees: a person has one key in a tenant for ever, whoever asks for it at once; once erased there is none, and
//! none can be made. [`erase`] takes it out of reach in one statement, [`purge`] out of the table's files. [`Eraser`]
//! does both for every `SubjectErased`. Never: a key that could be used, for which the master key is needed.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::subject::{Subject, SubjectEvent};
use domain::{SubjectId, TenantId};
use schemas::Recorded;
use sqlx::postgres::PgRow;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Row as _};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::consumer::{ApplyError, Consumer, Touched};
use crate::{Log, LogError, crash};

/// A key under the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// Which master key.
    pub key_id: String,
    /// Drawn anew for each key.
    pub nonce: Vec<u8>,
    /// The ciphertext and its tag.
    pub bytes: Vec<u8>,
}

/// What is kept for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The key, and what the person is called, sealed under it.
    Key {
        /// The key.
        key: SealedKey,
        /// The name.
        name: Option<String>,
    },
    /// Nothing, for ever.
    Erased,
}

impl Kept {
    fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        let Some(key_id) = row.try_get("key_id")? else { return Ok(Self::Erased) };
        let key = SealedKey { key_id, nonce: row.try_get("nonce")?, bytes: row.try_get("sealed")? };
        Ok(Self::Key { key, name: row.try_get("name")? })
    }
}

/// What is kept for a person; `new` is kept from now on when nothing was. `pool` is in role `agentworks_app`.
///
/// # Errors
/// When the database fails.
pub async fn keep(pool: &PgPool, tenant: TenantId, subject: SubjectId, new: &SealedKey) -> Result<Kept, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM vault.subject_key($1, $2, $3, $4, $5)")
        .bind(tenant.uuid())
        .bind(subject.uuid())
        .bind(&new.key_id)
        .bind(&new.nonce)
        .bind(&new.bytes)
        .fetch_one(pool)
        .await?;
    Kept::of(&row)
}

/// Keeps what a person is called, sealed under their key, unless it is known or the person is erased.
///
/// # Errors
/// When the database fails.
pub async fn name(pool: &PgPool, tenant: TenantId, subject: SubjectId, sealed: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT vault.name_subject($1, $2, $3)")
        .bind(tenant.uuid())
        .bind(subject.uuid())
        .bind(sealed)
        .execute(pool)
        .await
        .map(drop)
}

/// What is kept for those of these people who are known in the tenant.
///
/// # Errors
/// When the database fails.
pub async fn kept(log: &Log, tenant: TenantId, subjects: &[SubjectId]) -> Result<HashMap<SubjectId, Kept>, LogError> {
    Ok(kept_in(&mut *log.tenant_read(tenant).await?, tenant, subjects).await?)
}

/// As [`kept`], in a transaction of that tenant.
///
/// # Errors
/// When the database fails.
pub async fn kept_in(
    conn: &mut PgConnection,
    tenant: TenantId,
    subjects: &[SubjectId],
) -> Result<HashMap<SubjectId, Kept>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT subject, key_id, nonce, sealed, name FROM vault.subject_keys WHERE tenant = $1 AND subject = ANY ($2)",
    )
    .bind(tenant.uuid())
    .bind(subjects.iter().map(|subject| subject.uuid()).collect::<Vec<Uuid>>())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((SubjectId::from_uuid(row.try_get("subject")?), Kept::of(row)?))).collect()
}

/// Destroys a person's key, once and for all; says whether this call did. Both roles may, `agentworks_app` in a transaction
/// of that tenant.
///
/// # Errors
/// When the database fails.
pub async fn erase(conn: &mut PgConnection, tenant: TenantId, subject: SubjectId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT vault.erase_subject($1, $2)")
        .bind(tenant.uuid())
        .bind(subject.uuid())
        .fetch_one(conn)
        .await
}

/// Rewrites the keys' table when something was erased since the last time: until then a file of it has the old row. It
/// waits for no reader: false when one still sees the old row, so that it is to be done again.
///
/// # Errors
/// When the database fails, or the connecting user is no member of `agentworks_owner`.
pub async fn purge(log: &Log) -> Result<bool, LogError> {
    let mut conn = log.worker_pool().connect_options().connect().await?;
    // As the user that all connections of ours are of: others' snapshots are shown to no other.
    sqlx::raw_sql("SET ROLE NONE; SET lock_timeout = '5s'").execute(&mut conn).await?;
    let due: Vec<(Uuid, Uuid)> =
        sqlx::query_as("SELECT tenant, subject FROM vault.subject_keys WHERE erased_at IS NOT NULL AND NOT purged")
            .fetch_all(&mut conn)
            .await?;
    let seen: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() \
         AND age(backend_xmin) >= (SELECT min(age(xmin)) FROM vault.subject_keys WHERE erased_at IS NOT NULL AND NOT purged))",
    )
    .fetch_one(&mut conn)
    .await?;
    if !due.is_empty() && !seen {
        let (tenants, subjects): (Vec<Uuid>, Vec<Uuid>) = due.iter().copied().unzip();
        sqlx::raw_sql("SET ROLE agentworks_owner").execute(&mut conn).await?;
        sqlx::raw_sql("VACUUM (FULL) vault.subject_keys").execute(&mut conn).await?;
        sqlx::query(
            "UPDATE vault.subject_keys k SET purged = true FROM unnest($1::uuid[], $2::uuid[]) AS due (tenant, subject) \
             WHERE k.tenant = due.tenant AND k.subject = due.subject",
        )
        .bind(tenants)
        .bind(subjects)
        .execute(&mut conn)
        .await?;
        crash::point("erase.purged");
    }
    conn.close().await?;
    Ok(!seen)
}

/// Destroys the key of everybody who is erased. What it does cannot be done again or undone, so a rebuild changes nothing.
pub struct Eraser {
    log: Log,
    /// Somebody was erased.
    due: Notify,
}

/// The eraser's name as a consumer.
pub const NAME: &str = "eraser";
/// How soon the table is rewritten when it could not be.
const AGAIN: Duration = Duration::from_secs(5);

impl Eraser {
    /// Erases in the database of `log`.
    pub fn new(log: Log) -> Self {
        Self { log, due: Notify::new() }
    }

    /// Sees to it that the table of keys is rewritten after erasures, those of former lives as well; for ever.
    pub async fn purge(&self) {
        let mut told = false;
        loop {
            match purge(&self.log).await {
                Ok(true) => {
                    told = false;
                    self.due.notified().await;
                    continue;
                }
                Ok(false) => {}
                Err(error) if told => tracing::debug!(%error, "the table of keys can still not be rewritten"),
                Err(error) => {
                    told = true;
                    tracing::warn!(%error, "the table of keys cannot be rewritten after an erasure; trying again");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Who was erased, if somebody was.
fn erased(event: &Recorded) -> Result<Option<SubjectId>, domain::DecodeError> {
    Ok(event.decode::<Subject>()?.map(|SubjectEvent::Erased(erased)| erased.subject))
}

#[async_trait]
impl Consumer for Eraser {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        for event in page {
            if let Some(subject) = erased(event)? {
                erase(tx, event.metadata.tenant, subject).await?;
                crash::point("erase.destroyed");
            }
        }
        Ok(Touched::default())
    }

    async fn committed(&self, page: &[Recorded]) {
        if page.iter().any(|event| matches!(erased(event), Ok(Some(_)))) {
            self.due.notify_one();
        }
    }

    async fn reset(&self, _: &mut PgConnection) -> Result<(), sqlx::Error> {
        Ok(())
    }
}
