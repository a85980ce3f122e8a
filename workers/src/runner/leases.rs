//! The leases of a worker's claims, extended together: one statement for all of them, however many there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::EnvironmentId;
use outbox::crash;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::warn;
use uuid::Uuid;

use crate::jobs::queue::{self, Lease};

/// Longest time between two looks at the leases: an end that another process recorded is noticed by then.
const LOOK: Duration = Duration::from_secs(2);

/// What was last learned of a lease, and when that was asked for.
pub(super) type Word = (Instant, Lease);

/// Those that are held.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: Mutex<HashMap<EnvironmentId, watch::Sender<Option<Word>>>>,
}

/// As long as it lives, the lease of a claim is extended.
#[derive(Debug)]
pub(super) struct Hold {
    leases: Arc<Leases>,
    environment: EnvironmentId,
}

impl Leases {
    /// Extends the lease of the claim with this environment from now on.
    pub(super) fn hold(self: &Arc<Self>, environment: EnvironmentId) -> Hold {
        self.held().insert(environment, watch::Sender::new(None));
        Hold { leases: Arc::clone(self), environment }
    }

    /// Extends what is held, for ever. Also says that this worker is alive.
    pub(super) async fn keep(&self, pool: &PgPool, holder: Uuid, lease: Duration) {
        let mut ticks = tokio::time::interval((lease / 3).min(LOOK));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let environments: Vec<EnvironmentId> = self.held().keys().copied().collect();
            let asked = Instant::now();
            match queue::extend(pool, holder, &environments, lease).await {
                Ok(learned) => {
                    if !learned.is_empty() {
                        crash::point("job.extended");
                    }
                    let held = self.held();
                    for environment in environments {
                        let word = learned.get(&environment).copied().unwrap_or(Lease::Gone);
                        if let Some(sender) = held.get(&environment) {
                            sender.send_replace(Some((asked, word)));
                        }
                    }
                }
                // While the database is away nobody else can claim the jobs either, until the leases have run out.
                Err(error) => warn!(%error, "the leases were not extended"),
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<EnvironmentId, watch::Sender<Option<Word>>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// What is learned of the lease from now on.
    pub(super) fn words(&self) -> watch::Receiver<Option<Word>> {
        self.leases.held().entry(self.environment).or_default().subscribe()
    }

    /// Lets the lease run out.
    pub(super) fn let_go(&self) {
        self.leases.held().remove(&self.environment);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.let_go();
    }
}
