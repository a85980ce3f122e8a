//! The vault: secrets of tenants, sealed with AES-256-GCM under a master key that is a file and never in the database.
//!
//! Guarantees: a secret opens only for the tenant and under the id it was put with (both are authenticated with it);
//! putting the same id again changes nothing; secrets sealed under an older master key open as long as that key stands in
//! the file. It also keeps the keys of data subjects, under which what people say about people is sealed. Never: a secret
//! or a key in an error, a log line or a debug form.

mod subjects;

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub use access::MasterKeyError;
use access::{MasterKeys, SealError, Sealed};
use domain::id::CommandId;
use domain::value::SecretRef;
use domain::{SubjectId, TenantId};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use crate::request::derived;

/// Keeps secrets. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    /// In role `agentworks_app`: row-level security stands behind every query.
    pool: PgPool,
    keys: MasterKeys,
    /// Those whose names are kept already, so that not every command asks.
    named: Arc<Mutex<HashSet<(TenantId, SubjectId)>>>,
}

/// A secret on its way into the vault, already with its place there.
pub struct Deposit {
    vault: Vault,
    id: Uuid,
    secret: SecretString,
}

/// Why the vault could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The driver failed.
    #[error("the vault's database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// Something cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The person is erased: nothing more is kept for them.
    #[error("the subject {0} is erased")]
    Erased(SubjectId),
}

impl Vault {
    /// The vault in the log's database (`outbox::Log::app_pool`), with the master keys of `key_file`; the file is made
    /// (mode 0600, one key) when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, others may read it, or it holds something else.
    pub fn open(pool: PgPool, key_file: &Path) -> Result<Self, MasterKeyError> {
        Ok(Self { pool, keys: MasterKeys::load_or_create(key_file)?, named: Arc::default() })
    }

    /// Seals a secret and keeps it under `id`. When there is one under that id already, nothing changes.
    ///
    /// # Errors
    /// [`VaultError::Database`], [`VaultError::Seal`].
    pub async fn put(&self, tenant: TenantId, id: Uuid, secret: &SecretString) -> Result<SecretRef, VaultError> {
        let sealed = self.keys.seal(&place(tenant, id), secret.expose_secret().as_bytes())?;
        let mut tx = self.begin(tenant).await?;
        sqlx::query(
            "INSERT INTO vault.secrets (tenant, secret, key_id, nonce, sealed) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant, secret) DO NOTHING",
        )
        .bind(tenant.uuid())
        .bind(id)
        .bind(sealed.key_id)
        .bind(&sealed.nonce[..])
        .bind(sealed.bytes)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(SecretRef::vault(id))
    }

    /// Opens a secret; `None` when the tenant has none there.
    ///
    /// # Errors
    /// [`VaultError::Database`], [`VaultError::Seal`].
    pub async fn get(&self, tenant: TenantId, secret: &SecretRef) -> Result<Option<SecretString>, VaultError> {
        let Some(id) = secret.vault_id() else { return Ok(None) };
        let mut tx = self.begin(tenant).await?;
        let row = sqlx::query("SELECT key_id, nonce, sealed FROM vault.secrets WHERE tenant = $1 AND secret = $2")
            .bind(tenant.uuid())
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let sealed =
            Sealed { key_id: row.try_get("key_id")?, nonce: row.try_get("nonce")?, bytes: row.try_get("sealed")? };
        let secret = self.keys.open(&place(tenant, id), sealed)?;
        Ok(Some(String::from_utf8(secret).map(SecretString::from).map_err(|_| SealError::Broken)?))
    }

    /// The master keys, for whoever opens what is kept for people.
    pub fn keys(&self) -> &MasterKeys {
        &self.keys
    }

    /// A keyed digest: tells whether two texts are equal, and to nobody without the master key what they are.
    pub fn fingerprint(&self, text: &[u8]) -> [u8; 32] {
        self.keys.fingerprint(text)
    }

    /// A secret that goes into the vault with a command. Its place derives from the command and the request's
    /// fingerprint: repeating the request puts nothing new, and another request under the same id touches nothing old.
    pub fn deposit(&self, command: CommandId, fingerprint: &[u8; 32], secret: SecretString) -> Deposit {
        let request = Uuid::new_v5(&command.uuid(), fingerprint);
        Deposit { vault: self.clone(), id: derived(request, "secret"), secret }
    }

    async fn begin(&self, tenant: TenantId) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, sqlx::Error> {
        let mut tx = outbox::begin(&self.pool).await?;
        sqlx::query("SELECT set_config('agentworks.tenant', $1, true)")
            .bind(tenant.uuid().to_string())
            .execute(&mut *tx)
            .await?;
        Ok(tx)
    }
}

impl Deposit {
    /// Where the secret will be.
    pub fn reference(&self) -> SecretRef {
        SecretRef::vault(self.id)
    }

    /// Puts it there. Doing it again changes nothing.
    ///
    /// # Errors
    /// As [`Vault::put`].
    pub async fn store(&self, tenant: TenantId) -> Result<(), VaultError> {
        self.vault.put(tenant, self.id, &self.secret).await.map(drop)
    }
}

/// What is authenticated with a secret: whose it is and where it stands.
fn place(tenant: TenantId, id: Uuid) -> [u8; 32] {
    let mut place = [0; 32];
    place[..16].copy_from_slice(tenant.uuid().as_bytes());
    place[16..].copy_from_slice(id.as_bytes());
    place
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl fmt::Debug for Deposit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deposit").field("id", &self.id).finish_non_exhaustive()
    }
}
