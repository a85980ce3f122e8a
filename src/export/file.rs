//! The file of an export: a tar file, compressed with zstd, and a checksum of the whole at its end.
//!
//! The checksum stands in a skippable frame, which every program for zstd passes over: the SHA-256 of all bytes before it.
//! It is against damage, not against forgers; a file that another program packed has none.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::Path;

use ring::digest::{Context, SHA256};
use schemas::evidence::export::{Failure, Kind, Listener, Report, Verifier, unpack, verify};
use schemas::evidence::note::PublicKey;

/// Magic number of a skippable frame, and its length.
const FRAME: [u8; 8] = [0x5e, 0x2a, 0x4d, 0x18, 32, 0, 0, 0];
const FOOT: usize = 8 + 32;
/// Little faster than the fastest, and a good deal smaller.
const LEVEL: i32 = 3;

/// Writes an export's file.
pub(super) struct Writer {
    tar: tar::Builder<zstd::Encoder<'static, Hashing<File>>>,
}

impl Writer {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(Hashing::new(file), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self { tar: tar::Builder::new(encoder) })
    }

    /// Adds a member.
    pub(super) fn member(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        self.tar.append_data(&mut header, name, content)
    }

    /// Ends the file, and sees it on the disk.
    pub(super) fn finish(self) -> io::Result<()> {
        let Hashing { mut inner, hash } = self.tar.into_inner()?.finish()?;
        inner.write_all(&FRAME)?;
        inner.write_all(hash.finish().as_ref())?;
        inner.sync_all()
    }
}

/// What a look at a file showed.
pub struct Verdict {
    /// What it proves, or the first thing that is wrong with it.
    pub outcome: Result<Report, Failure>,
    /// Whether it has the checksum that this program puts at the end. When it has not, another program has packed it.
    pub as_written: bool,
}

/// Checks an export's file.
///
/// # Errors
/// When the file cannot be opened, or there is no place to unpack one that another program has packed.
pub fn check(path: &Path, anchors: &[PublicKey], mut visitor: Listener<'_>) -> io::Result<Verdict> {
    let foot = foot(path)?;
    let as_written = foot.is_some();
    let mut file = open(path, as_written)?;
    let outcome = match verify(decoder(&mut file)?, anchors, visitor.as_deref_mut()) {
        Ok(outcome) => outcome,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            check_unpacked(path, as_written, anchors, visitor)?
        }
        Err(error) => return Err(error),
    };
    if outcome.is_ok()
        && let Some(expected) = foot
        && file.finish()? != expected
    {
        let outcome = Err(damaged("its bytes are not those that were written"));
        return Ok(Verdict { outcome, as_written });
    }
    Ok(Verdict { outcome, as_written })
}

/// Checks one whose members stand in another order: another program has packed it.
fn check_unpacked(
    path: &Path,
    as_written: bool,
    anchors: &[PublicKey],
    visitor: Listener<'_>,
) -> io::Result<Result<Report, Failure>> {
    let folder = tempfile::tempdir()?;
    let mut file = open(path, as_written)?;
    let members = match unpack(decoder(&mut file)?, folder.path()) {
        Ok(members) => members,
        Err(error) => return Ok(Err(damaged(&format!("it cannot be unpacked: {error}")))),
    };
    let mut verifier = Verifier::new(anchors, visitor);
    for (name, path) in members {
        if let Err(failure) = verifier.member(&name, &mut File::open(path)?) {
            return Ok(Err(failure));
        }
    }
    Ok(verifier.finish())
}

fn damaged(what: &str) -> Failure {
    Failure::new(Kind::Damaged, "the file", what)
}

/// The checksum at the end of a file, if it has one.
fn foot(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let mut file = File::open(path)?;
    let Some(from) = body(&file)? else { return Ok(None) };
    let mut foot = [0; FOOT];
    file.seek(SeekFrom::Start(from))?;
    file.read_exact(&mut foot)?;
    let (frame, hash) = foot.split_at(FRAME.len());
    Ok(if frame == FRAME { hash.try_into().ok() } else { None })
}

/// How many bytes stand before a foot, if there is room for one.
fn body(file: &File) -> io::Result<Option<u64>> {
    Ok(file.metadata()?.len().checked_sub(FOOT as u64))
}

/// What is compressed.
fn open(path: &Path, has_foot: bool) -> io::Result<Hashing<io::Take<File>>> {
    let file = File::open(path)?;
    let length = body(&file)?.filter(|_| has_foot).unwrap_or(u64::MAX);
    Ok(Hashing::new(file.take(length)))
}

fn decoder<R: Read>(file: R) -> io::Result<impl Read> {
    zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 17, file))
}

/// Hashes what passes.
struct Hashing<T> {
    inner: T,
    hash: Context,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Context::new(&SHA256) }
    }
}

impl<T: Read> Hashing<T> {
    /// Reads to the end: the hash of all.
    fn finish(mut self) -> io::Result<[u8; 32]> {
        io::copy(&mut self, &mut io::sink())?;
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.finish().as_ref());
        Ok(hash)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hash.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}
