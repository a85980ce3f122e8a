//! Reading archived ranges.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use domain::TenantId;
use moka::future::Cache;
use object_store::ObjectStoreExt as _;
use schemas::Recorded;
use schemas::evidence::Hash;
use uuid::Uuid;

use super::file::{self, Contents, Part};
use super::{Archive, ArchiveError, FileError, Range};

/// Tables of contents that are kept.
const CONTENTS: u64 = 64;
/// Opened frames that are kept, some 500 KiB each.
const FRAMES: u64 = 64;

/// What has been read of late. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shelf {
    contents: Cache<(i32, i64), Arc<Contents>>,
    frames: Cache<(i32, i64, usize), Arc<Vec<Recorded>>>,
}

impl Shelf {
    pub(super) fn new() -> Self {
        Self { contents: Cache::new(CONTENTS), frames: Cache::new(FRAMES) }
    }
}

/// Which events of a range are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// All after a position.
    After(i64),
    /// A tenant's after a position.
    OfTenant(TenantId, i64),
    /// A tenant's stream's after a version.
    OfStream(TenantId, Uuid, i64),
    /// A tenant's at these positions, in order.
    At(TenantId, &'a [i64]),
}

impl Wanted<'_> {
    fn holds(&self, event: &Recorded) -> bool {
        match *self {
            Self::After(after) => event.position > after,
            Self::OfTenant(tenant, after) => event.position > after && event.metadata.tenant == tenant,
            Self::OfStream(tenant, stream, after) => {
                event.stream == stream && event.version > after && event.metadata.tenant == tenant
            }
            Self::At(tenant, positions) => {
                positions.binary_search(&event.position).is_ok() && event.metadata.tenant == tenant
            }
        }
    }
}

impl Archive {
    /// The events of an archived range that are wanted, in order, at most `limit`.
    pub(crate) async fn read(
        &self,
        range: &Range,
        wanted: Wanted<'_>,
        limit: usize,
    ) -> Result<Vec<Recorded>, ArchiveError> {
        let contents = self.contents(range).await?;
        let mut found = Vec::new();
        for nth in self.frames(range, &contents, wanted).await? {
            let frame = self.frame(range, &contents, nth).await?;
            found.extend(frame.iter().filter(|event| wanted.holds(event)).take(limit - found.len()).cloned());
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Which frames can hold what is wanted.
    async fn frames(&self, range: &Range, contents: &Contents, wanted: Wanted<'_>) -> Result<Vec<usize>, ArchiveError> {
        let (directory, id, from) = match wanted {
            Wanted::After(after) => return Ok((contents.frame_of(after + 1)..contents.frames.len()).collect()),
            Wanted::At(_, positions) => {
                let frames: BTreeSet<usize> = positions.iter().map(|at| contents.frame_of(*at)).collect();
                return Ok(frames.into_iter().collect());
            }
            Wanted::OfTenant(tenant, after) => {
                let id = tenant.uuid();
                (contents.of_tenant(id), id, contents.frame_of(after + 1))
            }
            Wanted::OfStream(_, stream, _) => (contents.of_stream(stream), stream, 0),
        };
        let directory = self.fetch(range, directory).await?;
        let frames = file::frames_of(&directory, id).map_err(|source| damaged(range, source))?;
        Ok(frames.into_iter().map(|frame| frame as usize).filter(|frame| *frame >= from).collect())
    }

    pub(super) async fn contents(&self, range: &Range) -> Result<Arc<Contents>, ArchiveError> {
        let key = (range.partition, range.first);
        if let Some(contents) = self.shelf.contents.get(&key).await {
            return Ok(contents);
        }
        let size = self.place.store.head(&self.place.at(&range.archive)).await?.size;
        let begin = size.checked_sub(file::TRAILER).ok_or_else(|| damaged(range, FileError::Trailer))?;
        let trailer = self.bytes(range, begin, file::TRAILER).await?;
        let length = file::contents_length(&trailer).map_err(|source| damaged(range, source))?;
        let offset = begin.checked_sub(length).ok_or_else(|| damaged(range, FileError::Trailer))?;
        let sha256 = Hash(range.sha256.as_slice().try_into().map_err(|_| damaged(range, FileError::Contents))?);
        let contents = self.fetch(range, Part { offset, length, sha256 }).await?;
        let contents = Arc::new(Contents::read(&contents).map_err(|source| damaged(range, source))?);
        if (contents.partition, contents.first, contents.last) != (range.partition, range.first, range.last) {
            return Err(damaged(range, FileError::Contents));
        }
        self.shelf.contents.insert(key, contents.clone()).await;
        Ok(contents)
    }

    pub(super) async fn frame(
        &self,
        range: &Range,
        contents: &Contents,
        nth: usize,
    ) -> Result<Arc<Vec<Recorded>>, ArchiveError> {
        let key = (range.partition, range.first, nth);
        if let Some(frame) = self.shelf.frames.get(&key).await {
            return Ok(frame);
        }
        let part = contents.frames.get(nth).ok_or_else(|| damaged(range, FileError::Contents))?.1;
        let frame = self.fetch(range, part).await?;
        let frame = Arc::new(file::events(&frame).map_err(|source| damaged(range, source))?);
        self.shelf.frames.insert(key, frame.clone()).await;
        Ok(frame)
    }

    async fn fetch(&self, range: &Range, part: Part) -> Result<Bytes, ArchiveError> {
        let bytes = self.bytes(range, part.offset, part.length).await?;
        if file::sha256(&bytes) == part.sha256 { Ok(bytes) } else { Err(damaged(range, FileError::Altered)) }
    }

    async fn bytes(&self, range: &Range, offset: u64, length: u64) -> Result<Bytes, ArchiveError> {
        let end = offset.checked_add(length).ok_or_else(|| damaged(range, FileError::Contents))?;
        Ok(self.place.store.get_range(&self.place.at(&range.archive), offset..end).await?)
    }
}

pub(super) fn damaged(range: &Range, source: FileError) -> ArchiveError {
    ArchiveError::File { path: range.archive.clone(), source }
}
