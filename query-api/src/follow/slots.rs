//! How many subscriptions a connection, and a person or program, may have at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::{Context, Error};
use domain::TenantId;
use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::coded;
use crate::viewer::Viewer;

/// Subscriptions of one connection at once.
const MOST: usize = 200;

/// Somebody of a tenant.
type User = (TenantId, String);
type Taken = HashMap<User, usize>;

/// Who has how many subscriptions in this process.
#[derive(Debug, Clone)]
pub(crate) struct Subscribers {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

/// The places of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    connection: Arc<Semaphore>,
    user: User,
    subscribers: Subscribers,
}

/// One place, taken until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held for its Drop")] Option<(OwnedSemaphorePermit, Seat)>);

/// One of a user's places.
#[derive(Debug)]
struct Seat {
    user: User,
    taken: Arc<Mutex<Taken>>,
}

/// A panic elsewhere leaves a map of whole entries behind, so the lock's poison means nothing here.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscribers {
    /// `most` for each user.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// The places of a new connection.
    pub(crate) fn of(&self, viewer: &Viewer) -> Slots {
        let user = (viewer.tenant, viewer.actor.to_string());
        Slots { connection: Arc::new(Semaphore::new(MOST)), user, subscribers: self.clone() }
    }

    fn seat(&self, user: &User) -> Result<Seat, Error> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(user.clone()).or_default();
        if *count >= self.most {
            let text = format!("you have {} subscriptions here, and no more may be at once", self.most);
            return Err(coded("too_many_subscriptions", text));
        }
        *count += 1;
        gauge!("agentworks_graphql_subscriptions").increment(1);
        Ok(Seat { user: user.clone(), taken: self.taken.clone() })
    }
}

impl Slots {
    /// A place on this request's connection.
    ///
    /// # Errors
    /// `too_many_subscriptions`.
    pub(crate) fn take(ctx: &Context<'_>) -> Result<Slot, Error> {
        let Some(slots) = ctx.data_opt::<Self>() else { return Ok(Slot(None)) };
        let Ok(permit) = slots.connection.clone().try_acquire_owned() else {
            let text = format!("a connection has at most {MOST} subscriptions");
            return Err(coded("too_many_subscriptions", text));
        };
        Ok(Slot(Some((permit, slots.subscribers.seat(&slots.user)?))))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.user);
            }
        }
        gauge!("agentworks_graphql_subscriptions").decrement(1);
    }
}
