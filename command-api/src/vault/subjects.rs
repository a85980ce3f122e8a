//! The people of a tenant: what they say is sealed under their own key, and they can be erased.

use std::sync::PoisonError;

use access::{Sealed, SubjectKey};
use domain::{Actor, PersonalText, Saying, SubjectId, TenantId};
use outbox::subjects::{self, Kept, SealedKey};

use super::{Vault, VaultError};

/// Names that are remembered to be kept.
const MAX_NAMED: usize = 10_000;

impl Vault {
    /// The actor as the log may know it: an operator under a pseudonym.
    pub fn veil(&self, actor: &Actor) -> Actor {
        actor.operator_name().map_or_else(|| actor.clone(), |name| Actor::under(self.keys.pseudonym(name)))
    }

    /// Seals what was said, under the key of `subject`, which is made when there is none.
    ///
    /// # Errors
    /// [`VaultError::Erased`], [`VaultError::Database`], [`VaultError::Seal`].
    pub async fn seal(
        &self,
        tenant: TenantId,
        subject: SubjectId,
        saying: Saying,
        text: &str,
    ) -> Result<PersonalText, VaultError> {
        let (key, _) = self.subject(tenant, subject).await?.ok_or(VaultError::Erased(subject))?;
        Ok(key.seal(saying, text)?)
    }

    /// Keeps what a person is called, sealed, so that it can be shown instead of the pseudonym until the person is erased.
    ///
    /// # Errors
    /// [`VaultError::Database`], [`VaultError::Seal`].
    pub async fn introduce(&self, tenant: TenantId, subject: SubjectId, name: &str) -> Result<(), VaultError> {
        let who = (tenant, subject);
        if self.named.lock().unwrap_or_else(PoisonError::into_inner).contains(&who) {
            return Ok(());
        }
        if let Some((key, false)) = self.subject(tenant, subject).await?
            && let PersonalText::Sealed(sealed) = key.seal(Saying::Name, name)?
        {
            subjects::name(&self.pool, tenant, subject, &sealed.sealed).await?;
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= MAX_NAMED {
            named.clear();
        }
        named.insert(who);
        Ok(())
    }

    /// Destroys a person's key, when that has been decided (`SubjectErased`). Doing it again changes nothing.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn erase(&self, tenant: TenantId, subject: SubjectId) -> Result<(), VaultError> {
        let mut tx = self.begin(tenant).await?;
        subjects::erase(&mut tx, tenant, subject).await?;
        Ok(tx.commit().await?)
    }

    /// A person's key, and whether their name is kept; `None` once they are erased.
    async fn subject(&self, tenant: TenantId, subject: SubjectId) -> Result<Option<(SubjectKey, bool)>, VaultError> {
        let Sealed { key_id, nonce, bytes } = self.keys.new_subject_key(tenant, subject)?;
        let new = SealedKey { key_id, nonce, bytes };
        let Kept::Key { key: SealedKey { key_id, nonce, bytes }, name } =
            subjects::keep(&self.pool, tenant, subject, &new).await?
        else {
            return Ok(None);
        };
        let key = self.keys.subject_key(tenant, subject, Sealed { key_id, nonce, bytes })?;
        Ok(Some((key, name.is_some())))
    }
}
