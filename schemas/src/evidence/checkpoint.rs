//! Checkpoints: a log's size and root at a moment, as C2SP's `tlog-checkpoint` says, in a signed note.
//!
//! ```text
//! agentworks/tnt_01h455vb4pex5vsknk084sn02q
//! 1234
//! base64(root, 32 bytes)
//!
//! — agentworks/tnt_01h455vb4pex5vsknk084sn02q base64(…)
//! ```
//!
//! The first line, the origin, names the log, and is the name under which it is signed.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::TenantId;

use super::note::{Note, NoteError, PublicKey, SigningKey};
use super::{Hash, note};

/// The name of a tenant's log in an installation.
pub fn origin(installation: &str, tenant: TenantId) -> String {
    format!("{installation}/{tenant}")
}

/// The name of an installation's log of all its checkpoints.
pub fn platform_origin(installation: &str) -> String {
    format!("{installation}/platform")
}

/// The name under which an installation says which keys are its own.
pub fn keys_origin(installation: &str) -> String {
    format!("{installation}/keys")
}

/// What a log was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves it had.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl Checkpoint {
    /// Signs it.
    pub fn sign(&self, key: &SigningKey) -> Note {
        Note::sign(&self.origin, self.to_string(), [key])
    }

    /// The checkpoint of a note, and the key that signed it; `None` in the key's place when it is none of these.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn open<'a>(
        note: &str,
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Result<(Self, Option<PublicKey>), NoteError> {
        let note: Note = note.parse()?;
        let checkpoint: Self = note.text().parse()?;
        let signer = note.signer(&checkpoint.origin, keys);
        Ok((checkpoint, signer))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, BASE64.encode(self.root.0))
    }
}

impl FromStr for Checkpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Malformed);
        };
        let root = BASE64.decode(root).ok().and_then(|root| root.try_into().ok()).map(Hash);
        let read = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| NoteError::Malformed)?,
            root: root.ok_or(NoteError::Malformed)?,
        };
        // Nothing is in it that is not checked, and a number has one form.
        if read.to_string() == text { Ok(read) } else { Err(NoteError::Malformed) }
    }
}

/// The keys of an installation's checkpoints, newest first; the first signs.
#[derive(Debug)]
pub struct Keys {
    newest: SigningKey,
    older: Vec<SigningKey>,
}

impl Keys {
    /// Reads the secret keys: 32 bytes in base64 a line, newest first.
    ///
    /// # Errors
    /// [`NoteError::SecretKey`] when a line is no key, or there is none.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let key = |line: &str| {
            let seed = BASE64.decode(line.trim()).map_err(|_| NoteError::SecretKey)?;
            SigningKey::from_seed(&seed)
        };
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let newest = key(lines.next().ok_or(NoteError::SecretKey)?)?;
        Ok(Self { newest, older: lines.map(key).collect::<Result<_, _>>()? })
    }

    /// A line of the file: a new secret key, of 32 random bytes.
    pub fn line(seed: &[u8; 32]) -> String {
        format!("{}\n", BASE64.encode(seed))
    }

    /// The key that signs.
    pub fn newest(&self) -> &SigningKey {
        &self.newest
    }

    /// Every generation's public key, newest first.
    pub fn public(&self) -> Vec<PublicKey> {
        self.all().map(SigningKey::public).collect()
    }

    /// The public keys in a note that every generation has signed: who trusts one of them, trusts them all.
    pub fn statement(&self, installation: &str) -> Note {
        let name = keys_origin(installation);
        let text = self.public().iter().fold(format!("{name}\n"), |text, key| format!("{text}{key}\n"));
        Note::sign(&name, text, self.all())
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

/// The public keys of a statement, newest first, and whether one of `anchors` vouches for them. Each of them must have
/// signed it.
///
/// # Errors
/// [`NoteError::Malformed`].
pub fn open_statement(note: &str, anchors: &[PublicKey]) -> Result<(Vec<PublicKey>, bool), NoteError> {
    let note: note::Note = note.parse()?;
    let mut lines = note.text().lines();
    let name = lines.next().ok_or(NoteError::Malformed)?;
    let keys: Vec<PublicKey> = lines.map(str::parse).collect::<Result<_, _>>().map_err(|_| NoteError::Malformed)?;
    if keys.is_empty() || keys.iter().any(|key| note.signer(name, [key]).is_none()) {
        return Err(NoteError::Malformed);
    }
    let vouched = keys.iter().any(|key| anchors.contains(key));
    Ok((keys, vouched))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seeds: &[u8]) -> Keys {
        Keys::parse(&seeds.iter().map(|seed| Keys::line(&[*seed; 32])).collect::<String>()).unwrap()
    }

    #[test]
    fn a_checkpoint_says_what_was_signed_and_by_whom() {
        let keys = keys(&[2, 1]);
        let checkpoint = Checkpoint { origin: "agentworks/x".into(), size: 7, root: Hash([9; 32]) };
        let note = checkpoint.sign(keys.newest()).to_string();
        let newest = keys.public()[0];
        assert_eq!(Checkpoint::open(&note, &keys.public()), Ok((checkpoint.clone(), Some(newest))));
        assert_eq!(Checkpoint::open(&note, &[]), Ok((checkpoint, None)));
        let grown = note.replace("\n7\n", "\n8\n");
        assert_eq!(Checkpoint::open(&grown, &keys.public()).unwrap().1, None);
        for wrong in ["\n07\n", "\n+7\n", "\n-7\n", "\n7 \n"] {
            assert_eq!(Checkpoint::open(&note.replace("\n7\n", wrong), &[]), Err(NoteError::Malformed), "{wrong:?}");
        }
    }

    #[test]
    fn who_trusts_one_generation_trusts_them_all() {
        let (old, both, stranger) = (keys(&[1]), keys(&[2, 1]), keys(&[3]));
        let statement = both.statement("agentworks").to_string();
        assert_eq!(open_statement(&statement, &old.public()), Ok((both.public(), true)));
        assert_eq!(open_statement(&statement, &both.public()[..1]), Ok((both.public(), true)));
        assert_eq!(open_statement(&statement, &stranger.public()), Ok((both.public(), false)));
        // A key cannot be put among them without them all.
        let smuggled = statement.replacen('\n', &format!("\n{}\n", stranger.public()[0]), 1);
        assert_eq!(open_statement(&smuggled, &old.public()), Err(NoteError::Malformed));
    }
}
