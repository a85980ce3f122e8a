//! What one request reads from: one transaction, which its parts use in turn.
//!
//! So an answer stands on one moment (or on a later one, where a part of it waits for that), all of a request costs one
//! connection, and the tenant is set once. A request that waits for something else does not hold it ([`Reader::rest`]):
//! who holds a connection and waits for another one could wait for ever.

use std::sync::Arc;

use domain::TenantId;
use outbox::{Log, LogError};
use sqlx::{PgConnection, Postgres, Transaction};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

type Moment = Option<Transaction<'static, Postgres>>;

/// The way of one request to the read models. Clones share the transaction.
#[derive(Clone)]
pub(crate) struct Reader {
    log: Log,
    tenant: TenantId,
    moment: Arc<Mutex<Moment>>,
}

/// The transaction, for one part of the request. Dropping it gives it to the next.
pub(crate) struct Turn(OwnedMappedMutexGuard<Moment, Transaction<'static, Postgres>>);

impl Reader {
    /// Nothing is begun yet.
    pub(crate) fn new(log: Log, tenant: TenantId) -> Self {
        Self { log, tenant, moment: Arc::default() }
    }

    /// The transaction, begun when there is none, as soon as nobody else uses it.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn turn(&self) -> Result<Turn, LogError> {
        let mut moment = self.moment.clone().lock_owned().await;
        let tx = match moment.take() {
            Some(tx) => tx,
            None => projections::read(&self.log, self.tenant).await?,
        };
        Ok(Turn(OwnedMutexGuard::map(moment, |moment| moment.insert(tx))))
    }

    /// As [`Reader::turn`], of now.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn turn_of_now(&self) -> Result<Turn, LogError> {
        *self.moment.lock().await = None;
        self.turn().await
    }

    /// Ends the transaction, unless somebody uses it.
    pub(crate) fn rest(&self) {
        if let Ok(mut moment) = self.moment.try_lock() {
            *moment = None;
        }
    }
}

impl Turn {
    /// What queries run on.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
