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

    /// Events that the tables have after a position and up to another, in order. After a failure it is not to be used again.
    pub(crate) async fn page(&mut self, partition: i32, after: i64, upto: i64) -> Result<Vec<Recorded>, LogError> {
        let statement = format!(
            concat!(
                "COPY (",
                events!("WHERE partition = {} AND position > {} AND position <= {} ORDER BY position"),
                ") TO STDOUT (FORMAT binary)"
            ),
            partition, after, upto
        );
        let mut rows = self.0.copy_out_raw(&statement).await?;
        let mut page = Vec::new();
        while let Some(row) = rows.try_next().await? {
            // Each is decoded as it comes, while the server goes on.
            page.extend(copied(&row)?);
        }
        Ok(page)
    }
}
