//! The log's own reads, continued in the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{Decider, TenantId};
use schemas::Recorded;
use uuid::Uuid;

use super::shelf::Wanted;
use super::{Archive, Range};
use crate::{Loaded, Log, LogError};

/// Events that one read of a stream takes.
const PAGE: i64 = 1_000;

impl Log {
    /// The same log, which finds archived ranges in `archive`.
    #[must_use]
    pub fn with_archive(mut self, archive: Archive) -> Self {
        self.archive = Some(archive);
        self
    }

    /// The archived ranges of a partition that end after a position, in order.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn archived(&self, partition: i32, after: i64) -> Result<Vec<Range>, LogError> {
        let ranges = sqlx::query_as(
            "SELECT partition, first, last, archive, sha256 FROM log.ranges \
             WHERE partition = $1 AND last > $2 AND state = 'archived' ORDER BY first",
        )
        .bind(partition)
        .bind(after)
        .fetch_all(self.worker_pool())
        .await?;
        Ok(ranges)
    }

    /// A page as the tables gave it, which should follow on `after` without a gap; what a gap left out comes from the archive.
    pub(crate) async fn completed(
        &self,
        partition: i32,
        after: i64,
        limit: i64,
        page: Vec<Recorded>,
    ) -> Result<Vec<Recorded>, LogError> {
        // Ranges are archived in order, so that nothing is missing behind an event that the tables have.
        if page.first().is_some_and(|first| first.position == after + 1) {
            return Ok(page);
        }
        let ranges = self.archived(partition, after).await?;
        self.archived_first(&ranges, Wanted::After(after), limit, page).await
    }

    /// A page of a tenant's as the tables gave it, with what the archive holds before it. The tables must have been read
    /// *before* this is asked: whatever left them before has its mark by now.
    pub(crate) async fn completed_of_tenant(
        &self,
        tenant: TenantId,
        after: i64,
        limit: i64,
        page: Vec<Recorded>,
    ) -> Result<Vec<Recorded>, LogError> {
        let ranges = self.archived(self.partition_of(tenant), after).await?;
        self.archived_first(&ranges, Wanted::OfTenant(tenant, after), limit, page).await
    }

    /// What is wanted of archived ranges, then what the tables have behind them. Like every page it is shorter than `limit`
    /// only where the log ends.
    async fn archived_first(
        &self,
        ranges: &[Range],
        wanted: Wanted<'_>,
        limit: i64,
        page: Vec<Recorded>,
    ) -> Result<Vec<Recorded>, LogError> {
        let Some(last) = ranges.last() else { return Ok(page) };
        let most = usize::try_from(limit).unwrap_or(0);
        let mut found = Vec::new();
        for range in ranges {
            if found.len() >= most {
                return Ok(found);
            }
            let left = i64::try_from(most - found.len()).unwrap_or(i64::MAX);
            found.extend(self.shelved(range, wanted, left).await?);
        }
        // A range that was being archived may have been read in both places.
        let left = most - found.len();
        found.extend(page.into_iter().filter(|event| event.position > last.last).take(left));
        Ok(found)
    }

    /// A page of a stream after a version as the tables gave it, with what the archive holds of the stream before it.
    pub(crate) async fn archived_of_stream(
        &self,
        tenant: TenantId,
        stream: Uuid,
        after: i64,
        limit: i64,
        page: Vec<Recorded>,
    ) -> Result<Vec<Recorded>, LogError> {
        let first: Option<i64> =
            sqlx::query_scalar("SELECT first_position FROM log.streams WHERE stream = $1 AND tenant = $2")
                .bind(stream)
                .bind(tenant.uuid())
                .fetch_optional(self.worker_pool())
                .await?;
        let Some(first) = first else { return Ok(page) };
        let mut found = Vec::new();
        for range in self.archived(self.partition_of(tenant), first - 1).await? {
            let left = limit - i64::try_from(found.len()).unwrap_or(i64::MAX);
            if left <= 0 {
                return Ok(found);
            }
            found.extend(self.shelved(&range, Wanted::OfStream(tenant, stream, after), left).await?);
        }
        let left = usize::try_from(limit).unwrap_or(0) - found.len();
        // A range that was being archived may have been read in both places.
        let last = found.last().map_or(after, |last: &Recorded| last.version);
        found.extend(page.into_iter().filter(|event| event.version > last).take(left));
        Ok(found)
    }

    /// The aggregate's state, when the tables do not have the first event of its stream: it is archived, or there is none.
    pub(crate) async fn load_archived<A: Decider>(
        &self,
        tenant: TenantId,
        stream: Uuid,
    ) -> Result<Loaded<A>, LogError> {
        let mut loaded = Loaded::<A>::default();
        let exists: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM log.streams WHERE stream = $1 AND tenant = $2 AND type = $3)",
        )
        .bind(stream)
        .bind(tenant.uuid())
        .bind(A::TYPE)
        .fetch_one(self.worker_pool())
        .await?;
        if !exists {
            return Ok(loaded);
        }
        loop {
            let page = self.read_stream(tenant, stream, loaded.version, PAGE).await?;
            if page.is_empty() {
                return Ok(loaded);
            }
            for recorded in page {
                let broken = |source| LogError::Decode { event: recorded.id, source: Arc::new(source) };
                if let Some(event) = recorded.decode::<A>().map_err(broken)? {
                    loaded.state.evolve(&event);
                }
                loaded.version = recorded.version;
                loaded.position = recorded.position;
                loaded.chain = recorded.chain;
            }
        }
    }

    /// The tenant's events at these positions, of which the tables gave some.
    pub(crate) async fn archived_at(
        &self,
        tenant: TenantId,
        positions: &[i64],
        found: Vec<Recorded>,
    ) -> Result<Vec<Recorded>, LogError> {
        let mut all: BTreeMap<i64, Recorded> = found.into_iter().map(|event| (event.position, event)).collect();
        let missing: BTreeSet<i64> = positions.iter().copied().filter(|at| !all.contains_key(at)).collect();
        let Some(first) = missing.first() else { return Ok(all.into_values().collect()) };
        for range in self.archived(self.partition_of(tenant), first - 1).await? {
            let here: Vec<i64> = missing.range(range.first..=range.last).copied().collect();
            if !here.is_empty() {
                let events = self.shelved(&range, Wanted::At(tenant, &here), i64::MAX).await?;
                all.extend(events.into_iter().map(|event| (event.position, event)));
            }
        }
        Ok(all.into_values().collect())
    }

    async fn shelved(&self, range: &Range, wanted: Wanted<'_>, limit: i64) -> Result<Vec<Recorded>, LogError> {
        let Some(archive) = &self.archive else {
            return Err(LogError::Archived { partition: range.partition, first: range.first, last: range.last });
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Box::pin(archive.read(range, wanted, limit)).await.map_err(|error| LogError::Archive(Arc::new(error)))
    }
}
