//! How many subscriptions a connection, and a person or program, may have at once.

use std::sync::Arc;

use async_graphql::{Context, Error};
use domain::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::coded;
use crate::places::{Place, Places};
use crate::viewer::Viewer;

/// Subscriptions of one connection at once.
const MOST: usize = 200;

/// Somebody of a tenant.
type User = (TenantId, String);

/// Who has how many subscriptions in this process.
#[derive(Debug, Clone)]
pub(crate) struct Subscribers(Places<User>);

/// The places of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    connection: Arc<Semaphore>,
    user: User,
    users: Places<User>,
}

/// One place, taken until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held for its Drop")] Option<(OwnedSemaphorePermit, Place<User>)>);

impl Subscribers {
    /// `most` for each user.
    pub(crate) fn new(most: usize) -> Self {
        Self(Places::new("agentworks_graphql_subscriptions", most))
    }

    /// The places of a new connection.
    pub(crate) fn of(&self, viewer: &Viewer) -> Slots {
        let user = (viewer.tenant, viewer.actor.to_string());
        Slots { connection: Arc::new(Semaphore::new(MOST)), user, users: self.0.clone() }
    }
}

impl Slots {
    /// A place on this request's connection.
    ///
    /// # Errors
    /// `too_many_subscriptions`.
    pub(crate) fn take(ctx: &Context<'_>) -> Result<Slot, Error> {
        let full = |whose: &str, most| {
            coded(
                "too_many_subscriptions",
                format!("{whose} has {most} subscriptions here, and no more may be at once"),
            )
        };
        let Some(slots) = ctx.data_opt::<Self>() else { return Ok(Slot(None)) };
        let permit = slots.connection.clone().try_acquire_owned().map_err(|_| full("this connection", MOST))?;
        let place = slots.users.take(&slots.user).ok_or_else(|| full("this user", slots.users.most()))?;
        Ok(Slot(Some((permit, place))))
    }
}
