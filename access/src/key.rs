//! The keys that sign and verify tokens.

use std::fmt;
use std::path::Path;

use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::key_file::{self, KeyFileError};

/// Signs tokens. Its debug form shows the key's id only.
#[derive(Clone)]
pub struct SigningKey {
    pub(crate) encoding: EncodingKey,
    public: VerifyingKey,
}

/// Tells whether a [`SigningKey`] signed a token.
#[derive(Clone)]
pub struct VerifyingKey {
    pub(crate) id: String,
    pub(crate) decoding: DecodingKey,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file gives no bytes.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The bytes are no Ed25519 key in PKCS#8.
    #[error("the signing key file holds no Ed25519 key in PKCS#8 (DER)")]
    Malformed,
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
}

impl SigningKey {
    /// A new key, held in memory only.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_pkcs8(&new_pkcs8()?)
    }

    /// The key in the file at `path` (PKCS#8, DER, mode 0600); makes it when there is none. Of several processes that
    /// start at once, all get the same key.
    ///
    /// # Errors
    /// When the file cannot be read or made, others may read it, or it holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        Self::from_pkcs8(&key_file::load_or_create(path, new_pkcs8)?)
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Malformed)?;
        let public = VerifyingKey::new(pair.public_key().as_ref());
        Ok(Self { encoding: EncodingKey::from_ed_der(pkcs8), public })
    }

    /// What verifies its tokens.
    pub fn verifying(&self) -> &VerifyingKey {
        &self.public
    }

    /// The `kid` of its tokens: the first 16 hexadecimal digits of the public key's SHA-256.
    pub fn id(&self) -> &str {
        &self.public.id
    }
}

impl VerifyingKey {
    /// `public`: the 32 bytes of the public key.
    fn new(public: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, public);
        let id = digest.as_ref().iter().take(8).fold(String::new(), |mut id, byte| {
            id.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
            id
        });
        Self { id, decoding: DecodingKey::from_ed_der(public) }
    }
}

fn new_pkcs8() -> Result<Vec<u8>, KeyError> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
    Ok(document.as_ref().to_vec())
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_the_same_and_another_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let made = SigningKey::load_or_create(&path).unwrap();
        assert_eq!(SigningKey::load_or_create(&path).unwrap().id(), made.id());
        assert_ne!(SigningKey::generate().unwrap().id(), made.id());
        std::fs::write(&path, b"not a key").unwrap();
        assert!(matches!(SigningKey::load_or_create(&path), Err(KeyError::Malformed)));
    }
}
