//! What decisions need to know of the board, read from the projections once they are as far as the log was.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use command_api::{BoardFacts, FactsUnavailable};
use domain::value::LaneKey;
use domain::{ProjectId, TenantId};
use outbox::Log;
use outbox::progress::Progress;
use schemas::Cursor;

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

    async fn reached(&self, consumer: &'static str, as_of: Cursor) -> Result<(), FactsUnavailable> {
        self.progress
            .wait(consumer, as_of.partition, as_of.position, PATIENCE)
            .await
            .map_err(|at| FactsUnavailable(format!("{consumer} is at {at}, not yet at {}", as_of.position)))
    }
}

#[async_trait]
impl BoardFacts for ReadModels {
    async fn active_runs(&self, tenant: TenantId, project: ProjectId, as_of: Cursor) -> Result<u32, FactsUnavailable> {
        self.reached("runs", as_of).await?;
        let mut read = self.log.tenant_read(tenant).await.map_err(unavailable)?;
        projections::runs::active_runs(&mut read, tenant, project).await.map_err(unavailable)
    }

    async fn occupied_lanes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        as_of: Cursor,
    ) -> Result<BTreeSet<LaneKey>, FactsUnavailable> {
        self.reached("board", as_of).await?;
        let mut read = self.log.tenant_read(tenant).await.map_err(unavailable)?;
        projections::board::occupied_lanes(&mut read, tenant, project).await.map_err(unavailable)
    }
}

fn unavailable(error: impl std::fmt::Display) -> FactsUnavailable {
    FactsUnavailable(error.to_string())
}
