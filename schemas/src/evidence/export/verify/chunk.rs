//! A chunk: some checkpoints, digests and events that follow on each other.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read};

use uuid::Uuid;

use super::super::failure::{Failure, Kind, short};
use super::super::{Command, Line, RECORD, Record};
use super::Verifier;
use crate::evidence::checkpoint::{Checkpoint, origin};
use crate::evidence::note::Note;
use crate::evidence::{Hash, link, merkle, micros};

/// What is known of the chunk that is being read.
#[derive(Default)]
pub(super) struct Chunk {
    /// How many chunks have begun.
    begun: u64,
    /// Those that its events are still to reach.
    checkpoints: VecDeque<Checkpoint>,
    commands: HashMap<Uuid, Hash>,
    records: Vec<Record>,
    /// Whether its events were read.
    read: bool,
}

/// Why an event is not what it should be, before it is looked at more closely.
struct Flaw(Kind, String);

impl Verifier<'_> {
    /// A member of a chunk that is not its events.
    pub(super) fn part(&mut self, name: &str, chunk: u64, part: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.enter(name, chunk)?;
        match part {
            "checkpoints.jsonl" => self.checkpoints(name, bytes),
            "commands.jsonl" => self.commands(name, bytes),
            "digests.bin" => {
                let (records, []) = bytes.as_chunks::<RECORD>() else {
                    return Err(Failure::new(Kind::Damaged, name, "not a whole number of digests").at(self.tree.size()));
                };
                self.chunk.records = records.iter().map(Record::from_bytes).collect();
                Ok(())
            }
            _ => Err(Failure::new(Kind::Inserted, name, "no export has such a member")),
        }
    }

    /// The chunk that a member belongs to must be this one or the next.
    fn enter(&mut self, name: &str, chunk: u64) -> Result<(), Failure> {
        if chunk + 1 == self.chunk.begun {
            return Ok(());
        }
        self.chunk_is_over(name)?;
        if chunk != self.chunk.begun {
            let what = format!("chunk {} is missing", self.chunk.begun);
            return Err(Failure::new(Kind::Missing, name, what).at(self.tree.size()));
        }
        self.chunk = Chunk { begun: chunk + 1, ..Chunk::default() };
        Ok(())
    }

    /// Nothing of the chunk is open.
    pub(super) fn chunk_is_over(&self, name: &str) -> Result<(), Failure> {
        let index = self.tree.size();
        if self.chunk.begun > 0 && !self.chunk.read {
            return Err(Failure::new(Kind::Missing, name, "the events of a chunk are missing").at(index));
        }
        match self.chunk.checkpoints.front() {
            Some(ahead) => {
                let what = format!("{index} events, where a signed checkpoint says there are {}", ahead.size);
                Err(Failure::new(Kind::Truncated, name, what).at(index))
            }
            None => Ok(()),
        }
    }

    fn checkpoints(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let Some(manifest) = &self.manifest else {
            return Err(Failure::new(Kind::Missing, "about/manifest.json", "there is no manifest"));
        };
        if self.keys.is_empty() {
            return Err(Failure::new(Kind::Missing, "about/keys.note", "there are no keys"));
        }
        let origin = origin(&manifest.installation, manifest.tenant);
        let mut last = self.tree.size();
        for (number, line) in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let edited =
                |what: String| Failure::new(Kind::Edited, name, format!("line {}: {what}", number + 1)).at(last);
            let text: String = serde_json::from_slice(line).map_err(|error| edited(error.to_string()))?;
            let (checkpoint, signer) =
                Checkpoint::open(&text, &self.keys).map_err(|_| edited("not a signed checkpoint".into()))?;
            if checkpoint.origin != origin {
                let what = format!("line {}: a checkpoint of {}, not of {origin}", number + 1, checkpoint.origin);
                return Err(Failure::new(Kind::Foreign, name, what).at(last));
            }
            if signer.is_none() {
                let known = text.parse::<Note>().is_ok_and(|note| note.names(&origin, &self.keys));
                return Err(if known {
                    edited(format!("the signature of the checkpoint of size {} is not over it", checkpoint.size))
                } else {
                    let what = format!(
                        "line {}: the checkpoint of size {} is signed with a key that is not among the installation's",
                        number + 1,
                        checkpoint.size
                    );
                    Failure::new(Kind::UnknownKey, name, what).at(last)
                });
            }
            if checkpoint.size <= last {
                return Err(edited(format!(
                    "a checkpoint of size {} stands where it does not belong",
                    checkpoint.size
                )));
            }
            last = checkpoint.size;
            self.chunk.checkpoints.push_back(checkpoint);
        }
        Ok(())
    }

    fn commands(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let command: Command = serde_json::from_slice(line)
                .map_err(|error| Failure::new(Kind::Edited, name, error.to_string()).at(self.tree.size()))?;
            if self.visitor.is_some() {
                self.chunk.commands.insert(command.command.uuid(), command.fingerprint);
            }
        }
        Ok(())
    }

    /// The events of a chunk.
    pub(super) fn events(&mut self, name: &str, chunk: u64, content: &mut dyn Read) -> Result<(), Failure> {
        self.enter(name, chunk)?;
        let first = self.tree.size();
        let records = std::mem::take(&mut self.chunk.records);
        let mut reader = BufReader::with_capacity(1 << 16, content);
        let mut line = Vec::new();
        let mut nth = 0;
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(|error| self.unreadable(name, &error))?;
            if line.is_empty() {
                break;
            }
            let checked = match records.get(nth) {
                Some(record) => self.event(&line, record),
                None => Err(Flaw(Kind::Inserted, "there are more events than digests".into())),
            };
            if let Err(flaw) = checked {
                let mut rest = Vec::new();
                // What cannot be read does not help to tell what happened.
                let _ = reader.read_to_end(&mut rest);
                return Err(self.failure(name, flaw, &line, &rest, records.get(nth..).unwrap_or_default()));
            }
            nth += 1;
            self.reached()?;
        }
        self.chunk.read = true;
        if let Some(record) = records.get(nth) {
            let all = first + u64::try_from(records.len()).unwrap_or(u64::MAX);
            let last = self.manifest.as_ref().is_some_and(|manifest| manifest.events <= all);
            let kind = if last { Kind::Truncated } else { Kind::Missing };
            let what = format!("{} events are missing here", records.len() - nth);
            let failure = Failure::new(kind, name, what).at(self.tree.size());
            return Err(Failure { position: Some(record.position), ..failure });
        }
        Ok(())
    }

    /// One event: it is what its digest says, and follows on those before.
    fn event(&mut self, line: &[u8], record: &Record) -> Result<(), Flaw> {
        let edited = |what: &str| Flaw(Kind::Edited, what.to_owned());
        let event: Line<'_> =
            serde_json::from_slice(line).map_err(|error| Flaw(Kind::Edited, format!("not an event: {error}")))?;
        let Some(manifest) = &self.manifest else { return Err(edited("there is no manifest")) };
        if event.tenant != manifest.tenant {
            return Err(Flaw(Kind::Foreign, format!("an event of tenant {}", event.tenant)));
        }
        let digest = event.expected_digest();
        if digest != event.digest {
            let what = format!("its content has digest {}…, it says {}…", short(&digest), short(&event.digest));
            return Err(Flaw(Kind::Edited, what));
        }
        if digest != record.digest {
            return Err(edited("it is not the event whose digest stands here"));
        }
        let (version, chain) = self.streams.get(&event.stream).copied().unwrap_or((0, Hash::ZERO));
        if event.version != version + 1 {
            let kind = if event.version > version { Kind::Missing } else { Kind::Inserted };
            let what = format!("version {} of its stream follows on version {version}", event.version);
            return Err(Flaw(kind, what));
        }
        let chain = link(&chain, &digest);
        if chain != event.chain {
            return Err(edited("its chain does not follow from the event before it in its stream"));
        }
        if event.partition != manifest.partition {
            return Err(edited("another partition than all others"));
        }
        if event.position != record.position {
            return Err(edited("its position is not the one beside its digest"));
        }
        if event.position <= self.last_position {
            return Err(Flaw(Kind::Swapped, "its position does not follow on the one before it".into()));
        }
        if micros(event.recorded_at) != record.recorded_at {
            return Err(edited("its time of recording is not the one beside its digest"));
        }
        self.streams.insert(event.stream, (event.version, chain));
        self.last_position = event.position;
        self.tree.push(merkle::leaf(&digest.0));
        if !self.types.iter().any(|(name, version)| *name == event.event_type && *version == event.event_version) {
            self.types.insert((event.event_type.clone().into_owned(), event.event_version));
        }
        if let Some(visitor) = &mut self.visitor
            && !visitor.event(&event, self.chunk.commands.get(&event.command.uuid()).copied())
        {
            return Err(edited("it was not taken"));
        }
        Ok(())
    }

    /// The checkpoint of just this size, if there is one, signs just these events.
    fn reached(&mut self) -> Result<(), Failure> {
        let size = self.tree.size();
        let Some(checkpoint) = self.chunk.checkpoints.pop_front_if(|checkpoint| checkpoint.size == size) else {
            return Ok(());
        };
        if checkpoint.root != self.tree.root() {
            let what = format!(
                "the events up to index {} are not those that the checkpoint of size {size} signs: one from index {} on \
                 was changed, and all that depends on it was made to fit",
                size - 1,
                self.proven
            );
            let failure = Failure::new(Kind::Edited, &self.last_member, what).at(self.proven);
            return Err(Failure { since: Some(self.proven), ..failure });
        }
        self.proven = size;
        self.checkpoints += 1;
        if let Some(visitor) = &mut self.visitor {
            visitor.checkpoint(&checkpoint);
        }
        Ok(())
    }

    /// Tells what happened to an event that is not what it should be, from what follows.
    fn failure(&self, name: &str, flaw: Flaw, line: &[u8], rest: &[u8], records: &[Record]) -> Failure {
        let index = self.tree.size();
        let event = serde_json::from_slice::<Line<'_>>(line).ok();
        let described = |kind, what: String| Failure {
            position: event.as_ref().map(|event| event.position),
            event: event.as_ref().map(|event| event.id),
            ..Failure::new(kind, name, what).at(index)
        };
        let Flaw(kind, what) = flaw;
        let (Some(event), Some((here, later))) = (&event, records.split_first()) else { return described(kind, what) };
        let digest = event.expected_digest();
        if kind != Kind::Edited || digest != event.digest {
            return described(kind, what);
        }
        if digest == here.digest {
            // The event is the right one as far as its own digest goes.
            let failure = described(kind, what);
            return Failure { since: (self.proven < index).then_some(self.proven), ..failure };
        }
        let mine = later.iter().position(|record| record.digest == digest);
        let lines = rest.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line<'_>>(line).ok());
        let due = lines.map(|line| line.expected_digest()).position(|digest| digest == here.digest);
        let missing = |count: usize| Failure {
            position: Some(here.position),
            ..Failure::new(Kind::Missing, name, format!("{count} event(s) are missing before event {}", event.id))
                .at(index)
        };
        match (mine, due) {
            (Some(_), Some(due)) => {
                described(Kind::Swapped, format!("the event that belongs here stands {} further on", due + 1))
            }
            (Some(mine), None) => missing(mine + 1),
            (None, Some(_)) => described(Kind::Inserted, "an event that is not in the log".into()),
            (None, None) => described(Kind::Edited, what),
        }
    }
}
