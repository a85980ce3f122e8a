//! Master keys: what seals the vault, and the keys of data subjects.
//!
//! The file has one key a line, 32 bytes in base64, the newest first. The first seals; all open. To rotate, put a new
//! line before the others. Fingerprints are made with the last line, so they stay the same while keys are added.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac};

use crate::key_file::{self, KeyFileError};

const KEY_BYTES: usize = 32;

/// Why there are no master keys.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file gives no bytes.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A line is no key.
    #[error("line {0} of the master key file is not 32 bytes in base64")]
    Malformed(usize),
    /// The file holds no key.
    #[error("the master key file is empty")]
    Empty,
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
}

/// Why something cannot be sealed, or what was sealed cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No key in the master key file has this id.
    #[error("it was sealed under master key `{0}`, which the master key file does not hold")]
    UnknownKey(String),
    /// The stored bytes are not what was sealed for this place.
    #[error("what is stored does not open: it was altered, or moved from another place")]
    Broken,
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which master key sealed it.
    pub key_id: String,
    /// Drawn anew for each secret; 12 bytes.
    pub nonce: Vec<u8>,
    /// The ciphertext and its tag.
    pub bytes: Vec<u8>,
}

struct MasterKey {
    /// The first 16 hexadecimal digits of the key's SHA-256.
    id: String,
    seal: LessSafeKey,
}

/// The keys of the master key file. Cheap to clone; the debug form shows none.
#[derive(Clone)]
pub struct MasterKeys {
    keys: Arc<[MasterKey]>,
    fingerprints: hmac::Key,
}

impl MasterKeys {
    /// The keys in the file at `path`; it is made (mode 0600, one key) when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, others may read it, or it holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        let bytes = key_file::load_or_create(path, || {
            let mut key = [0; KEY_BYTES];
            SystemRandom::new().fill(&mut key).map_err(|_| MasterKeyError::Random)?;
            Ok::<_, MasterKeyError>(format!("{}\n", BASE64.encode(key)).into_bytes())
        })?;
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let mut keys = Vec::new();
        let mut oldest = None;
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bytes = BASE64.decode(line.trim()).map_err(|_| MasterKeyError::Malformed(i + 1))?;
            let unbound = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| MasterKeyError::Malformed(i + 1))?;
            keys.push(MasterKey { id: id_of(&bytes), seal: LessSafeKey::new(unbound) });
            oldest = Some(bytes);
        }
        let oldest = oldest.ok_or(MasterKeyError::Empty)?;
        // Another key for another purpose, derived from the one in the file.
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &oldest), b"agentworks/fingerprint/1");
        Ok(Self { keys: keys.into(), fingerprints: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) })
    }

    /// Seals a secret for a place: it opens nowhere else.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, place: &[u8], secret: &[u8]) -> Result<Sealed, SealError> {
        let key = self.keys.first().ok_or(SealError::Random)?;
        let (nonce, bytes) = seal(&key.seal, place, secret)?;
        Ok(Sealed { key_id: key.id.clone(), nonce: nonce.to_vec(), bytes })
    }

    /// Opens what was sealed for this place, under any of the keys.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`], [`SealError::Broken`].
    pub fn open(&self, place: &[u8], sealed: Sealed) -> Result<Vec<u8>, SealError> {
        let key = self.keys.iter().find(|key| key.id == sealed.key_id).ok_or(SealError::UnknownKey(sealed.key_id))?;
        open(&key.seal, place, &sealed.nonce, sealed.bytes)
    }

    /// A keyed digest: tells whether two texts are equal, and to nobody without the master key what they are.
    pub fn fingerprint(&self, text: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.fingerprints, text);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(tag.as_ref());
        fingerprint
    }
}

fn id_of(key: &[u8]) -> String {
    digest::digest(&digest::SHA256, key).as_ref().iter().take(8).fold(String::new(), |mut id, byte| {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKeys")
    }
}

/// A nonce, drawn anew, and what was sealed for the place: ciphertext and tag.
pub(crate) fn seal(key: &LessSafeKey, place: &[u8], secret: &[u8]) -> Result<([u8; NONCE_LEN], Vec<u8>), SealError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Random)?;
    let mut bytes = secret.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut bytes)
        .map_err(|_| SealError::Broken)?;
    Ok((nonce, bytes))
}

/// What [`seal`] sealed for the place.
pub(crate) fn open(key: &LessSafeKey, place: &[u8], nonce: &[u8], mut bytes: Vec<u8>) -> Result<Vec<u8>, SealError> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Broken)?;
    let length = key.open_in_place(nonce, Aad::from(place), &mut bytes).map_err(|_| SealError::Broken)?.len();
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> MasterKeys {
        MasterKeys::parse(text).unwrap()
    }

    fn line(byte: u8) -> String {
        format!("{}\n", BASE64.encode([byte; KEY_BYTES]))
    }

    #[test]
    fn a_secret_opens_only_where_it_was_put_and_after_a_rotation() {
        let old = keys(&line(1));
        let seal = || old.seal(b"here", b"hush").unwrap();
        assert_eq!(old.open(b"here", seal()).unwrap(), b"hush");
        assert!(matches!(old.open(b"there", seal()), Err(SealError::Broken)));
        let mut altered = seal();
        altered.bytes[0] ^= 1;
        assert!(matches!(old.open(b"here", altered), Err(SealError::Broken)));
        let rotated = keys(&(line(2) + &line(1)));
        assert_eq!(rotated.open(b"here", seal()).unwrap(), b"hush");
        assert_ne!(rotated.seal(b"here", b"hush").unwrap().key_id, seal().key_id);
        assert_eq!(rotated.fingerprint(b"x"), old.fingerprint(b"x"));
        assert!(matches!(keys(&line(2)).open(b"here", seal()), Err(SealError::UnknownKey(_))));
    }

    #[test]
    fn the_file_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/master.key");
        let sealed = MasterKeys::load_or_create(&path).unwrap().seal(b"here", b"hush").unwrap();
        assert!(MasterKeys::load_or_create(&path).unwrap().open(b"here", sealed).is_ok());
    }

    #[test]
    fn other_files_hold_no_keys() {
        assert!(matches!(MasterKeys::parse("\n"), Err(MasterKeyError::Empty)));
        assert!(matches!(MasterKeys::parse(&(line(1) + "c2hvcnQ=")), Err(MasterKeyError::Malformed(2))));
        assert!(!format!("{:?}", MasterKeys::parse("secret!").err()).contains("secret"));
    }
}
