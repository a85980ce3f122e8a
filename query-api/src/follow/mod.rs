//! Keeps subscriptions going.
//!
//! A subscription knows one thing of its client: the cursor of the last frame. Whatever wakes it, the next frame holds
//! everything of the read model that stands after that cursor, read in one snapshot together with the model's position,
//! which becomes the new cursor. So nothing can be lost or come twice, whatever becomes of messages: they say only when
//! to look. It listens first and reads then.

mod board;
mod boards;
mod card;
mod environment;
mod log;
mod run;
mod slots;
mod thing;
mod usage;

pub(crate) use board::BoardFollower;
pub(crate) use boards::Boards;
pub(crate) use card::CardFollowed;
pub(crate) use environment::EnvironmentsFollowed;
pub(crate) use log::{LogFollower, Page as LogPage};
pub(crate) use run::{RunFollowed, RunLogFollowed};
pub(crate) use slots::{Slot, Slots, Subscribers};
pub(crate) use thing::{Followed, Follower};
pub(crate) use usage::UsageFollowed;

use std::time::Duration;

use async_graphql::Error;
use outbox::progress::Reached;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use crate::error::is_unavailable;

/// How long to wait for a database that cannot be asked.
const AGAIN: Duration = Duration::from_millis(500);

/// Waits a while after what will pass: a subscription outlives a database that is gone for a moment.
///
/// # Errors
/// The error, when it is another one.
async fn bear(error: Error) -> Result<(), Error> {
    if !is_unavailable(&error) {
        return Err(error);
    }
    tokio::time::sleep(AGAIN).await;
    Ok(())
}

/// Asks until the database can be asked.
///
/// # Errors
/// Any other.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, Error>>>(ask: impl Fn() -> F) -> Result<T, Error> {
    loop {
        match ask().await {
            Err(error) => bear(error).await?,
            answer => return answer,
        }
    }
}

/// Waits until `topic` may have changed after `position`; false when nobody will tell any more.
async fn stirred(progress: &mut Receiver<Reached>, topic: Uuid, position: i64) -> bool {
    loop {
        match progress.recv().await {
            Ok(reached) if reached.position <= position => {}
            // No topics: it is not known which, so it may be any.
            Ok(reached) if reached.topics.is_empty() || reached.topics.contains(&topic) => return true,
            Ok(_) => {}
            // Messages were lost: one of them may have been ours.
            Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}
