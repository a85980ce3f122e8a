//! The file of an archived range.
//!
//! Frames of events, each compressed by itself, so that a reader need fetch and open only those that it wants; then
//! directories that tell in which frames a stream's and a tenant's events are; then the table of contents.
//!
//! ```text
//! frame*        zstd: events as JSON, one a line, in order of position; `FRAME` events a frame
//! directory*    zstd: JSON, `{ "<uuid>": [frame, …] }`; `SHELVES` of them for streams, by the last byte of the id,
//!               then as many for tenants
//! contents      zstd: JSON, see `Contents`: where each part stands and its SHA-256
//! trailer       the length of the contents in bytes, unsigned 64 bits big-endian, and the 8 bytes `AWRANGE1`
//! ```
//!
//! The database keeps the SHA-256 of the contents, so that every part that is read is known to be what was written.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use schemas::Recorded;
use schemas::evidence::Hash;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Events of a frame.
const FRAME: usize = 500;
/// Directories of streams, and of tenants.
const SHELVES: usize = 64;
/// How hard to compress: what is archived is written once.
const LEVEL: i32 = 9;
/// The end of every file.
const MAGIC: &[u8; 8] = b"AWRANGE1";
/// Bytes of the trailer.
pub(super) const TRAILER: u64 = 16;
/// A frame that would be larger than this when opened is none of ours.
const LARGEST: u64 = 1 << 30;

/// Why a file is no archived range.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The end is not that of a range's file.
    #[error("it does not end like a file of a range: it is another file, or was cut off")]
    Trailer,
    /// A part cannot be opened.
    #[error("a part of it cannot be decompressed: {0}")]
    Compression(#[from] io::Error),
    /// A part cannot be read.
    #[error("a part of it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The table of contents names what is not there.
    #[error("its table of contents does not fit it")]
    Contents,
    /// A part is not what was written.
    #[error("a part of it is not what was written")]
    Altered,
}

/// Where a part of the file stands, in bytes from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) sha256: Hash,
}

/// The table of contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) partition: i32,
    /// The first position, and the last.
    pub(super) first: i64,
    pub(super) last: i64,
    /// The first position of each frame, and where it stands.
    pub(super) frames: Vec<(i64, Part)>,
    /// Where the directories stand, by the last byte of what is looked for.
    streams: Vec<Part>,
    tenants: Vec<Part>,
}

/// In which frames the events of each thing are.
type Directory = BTreeMap<Uuid, Vec<u32>>;

/// Makes a file, part by part.
pub(super) struct Encoder {
    partition: i32,
    offset: u64,
    frame: Vec<u8>,
    events: usize,
    frames: Vec<(i64, Part)>,
    first: i64,
    last: i64,
    streams: Vec<Directory>,
    tenants: Vec<Directory>,
}

fn shelf(id: Uuid) -> usize {
    usize::from(id.as_bytes()[15]) % SHELVES
}

impl Encoder {
    pub(super) fn new(partition: i32) -> Self {
        Self {
            partition,
            offset: 0,
            frame: Vec::new(),
            events: 0,
            frames: Vec::new(),
            first: 0,
            last: 0,
            streams: vec![Directory::new(); SHELVES],
            tenants: vec![Directory::new(); SHELVES],
        }
    }

    /// Takes the next event; answers the bytes that are ready to be written.
    pub(super) fn push(&mut self, event: &Recorded) -> Result<Option<Bytes>, FileError> {
        if self.events == 0 {
            let nothing = Part { offset: self.offset, length: 0, sha256: Hash::ZERO };
            self.frames.push((event.position, nothing));
            if self.first == 0 {
                self.first = event.position;
            }
        }
        serde_json::to_writer(&mut self.frame, event)?;
        self.frame.push(b'\n');
        self.events += 1;
        self.last = event.position;
        let frame = u32::try_from(self.frames.len() - 1).unwrap_or(u32::MAX);
        for (directories, id) in [(&mut self.streams, event.stream), (&mut self.tenants, event.metadata.tenant.uuid())]
        {
            let frames = directories[shelf(id)].entry(id).or_default();
            if frames.last() != Some(&frame) {
                frames.push(frame);
            }
        }
        if self.events < FRAME { Ok(None) } else { self.end_frame().map(Some) }
    }

