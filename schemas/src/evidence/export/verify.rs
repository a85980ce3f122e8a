//! Checks an export in one go, member after member.

mod chunk;
mod seal;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use self::chunk::Chunk;
use super::failure::{Failure, Kind};
use super::{FORMAT, Line, Manifest, order, schema_member};
use crate::evidence::Hash;
use crate::evidence::checkpoint::{Checkpoint, open_statement};
use crate::evidence::merkle::Frontier;
use crate::evidence::note::PublicKey;

/// A member other than the events may be so large.
const MOST: u64 = 256 << 20;

/// What an export proves.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What it says of itself.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// How many streams its events are of.
    pub streams: usize,
    /// How many signed checkpoints it holds; the last one is over all events.
    pub checkpoints: u64,
    /// The root over all events.
    pub root: Hash,
    /// The keys that vouch for it, newest first.
    pub keys: Vec<String>,
    /// Whether these keys are known to be the installation's. If not, the export contradicts nothing, and whoever holds
    /// those keys says so.
    pub vouched: bool,
}

/// Who is told what was found right.
pub type Listener<'a> = Option<&'a mut (dyn Visitor + 'static)>;

/// Is told what was found right. What follows may still be wrong.
pub trait Visitor {
    /// The next event, and the fingerprint of its command. False to stop.
    fn event(&mut self, event: &Line<'_>, fingerprint: Option<Hash>) -> bool;

    /// A checkpoint over all events so far.
    fn checkpoint(&mut self, checkpoint: &Checkpoint);
}

/// Checks the members of an export in the order of their names.
pub struct Verifier<'a> {
    anchors: &'a [PublicKey],
    visitor: Listener<'a>,
    last_member: String,
    /// Of each member but the events and the seal.
    hashes: Vec<(String, Hash)>,
    keys: Vec<PublicKey>,
    vouched: bool,
    manifest: Option<Manifest>,
    chunk: Chunk,
    tree: Frontier,
    /// Version and chain.
    streams: HashMap<Uuid, (i64, Hash)>,
    last_position: i64,
    checkpoints: u64,
    /// The size of the last checkpoint that was found right.
    proven: u64,
    types: BTreeSet<(String, u16)>,
    sealed: bool,
}

/// Checks a tar file. `anchors`: the keys that are known to be the installation's.
///
/// # Errors
/// `Ok(Err(failure))` with the first thing that is wrong; an error of its own kind, [`io::ErrorKind::InvalidInput`], when
/// the members do not stand in order, and it must be unpacked first ([`super::unpack`]).
pub fn verify<'a>(
    tar: impl Read,
    anchors: &'a [PublicKey],
    visitor: Listener<'a>,
) -> io::Result<Result<Report, Failure>> {
    let mut verifier = Verifier::new(anchors, visitor);
    match each(tar, &mut verifier) {
        Ok(()) => Ok(verifier.finish()),
        Err(Stop::Order) => Err(io::Error::new(io::ErrorKind::InvalidInput, "the members stand in another order")),
        Err(Stop::Failure(failure)) => Ok(Err(*failure)),
    }
}

enum Stop {
    Failure(Box<Failure>),
    Order,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

fn each(tar: impl Read, verifier: &mut Verifier<'_>) -> Result<(), Stop> {
    let mut export = tar::Archive::new(tar);
    let mut failure = None;
    let mut last = String::new();
    for entry in export.entries().map_err(|error| verifier.unreadable("the start", &error))? {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Err(failure.unwrap_or_else(|| verifier.unreadable(&last, &error)).into()),
        };
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let path = entry.path().map_err(|error| verifier.unreadable(&last, &error))?.into_owned();
        let name = order::known(&path).filter(|_| entry.header().entry_type().is_file());
        let Some(name) = name else {
            let strange = path.display().to_string();
            return Err(Failure::new(Kind::Inserted, &strange, "no export has such a member").into());
        };
        if name < last {
            return Err(Stop::Order);
        }
        // What is wrong may be nothing but the order, which those that follow tell.
        failure = failure.or_else(|| verifier.member(&name, &mut entry).err());
        last = name;
    }
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    // What follows the end of a tar file is nothing.
    let mut rest = Vec::new();
    export.into_inner().take(MOST).read_to_end(&mut rest).map_err(|error| verifier.unreadable(&last, &error))?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Failure::new(Kind::Inserted, "the end", "something follows the end of the export").into());
    }
    Ok(())
}

impl<'a> Verifier<'a> {
    /// Nothing is checked yet.
    pub fn new(anchors: &'a [PublicKey], visitor: Listener<'a>) -> Self {
        Self {
            anchors,
            visitor,
            last_member: String::new(),
            hashes: Vec::new(),
            keys: Vec::new(),
            vouched: false,
            manifest: None,
            chunk: Chunk::default(),
            tree: Frontier::default(),
            streams: HashMap::new(),
            last_position: 0,
            checkpoints: 0,
            proven: 0,
            types: BTreeSet::new(),
            sealed: false,
        }
    }

