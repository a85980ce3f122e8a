//! What decisions need to know of the board, read from the projections once they are as far as the log was.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use command_api::{BoardFacts, FactsUnavailable};
use domain::value::LaneKey;
use domain::{ProjectId, TenantId};
use outbox::progress::Progress;
use outbox::{Log, consumer};
use projections::{board, runs};
use schemas::Cursor;
use sqlx::{Postgres, Transaction};

/// The read models, as a source of facts.
pub struct ReadModels {
    log: Log,
    progress: Progress,
}

/// A decision waits no longer than this for a read model.
const PATIENCE: Duration = Duration::from_secs(3);

impl ReadModels {
    /// Over `log`'s database, told by `progress` how far each read model is.
    pub const fn new(log: Log, progress: Progress) -> Self {
        Self { log, progress }
    }

    /// The tenant's rows, from a moment when `consumer` had applied all of the tenant's events up to `as_of`.
    async fn read(
        &self,
        consumer: &'static str,
        tenant: TenantId,
        as_of: Cursor,
    ) -> Result<Transaction<'static, Postgres>, FactsUnavailable> {
        let behind = |at| FactsUnavailable(format!("{consumer} is at {at}, not yet at {}", as_of.position));
        self.progress.wait(consumer, as_of.partition, as_of.position, PATIENCE).await.map_err(behind)?;
        let mut read = projections::read(&self.log, tenant).await.map_err(unavailable)?;
        // The model may be further than the tenant's rows are, which are parked then.
        let at = consumer::tenant_position(&mut read, consumer, as_of.partition, tenant).await.map_err(unavailable)?;
        if at < as_of.position { Err(behind(at)) } else { Ok(read) }
    }
}

#[async_trait]
impl BoardFacts for ReadModels {
    async fn active_runs(&self, tenant: TenantId, project: ProjectId, as_of: Cursor) -> Result<u32, FactsUnavailable> {
        let mut read = self.read(runs::NAME, tenant, as_of).await?;
        runs::active_runs(&mut read, tenant, project).await.map_err(unavailable)
    }

    async fn occupied_lanes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        as_of: Cursor,
    ) -> Result<BTreeSet<LaneKey>, FactsUnavailable> {
        let mut read = self.read(board::NAME, tenant, as_of).await?;
        board::occupied_lanes(&mut read, tenant, project).await.map_err(unavailable)
    }
}

fn unavailable(error: impl std::fmt::Display) -> FactsUnavailable {
    FactsUnavailable(error.to_string())
}