    fn end_frame(&mut self) -> Result<Bytes, FileError> {
        let bytes = zstd::bulk::compress(&self.frame, LEVEL)?;
        self.frame.clear();
        self.events = 0;
        let part = self.placed(&bytes);
        if let Some((_, frame)) = self.frames.last_mut() {
            *frame = part;
        }
        Ok(bytes.into())
    }

    fn placed(&mut self, bytes: &[u8]) -> Part {
        let part = Part { offset: self.offset, length: bytes.len() as u64, sha256: sha256(bytes) };
        self.offset += part.length;
        part
    }

    /// The rest of the file, and the SHA-256 of its contents.
    pub(super) fn finish(mut self) -> Result<(Bytes, Hash), FileError> {
        let mut rest = Vec::new();
        if self.events > 0 {
            rest.extend(self.end_frame()?);
        }
        let mut parts = Vec::new();
        for directory in std::mem::take(&mut self.streams).iter().chain(&std::mem::take(&mut self.tenants)) {
            let bytes = zstd::bulk::compress(&serde_json::to_vec(directory)?, LEVEL)?;
            parts.push(self.placed(&bytes));
            rest.extend(bytes);
        }
        let tenants = parts.split_off(SHELVES);
        let contents = Contents {
            partition: self.partition,
            first: self.first,
            last: self.last,
            frames: self.frames,
            streams: parts,
            tenants,
        };
        let contents = zstd::bulk::compress(&serde_json::to_vec(&contents)?, LEVEL)?;
        rest.extend(&contents);
        rest.extend((contents.len() as u64).to_be_bytes());
        rest.extend(MAGIC);
        Ok((rest.into(), sha256(&contents)))
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// How many bytes before the trailer the contents have.
pub(super) fn contents_length(trailer: &[u8]) -> Result<u64, FileError> {
    let (length, magic) = trailer.split_first_chunk::<8>().ok_or(FileError::Trailer)?;
    if magic == MAGIC { Ok(u64::from_be_bytes(*length)) } else { Err(FileError::Trailer) }
}

fn open(compressed: &[u8]) -> Result<Vec<u8>, FileError> {
    let mut opened = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(zstd::Decoder::new(compressed)?, LARGEST), &mut opened)?;
    Ok(opened)
}

impl Contents {
    pub(super) fn read(compressed: &[u8]) -> Result<Self, FileError> {
        let contents: Self = serde_json::from_slice(&open(compressed)?)?;
        let whole = contents.streams.len() == SHELVES && contents.tenants.len() == SHELVES;
        let ordered = contents.frames.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let begins = contents.frames.first().is_some_and(|(first, _)| *first == contents.first);
        if whole && ordered && begins && contents.first <= contents.last {
            Ok(contents)
        } else {
            Err(FileError::Contents)
        }
    }

    /// Where it is said in which frames a stream's events are.
    pub(super) fn of_stream(&self, stream: Uuid) -> Part {
        self.streams[shelf(stream)]
    }

    /// Where it is said in which frames a tenant's events are.
    pub(super) fn of_tenant(&self, tenant: Uuid) -> Part {
        self.tenants[shelf(tenant)]
    }

    /// The frame that holds a position, or would.
    pub(super) fn frame_of(&self, position: i64) -> usize {
        self.frames.partition_point(|(first, _)| *first <= position).saturating_sub(1)
    }
}

/// The frames that hold events of `id`, in order.
pub(super) fn frames_of(directory: &[u8], id: Uuid) -> Result<Vec<u32>, FileError> {
    let mut directory: Directory = serde_json::from_slice(&open(directory)?)?;
    Ok(directory.remove(&id).unwrap_or_default())
}

/// The events of a frame.
pub(super) fn events(frame: &[u8]) -> Result<Vec<Recorded>, FileError> {
    let opened = open(frame)?;
    serde_json::Deserializer::from_slice(&opened).into_iter().map(|event| Ok(event?)).collect()
}