    /// Checks the next member.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn member(&mut self, name: &str, content: &mut dyn Read) -> Result<(), Failure> {
        if name == self.last_member {
            return Err(Failure::new(Kind::Inserted, name, "it is there twice"));
        }
        name.clone_into(&mut self.last_member);
        if let Some((chunk, "events.jsonl")) = chunk_of(name) {
            return self.events(name, chunk, content);
        }
        let mut bytes = Vec::new();
        content.take(MOST).read_to_end(&mut bytes).map_err(|error| self.unreadable(name, &error))?;
        if name == "seal.note" {
            return self.seal(name, &bytes);
        }
        let hash = sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), &bytes));
        self.hashes.push((name.to_owned(), Hash(hash.into())));
        match (name, chunk_of(name)) {
            ("about/README.md", _) => Ok(()),
            ("about/keys.note", _) => self.keys(name, &bytes),
            ("about/manifest.json", _) => self.manifest(name, &bytes),
            (_, Some((chunk, part))) => self.part(name, chunk, part, &bytes),
            _ if name.starts_with("schemas/") => match serde_json::from_slice::<&RawValue>(&bytes) {
                Ok(_) => Ok(()),
                Err(error) => Err(Failure::new(Kind::Edited, name, format!("not JSON: {error}"))),
            },
            _ => Err(Failure::new(Kind::Inserted, name, "no export has such a member")),
        }
    }

    fn keys(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let note = std::str::from_utf8(bytes).unwrap_or_default();
        let (keys, vouched) = open_statement(note, self.anchors)
            .map_err(|_| Failure::new(Kind::Edited, name, "not a note that all of its keys have signed"))?;
        if !vouched && !self.anchors.is_empty() {
            let what =
                format!("signed with unknown keys: {}; none of them is known to be the installation's", list(&keys));
            return Err(Failure::new(Kind::UnknownKey, name, what));
        }
        (self.keys, self.vouched) = (keys, vouched);
        Ok(())
    }

    fn manifest(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let manifest: Manifest = serde_json::from_slice(bytes)
            .map_err(|error| Failure::new(Kind::Edited, name, format!("not a manifest: {error}")))?;
        if manifest.format != FORMAT {
            return Err(Failure::new(Kind::Edited, name, format!("another format: {}", manifest.format)));
        }
        self.manifest = Some(manifest);
        Ok(())
    }

    /// The export is at its end: is it whole?
    ///
    /// # Errors
    /// What is missing.
    pub fn finish(self) -> Result<Report, Failure> {
        self.chunk_is_over("the end")?;
        let Some(manifest) = self.manifest else {
            return Err(Failure::new(
                Kind::Missing,
                "about/manifest.json",
                "this is no export of a log, or it was cut",
            ));
        };
        let size = self.tree.size();
        if size < manifest.events {
            let what = format!("it ends after {size} of {} events", manifest.events);
            return Err(Failure::new(Kind::Truncated, "the end", what).at(size));
        }
        if size > manifest.events {
            let what = format!("it holds {size} events, not {}", manifest.events);
            return Err(Failure::new(Kind::Edited, "about/manifest.json", what));
        }
        if !self.sealed {
            return Err(Failure::new(Kind::Truncated, "seal.note", "it ends before its seal"));
        }
        let keys = self.keys.iter().map(ToString::to_string).collect();
        Ok(Report {
            manifest,
            streams: self.streams.len(),
            checkpoints: self.checkpoints,
            root: self.tree.root(),
            keys,
            vouched: self.vouched,
        })
    }

    fn unreadable(&self, member: &str, error: &io::Error) -> Failure {
        Failure::unreadable(member, error).at(self.tree.size())
    }

    /// Each event version that is there has its schema.
    fn check_schemas(&self) -> Result<(), Failure> {
        let has = |member: &String| self.hashes.iter().any(|(name, _)| name == member);
        let mut wanted = self.types.iter().map(|(event, version)| schema_member(event, *version));
        match wanted.find(|member| !has(member)) {
            Some(member) => Err(Failure::new(Kind::Missing, &member, "the schema of an event that is there")),
            None => Ok(()),
        }
    }
}

/// The number of the chunk that a member belongs to, and its name in there.
fn chunk_of(name: &str) -> Option<(u64, &str)> {
    let (number, part) = name.strip_prefix("chunks/")?.split_once('/')?;
    let digits = number.len() == 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Some((number.parse().ok()?, part)))?
}

fn list(keys: &[PublicKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
