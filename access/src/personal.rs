//! The keys of data subjects, and what is sealed under them.
//!
//! Each subject has one random key in each tenant, which is stored sealed under the master key. A text is sealed with
//! AES-256-GCM under its subject's key; tenant, subject and what the text is are authenticated with it. So a text opens
//! for its own tenant only, as what it is only, and not at all once the key is destroyed: no other key opens it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::id::OperatorId;
use domain::personal::SealedText;
use domain::{PersonalText, Saying, SubjectId, TenantId};
use ring::aead::{AES_256_GCM, LessSafeKey, NONCE_LEN, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;

use crate::master_key::{self, MasterKeys, SealError, Sealed};

const KEY_BYTES: usize = 32;

/// The key of a data subject in a tenant.
pub struct SubjectKey {
    tenant: TenantId,
    subject: SubjectId,
    key: LessSafeKey,
}

impl MasterKeys {
    /// A new key for a subject, as it is stored.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn new_subject_key(&self, tenant: TenantId, subject: SubjectId) -> Result<Sealed, SealError> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).map_err(|_| SealError::Random)?;
        self.seal(&place(b"agentworks/subject-key/1", tenant, subject), &key)
    }

    /// A subject's key, as it was stored.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`], [`SealError::Broken`].
    pub fn subject_key(&self, tenant: TenantId, subject: SubjectId, stored: Sealed) -> Result<SubjectKey, SealError> {
        let key = self.open(&place(b"agentworks/subject-key/1", tenant, subject), stored)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| SealError::Broken)?;
        Ok(SubjectKey { tenant, subject, key: LessSafeKey::new(key) })
    }

    /// Under what an operator acts: the same for the same name, and to nobody without the master key whose it is.
    pub fn pseudonym(&self, name: &str) -> OperatorId {
        let fingerprint = self.fingerprint(format!("operator\0{name}").as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&fingerprint[..16]);
        OperatorId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl SubjectKey {
    /// Seals a text.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, saying: Saying, text: &str) -> Result<PersonalText, SealError> {
        let (nonce, sealed) = master_key::seal(&self.key, &self.about(saying), text.as_bytes())?;
        let sealed = BASE64.encode([&nonce[..], &sealed].concat());
        Ok(PersonalText::Sealed(SealedText { subject: self.subject, sealed }))
    }

    /// What a text says; `None` when this key did not seal it, for this tenant and as that.
    pub fn open(&self, saying: Saying, text: &SealedText) -> Option<String> {
        let bytes = BASE64.decode(&text.sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let opened = master_key::open(&self.key, &self.about(saying), nonce, sealed.to_vec()).ok()?;
        String::from_utf8(opened).ok()
    }

    fn about(&self, saying: Saying) -> Vec<u8> {
        let mut about = place(b"agentworks/personal/1", self.tenant, self.subject);
        about.extend_from_slice(saying.as_str().as_bytes());
        about
    }
}

/// What is authenticated. The parts before the last have fixed lengths, so no two places read the same.
fn place(what: &[u8], tenant: TenantId, subject: SubjectId) -> Vec<u8> {
    let ids: [Uuid; 2] = [tenant.uuid(), subject.uuid()];
    [what, ids[0].as_bytes(), ids[1].as_bytes()].concat()
}

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubjectKey").field("subject", &self.subject).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id<K>(n: u128) -> domain::Id<K> {
        domain::Id::from_uuid(Uuid::from_u128(n))
    }

    fn sealed(text: PersonalText) -> SealedText {
        match text {
            PersonalText::Sealed(sealed) => sealed,
            PersonalText::Plain(_) => panic!("it is readable"),
        }
    }

    #[test]
    fn a_text_opens_with_its_own_key_as_what_it_is_and_not_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::load_or_create(&folder.path().join("master.key")).unwrap();
        let stored = keys.new_subject_key(id(1), id(2)).unwrap();
        let key = keys.subject_key(id(1), id(2), stored.clone()).unwrap();
        let text = sealed(key.seal(Saying::Comment, "hush").unwrap());
        assert_eq!(key.open(Saying::Comment, &text).as_deref(), Some("hush"));
        assert_eq!(key.open(Saying::Reason, &text), None);
        let erased = SealedText { sealed: String::new(), ..text };
        assert_eq!(key.open(Saying::Comment, &erased), None);
        // The same key of a person of another tenant, or a new key of the same person, opens nothing.
        for (tenant, subject) in [(9, 2), (1, 9)] {
            let moved = keys.subject_key(id(tenant), id(subject), stored.clone());
            assert!(matches!(moved, Err(SealError::Broken)), "{moved:?}");
        }
        let new = keys.new_subject_key(id(1), id(2)).unwrap();
        assert_eq!(keys.subject_key(id(1), id(2), new).unwrap().open(Saying::Comment, &text), None);
    }

    #[test]
    fn a_pseudonym_is_the_same_for_a_name_and_another_for_each_installation() {
        let folder = tempfile::tempdir().unwrap();
        let keys = |name| MasterKeys::load_or_create(&folder.path().join(name)).unwrap();
        assert_eq!(keys("a").pseudonym("ada"), keys("a").pseudonym("ada"));
        assert_ne!(keys("a").pseudonym("ada"), keys("a").pseudonym("bob"));
        assert_ne!(keys("a").pseudonym("ada"), keys("b").pseudonym("ada"));
    }
}
