//! Signed notes: a text, and Ed25519 signatures over it, as C2SP's `signed-note` says.
//!
//! ```text
//! the text, of one or more lines
//!
//! — name base64(id of the key, 4 bytes ‖ signature, 64 bytes)
//! ```
//!
//! The id of a key is the first 4 bytes of SHA-256(name ‖ `\n` ‖ 0x01 ‖ public key). One key may sign under several names.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// What says that a key is an Ed25519 key.
const ALGORITHM: u8 = 1;
/// Between the text and the signatures.
const BREAK: &str = "\n\n";
/// Before each signature.
const DASH: &str = "\u{2014} ";

/// A public key; in texts the base64 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

/// A key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// A text with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    key: [u8; 4],
    bytes: Vec<u8>,
}

/// Why something is no note, or no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not the form of a signed note.
    #[error("not a signed note")]
    Malformed,
    /// The text is no public key.
    #[error("not a public key: 32 bytes in base64, or NAME+ID+KEY")]
    PublicKey,
    /// The text is no secret key.
    #[error("not a secret key: 32 bytes in base64")]
    SecretKey,
}

impl PublicKey {
    /// Tells this key from others under a name.
    fn id(&self, name: &str) -> [u8; 4] {
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', ALGORITHM]).chain_update(self.0).finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The key as programs for signed notes take it: `NAME+ID+KEY`.
    pub fn verifier(&self, name: &str) -> String {
        let id = u32::from_be_bytes(self.id(name));
        let key: Vec<u8> = std::iter::once(ALGORITHM).chain(self.0).collect();
        format!("{name}+{id:08x}+{}", BASE64.encode(key))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        // A verifier's last part may hold `+` too; what is before it does not.
        let key = text.trim().splitn(3, '+').nth(2).and_then(|key| BASE64.decode(key).ok());
        if let Some((&ALGORITHM, key)) = key.as_deref().and_then(<[u8]>::split_first)
            && let Ok(key) = key.try_into()
        {
            return Ok(Self(key));
        }
        let key = BASE64.decode(text.trim()).map_err(|_| NoteError::PublicKey)?;
        key.try_into().map(Self).map_err(|_| NoteError::PublicKey)
    }
}

impl SigningKey {
    /// The key of a seed of 32 bytes.
    ///
    /// # Errors
    /// [`NoteError::SecretKey`] when there are not 32.
    pub fn from_seed(seed: &[u8]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::SecretKey)?;
        let public = PublicKey(pair.public_key().as_ref().try_into().map_err(|_| NoteError::SecretKey)?);
        Ok(Self { pair, public })
    }

    /// What verifies its signatures.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, name: &str, text: &str) -> Signature {
        let bytes = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        Signature { name: name.to_owned(), key: self.public.id(name), bytes }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Note {
    /// Signs a text under a name, with each of the keys. The text ends with a line break and has no empty line.
    pub fn sign<'a>(name: &str, text: String, keys: impl IntoIterator<Item = &'a SigningKey>) -> Self {
        let signatures = keys.into_iter().map(|key| key.sign(name, &text)).collect();
        Self { text, signatures }
    }

    /// What is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether one of the keys is said to have signed the note under that name, rightly or not.
    pub fn names<'a>(&self, name: &str, keys: impl IntoIterator<Item = &'a PublicKey>) -> bool {
        let ids: Vec<_> = keys.into_iter().map(|key| key.id(name)).collect();
        self.signatures.iter().any(|signature| signature.name == name && ids.contains(&signature.key))
    }

    /// The first of the keys that signed the note under that name.
    pub fn signer<'a>(&self, name: &str, keys: impl IntoIterator<Item = &'a PublicKey>) -> Option<PublicKey> {
        keys.into_iter().copied().find(|key| {
            let id = key.id(name);
            let by_key = self.signatures.iter().filter(|signature| signature.key == id && signature.name == name);
            let verifier = UnparsedPublicKey::new(&ED25519, key.0);
            by_key.into_iter().any(|signature| verifier.verify(self.text.as_bytes(), &signature.bytes).is_ok())
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|Signature { name, key, bytes }| {
            let all: Vec<u8> = key.iter().chain(bytes).copied().collect();
            writeln!(f, "{DASH}{name} {}", BASE64.encode(all))
        })
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let at = text.rfind(BREAK).ok_or(NoteError::Malformed)?;
        let (text, signatures) = (&text[..=at], &text[at + BREAK.len()..]);
        if text.chars().any(|c| c.is_control() && c != '\n') || !signatures.ends_with('\n') {
            return Err(NoteError::Malformed);
        }
        let signatures: Option<Vec<_>> = signatures.lines().map(signature).collect();
        Ok(Self { text: text.to_owned(), signatures: signatures.ok_or(NoteError::Malformed)? })
    }
}

fn signature(line: &str) -> Option<Signature> {
    let (name, bytes) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = BASE64.decode(bytes).ok()?;
    let (key, bytes) = bytes.split_first_chunk()?;
    Some(Signature { name: name.to_owned(), key: *key, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_go_module_for_notes_is_read_and_verified() {
        // From the documentation of golang.org/x/mod/sumdb/note, which the format comes from.
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let key_read: PublicKey = key.parse().unwrap();
        assert_eq!(key_read.verifier("PeterNeumann"), key);
        assert_eq!(key_read.to_string().parse(), Ok(key_read));
        let note: Note = text.parse().unwrap();
        assert_eq!(note.signer("PeterNeumann", [&key_read]), Some(key_read));
        assert_eq!(note.to_string(), text);
        let altered: Note = text.replace("know", "knew").parse().unwrap();
        assert_eq!(altered.signer("PeterNeumann", [&key_read]), None);
    }

    #[test]
    fn a_note_is_vouched_for_by_each_key_that_signed_it_and_by_no_other() {
        let keys: Vec<_> = (0..3).map(|i| SigningKey::from_seed(&[i; 32]).unwrap()).collect();
        let note = Note::sign("log", "a\nb\n".into(), &keys[..2]);
        let read: Note = note.to_string().parse().unwrap();
        assert_eq!(read, note);
        for key in &keys[..2] {
            assert_eq!(read.signer("log", [&key.public()]), Some(key.public()));
            assert_eq!(read.signer("another", [&key.public()]), None);
        }
        assert_eq!(read.signer("log", [&keys[2].public()]), None);
        assert!(!format!("{:?}", keys[0]).contains("pair"));
    }

    #[test]
    fn other_texts_are_no_notes_and_no_keys() {
        for text in
            ["", "a", "a\n\n\u{2014} log", "a\n\n\u{2014} log !\n", "a\n\nlog AAAA\n", "a\r\n\n\u{2014} log AAAAAA==\n"]
        {
            assert_eq!(text.parse::<Note>(), Err(NoteError::Malformed), "{text:?}");
        }
        for text in ["", "AAAA", "a+b", "a+00000000+AAAA"] {
            assert_eq!(text.parse::<PublicKey>(), Err(NoteError::PublicKey), "{text:?}");
        }
    }
}
