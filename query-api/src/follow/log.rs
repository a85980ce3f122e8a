//! One client's subscription to the log itself.

use std::collections::BTreeSet;
use std::time::Duration;

use async_graphql::Result;
use domain::TenantId;
use futures::{Stream, stream};
use outbox::tail::{Follower, Scope};
use schemas::Recorded;

use super::Slot;
use crate::error::OrInternal as _;
use crate::scalar::Cursor;
use crate::state::Reading;

/// How long to wait after the log could not be read.
const AGAIN: Duration = Duration::from_secs(1);

/// Some of what happened, and how far that goes.
pub(crate) struct Page {
    pub(crate) cursor: Cursor,
    pub(crate) events: Vec<Recorded>,
}

/// Follows a tenant's events.
pub(crate) struct LogFollower {
    follower: Follower,
    /// Only events of these types; without it, all.
    types: Option<BTreeSet<String>>,
    first: bool,
    _slot: Slot,
}

impl LogFollower {
    /// From behind the position `after`.
    ///
    /// # Errors
    /// When the log cannot be followed.
    pub(crate) fn new(
        reading: &Reading,
        tenant: TenantId,
        types: Option<BTreeSet<String>>,
        after: i64,
        slot: Slot,
    ) -> Result<Self> {
        let follower = reading.tail.follow(Scope::Tenant(tenant), after).or_internal()?;
        Ok(Self { follower, types, first: true, _slot: slot })
    }

    /// The pages: an empty one at once, which says where it begins, then one whenever something happened.
    pub(crate) fn pages(self) -> impl Stream<Item = Page> + use<> {
        stream::unfold(self, |mut follower| async move {
            let events = if std::mem::take(&mut follower.first) { vec![] } else { follower.next().await };
            Some((Page { cursor: Cursor(follower.follower.cursor()), events }, follower))
        })
    }

    async fn next(&mut self) -> Vec<Recorded> {
        loop {
            match self.follower.next().await {
                Ok(mut page) => {
                    if let Some(types) = &self.types {
                        page.retain(|event| types.contains(&event.event_type));
                    }
                    if !page.is_empty() {
                        return page;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a followed log cannot be read; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}
