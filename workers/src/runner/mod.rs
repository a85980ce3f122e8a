//! Takes jobs from the queue and sees each attempt through: environment, pod, end.

mod attempt;
mod ending;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use access::SigningKey;
use domain::EnvironmentId;
use outbox::crash;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use self::attempt::Attempt;
use crate::control::Control;
use crate::environments::Driver;
use crate::ids;
use crate::jobs::queue;
use crate::jobs::wake::{LOOK, Wakes};
use crate::settings::WorkerSettings;

/// What every attempt needs.
pub(crate) struct Runner {
    pub(crate) settings: WorkerSettings,
    pub(crate) pool: PgPool,
    pub(crate) control: Control,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) signing_key: SigningKey,
    pub(crate) wakes: Arc<Wakes>,
}

impl Runner {
    /// Claims and runs jobs until `shutdown`, then waits until what is under way has come to its end.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.settings.max_concurrent_runs));
        let attempts = TaskTracker::new();
        while let Some(Ok(place)) = shutdown.run_until_cancelled(Arc::clone(&places).acquire_owned()).await {
            match self.claim().await {
                Ok(Some(job)) => {
                    let attempt = Attempt::new(Arc::clone(&self), job, shutdown.clone());
                    attempts.spawn(async move {
                        attempt.run().await;
                        drop(place);
                    });
                }
                Ok(None) => {
                    drop(place);
                    shutdown.run_until_cancelled(self.wakes.wait_for_jobs()).await;
                }
                Err(error) => {
                    warn!(%error, "jobs cannot be claimed while the database is away");
                    drop(place);
                    shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await;
                }
            }
        }
        attempts.close();
        attempts.wait().await;
    }

    async fn claim(&self) -> Result<Option<queue::Job>, sqlx::Error> {
        let WorkerSettings { holder, lease, max_runs_per_tenant, .. } = self.settings;
        let environment = EnvironmentId::from_uuid(ids::fresh());
        let job = queue::claim(&self.pool, holder, environment, lease, max_runs_per_tenant).await?;
        if job.is_some() {
            crash::point("job.claimed");
        }
        Ok(job)
    }
}
