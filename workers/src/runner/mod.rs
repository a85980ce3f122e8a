//! Takes jobs from the queue and sees each attempt through: environment, pod, end.

mod attempt;
mod ending;
mod leases;
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
use self::leases::Leases;
use crate::control::Control;
use crate::environments::Driver;
use crate::ids;
use crate::jobs::queue;
use crate::jobs::wake::{LOOK, Wakes};
use crate::settings::WorkerSettings;

/// Jobs that are claimed at once, at most.
const BATCH: usize = 100;

/// What every attempt needs.
pub(crate) struct Runner {
    pub(crate) settings: WorkerSettings,
    pub(crate) pool: PgPool,
    pub(crate) control: Control,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) signing_key: SigningKey,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) leases: Arc<Leases>,
}

impl Runner {
    /// Claims and runs jobs until `shutdown`, then waits until what is under way has come to its end.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let WorkerSettings { holder, lease, .. } = self.settings;
        tokio::select! {
            () = self.leases.keep(&self.pool, holder, lease) => {}
            () = Arc::clone(&self).work(shutdown) => {}
        }
    }

    async fn work(self: Arc<Self>, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.settings.max_concurrent_runs));
        let attempts = TaskTracker::new();
        while let Some(Ok(place)) = shutdown.run_until_cancelled(Arc::clone(&places).acquire_owned()).await {
            let mut free = vec![place];
            while free.len() < BATCH
                && let Ok(place) = Arc::clone(&places).try_acquire_owned()
            {
                free.push(place);
            }
            match self.claim(free.len()).await {
                Ok(jobs) if jobs.is_empty() => {
                    drop(free);
                    shutdown.run_until_cancelled(self.wakes.wait_for_jobs()).await;
                }
                Ok(jobs) => {
                    // A place for each; those that are left over are free again.
                    for (job, place) in jobs.into_iter().zip(free) {
                        let attempt = Attempt::new(Arc::clone(&self), job, shutdown.clone());
                        attempts.spawn(async move {
                            attempt.run().await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    warn!(%error, "jobs cannot be claimed while the database is away");
                    drop(free);
                    shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await;
                }
            }
        }
        attempts.close();
        attempts.wait().await;
    }

    async fn claim(&self, places: usize) -> Result<Vec<queue::Job>, sqlx::Error> {
        let WorkerSettings { holder, lease, .. } = self.settings;
        let environments: Vec<_> = (0..places).map(|_| EnvironmentId::from_uuid(ids::fresh())).collect();
        let jobs = queue::claim(&self.pool, holder, &environments, lease).await?;
        if !jobs.is_empty() {
            crash::point("job.claimed");
        }
        Ok(jobs)
    }
}
