//! The library call: a partition's events in order, from the log alone.
//!
//! [`Log::replay`] gives the events of all tenants with the same envelope and in the same order as the bus does, reads the
//! next page while the caller works on the present one, and holds two pages at most, whatever the log holds. Whoever keeps
//! the position of the last event beside what it did with it, in one transaction, goes on from there and does everything
//! once. [`crate::tail`] follows what comes then.

use std::collections::VecDeque;

use futures::stream::{self, Stream};
use schemas::Recorded;

use crate::ahead::{Ahead, MOST};
use crate::{Log, LogError};

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
}
