//! Pages of a partition, each read and decoded while the one before is worked on.
//!
//! A page ends where a command's events end, so that whoever applies it in one step shows nobody half of what a command did.

use schemas::Recorded;
use tokio_util::task::AbortOnDropHandle;

use crate::copy::Copier;
use crate::{Log, LogError};

/// Events of the first page; each full one doubles it.
const FIRST: usize = 250;
/// Events of a page at most.
pub(crate) const MOST: usize = 5_000;
/// Bytes that a page shall take, about: larger events make smaller pages.
const BYTES: usize = 8 << 20;
/// Pages of so many events are copied: there is a way to go, and a connection for it pays.
const COPIED: usize = 2_000;
/// What an event takes besides its payload, about.
const OVERHEAD: usize = 600;

/// Reads one partition. Holds two pages at most: the one read ahead, and the one that was just given out; and a connection
/// of its own while there is much to read.
#[derive(Debug)]
pub(crate) struct Ahead {
    log: Log,
    partition: i32,
    limit: usize,
    next: Option<Next>,
    /// There as soon as pages are large, and while they are full.
    copier: Option<Copier>,
}

/// A page, and the copier that read it, when one did.
type Answer = Result<(Vec<Recorded>, Option<Copier>), LogError>;

/// The page after a position, on its way.
#[derive(Debug)]
struct Next {
    after: i64,
    limit: usize,
    page: AbortOnDropHandle<Answer>,
}

impl Ahead {
    pub(crate) const fn new(log: Log, partition: i32) -> Self {
        Self { log, partition, limit: FIRST, next: None, copier: None }
    }

    /// The events after a position, in order, at most `most`; none when there are none yet. After a full page the next one
    /// is read at once.
    pub(crate) async fn page(&mut self, after: i64, most: usize) -> Result<Vec<Recorded>, LogError> {
        let (limit, mut page) = match self.next.take() {
            Some(next) if next.after == after && next.limit <= most => {
                // The task is gone only when the process is stopping.
                let (page, copier) = next.page.await.unwrap_or(Err(LogError::Stopped))?;
                self.copier = copier;
                (next.limit, page)
            }
            _ => {
                let limit = self.limit.min(most);
                (limit, self.log.read(self.partition, after, i64::try_from(limit).unwrap_or(i64::MAX)).await?)
            }
        };
        let full = page.len() == limit;
        if full {
            cut_to_commands(&mut page);
        }
        if let Some(last) = page.last().filter(|_| full && limit == self.limit.min(most)) {
            self.grow(&page);
            let (after, limit) = (last.position, self.limit.min(most));
            let page = tokio::spawn(read(self.log.clone(), self.copier.take(), self.partition, after, limit));
            self.next = Some(Next { after, limit, page: AbortOnDropHandle::new(page) });
        } else {
            self.copier = None;
        }
        Ok(page)
    }

    /// Whether the last page was a full one, so that there may be more.
    pub(crate) const fn more(&self) -> bool {
        self.next.is_some()
    }

    fn grow(&mut self, page: &[Recorded]) {
        let bytes: usize = page.iter().map(|event| event.payload.get().len() + OVERHEAD).sum();
        let fit = BYTES / (bytes / page.len()).max(1);
        self.limit = (self.limit * 2).min(MOST).min(fit).max(1);
    }
}

/// Whether two events, one after the other, follow from the same command.
pub(crate) fn together(one: &Recorded, next: &Recorded) -> bool {
    one.metadata.command == next.metadata.command && one.metadata.tenant == next.metadata.tenant
}

/// Leaves out the last command's events of a full page, of which there may be more; unless there are no others.
fn cut_to_commands(page: &mut Vec<Recorded>) {
    let whole = page.windows(2).rposition(|pair| matches!(pair, [one, next] if !together(one, next)));
    if let Some(last) = whole {
        page.truncate(last + 1);
    }
}

/// A page, and what copied it, for the next one.
async fn read(log: Log, copier: Option<Copier>, partition: i32, after: i64, limit: usize) -> Answer {
    let count = i64::try_from(limit).unwrap_or(i64::MAX);
    if limit < COPIED {
        return Ok((log.read(partition, after, count).await?, None));
    }
    let mut copier = match copier {
        Some(copier) => copier,
        None => Copier::connect(&log).await?,
    };
    let page = copier.page(partition, after, after.saturating_add(count)).await?;
    Ok((log.completed(partition, after, count, page).await?, Some(copier)))
}
