//! How many subscriptions a socket may have at once.

use std::sync::Arc;

use async_graphql::{Context, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::coded;

/// Subscriptions of one socket at once.
const MOST: usize = 200;

/// The places of one socket.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Semaphore>);

/// One place, taken until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held for its Drop")] Option<OwnedSemaphorePermit>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Slots {
    /// A place on this request's socket.
    ///
    /// # Errors
    /// `too_many_subscriptions`.
    pub(crate) fn take(ctx: &Context<'_>) -> Result<Slot, Error> {
        let Some(slots) = ctx.data_opt::<Self>() else { return Ok(Slot(None)) };
        match slots.0.clone().try_acquire_owned() {
            Ok(permit) => Ok(Slot(Some(permit))),
            Err(_) => Err(coded("too_many_subscriptions", format!("a socket has at most {MOST} subscriptions"))),
        }
    }
}
