//! The library call: a partition's events in order, from the log alone.
//!
//! [`Log::replay`] ends with the last event that there is, [`Log::follow`] goes on with those that come. Both give the
//! events of all tenants with the same envelope and in the same order as the bus does, read the next page while the
//! caller works on the present one, and hold two pages at most, whatever the log holds. Whoever keeps the position of the
//! last event beside what it did with it, in one transaction, goes on from there and does everything once.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::{self, Stream};
use schemas::Recorded;

use crate::ahead::{Ahead, MOST};
use crate::wake::Wake;
use crate::{Log, LogError};

/// The net under the wake-ups.
const LOOK: Duration = Duration::from_secs(1);

/// Reads a partition page by page.
#[derive(Debug)]
pub struct Replay {
    ahead: Ahead,
    position: i64,
}

impl Replay {
    /// The next events, some thousand at most; none at the end of the log. Asked again later, it goes on.
    ///
    /// # Errors
    /// [`LogError::Database`]; asked again, it tries again. [`LogError::Row`] when a row makes no sense.
    pub async fn page(&mut self) -> Result<Vec<Recorded>, LogError> {
        let page = self.ahead.page(self.position, MOST).await?;
        self.position = page.last().map_or(self.position, |last| last.position);
        Ok(page)
    }

    /// The position of the last event that was given out.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// One event after the other, up to the end of the log. An error is the last item.
    pub fn events(self) -> impl Stream<Item = Result<Recorded, LogError>> + Send {
        stream::unfold(Some((self, VecDeque::new())), |state| async move {
            let (mut replay, mut page): (Self, VecDeque<Recorded>) = state?;
            if page.is_empty() {
                match replay.page().await {
                    Ok(next) => page = next.into(),
                    Err(error) => return Some((Err(error), None)),
                }
            }
            page.pop_front().map(|event| (Ok(event), Some((replay, page))))
        })
    }
}

impl Log {
    /// The events of a partition after a position, in order, as far as the log goes. For workers: of all tenants.
    pub fn replay(&self, partition: i32, after: i64) -> Replay {
        Replay { ahead: Ahead::new(self.clone(), partition), position: after }
    }

    /// The events of a partition after a position, in order, and then those that come, at once: it never ends. An error is
    /// no end either: the next item is tried again a moment later.
    pub fn follow(&self, partition: i32, after: i64) -> impl Stream<Item = Result<Recorded, LogError>> + Send + use<> {
        let follow = Follow { wake: Wake::start(self, partition), replay: self.replay(partition, after) };
        stream::unfold((follow, VecDeque::new()), |(mut follow, mut page)| async move {
            while page.is_empty() {
                match follow.page().await {
                    Ok(next) => page = next.into(),
                    Err(error) => return Some((Err(error), (follow, page))),
                }
            }
            page.pop_front().map(|event| (Ok(event), (follow, page)))
        })
    }
}

struct Follow {
    wake: Wake,
    replay: Replay,
}

impl Follow {
    async fn page(&mut self) -> Result<Vec<Recorded>, LogError> {
        match self.replay.page().await {
            Ok(page) if page.is_empty() => {
                let _look_anyway = tokio::time::timeout(LOOK, self.wake.woken()).await;
                Ok(page)
            }
            Ok(page) => Ok(page),
            Err(error) => {
                tokio::time::sleep(LOOK).await;
                Err(error)
            }
        }
    }
}
