//! Pages by `COPY`: what carries a row from the server to an event at the least cost.

use futures::TryStreamExt as _;
use schemas::Recorded;
use sqlx::{Connection as _, PgConnection};

use crate::row::{copied, events};
use crate::{Log, LogError};

/// A connection for copying, of its own: the pool's are not for this. Left in the middle, or after a failure, the driver
/// does not know what is still on its way, so that such a connection is closed and not used again.
#[derive(Debug)]
pub(crate) struct Copier(PgConnection);

impl Copier {
    /// Connects as the log's workers do.
    pub(crate) async fn connect(log: &Log) -> Result<Self, LogError> {
        Ok(Self(PgConnection::connect_with(&log.worker_pool().connect_options()).await?))
    }

    /// Events that the tables have after a position, in order, at most `limit`. After a failure it is not to be used again.
    pub(crate) async fn page(&mut self, partition: i32, after: i64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        let statement = format!(
            concat!(
                "COPY (",
                events!("WHERE partition = {} AND position > {} ORDER BY position LIMIT {}"),
                ") TO STDOUT (FORMAT binary)"
            ),
            partition, after, limit
        );
        let mut rows = self.0.copy_out_raw(&statement).await?;
        let mut page = Vec::with_capacity(limit);
        while let Some(row) = rows.try_next().await? {
            // Each is decoded as it comes, while the server goes on.
            page.extend(copied(&row)?);
        }
        Ok(page)
    }
}
