//! Wakes whoever waits for work: in this process by hand-over, in others by the bus. A wake may be lost at any time;
//! everyone who waits for one also looks by himself now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::RunId;
use futures::StreamExt as _;
use outbox::Bus;
use schemas::subject;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often one who waits looks by himself.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// The wakes of this process.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    bus: Option<Bus>,
    jobs: Notify,
    letters: Notify,
    runs: Mutex<HashMap<RunId, Arc<Notify>>>,
}

/// As long as it lives, the end of a run is told to it.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    wakes: &'a Wakes,
    run: RunId,
    notify: Arc<Notify>,
}

impl Wakes {
    pub(crate) fn new(bus: Option<Bus>) -> Self {
        Self { bus, ..Self::default() }
    }

    /// There may be jobs to claim.
    pub(crate) async fn jobs(&self) {
        self.jobs.notify_one();
        if let Some(bus) = &self.bus
            && let Err(error) = bus.client().publish(subject::JOBS, bytes::Bytes::new()).await
        {
            debug!(%error, "the other workers look for jobs by themselves");
        }
    }

    /// There may be commands to dispatch.
    pub(crate) fn letters(&self) {
        self.letters.notify_one();
    }

    /// An attempt of a run, or the run, has ended.
    pub(crate) fn run_ended(&self, run: RunId) {
        if let Some(notify) = self.watched().get(&run) {
            notify.notify_one();
        }
    }

    /// Waits for jobs, but not for long.
    pub(crate) async fn wait_for_jobs(&self) {
        let _look_anyway = tokio::time::timeout(LOOK, self.jobs.notified()).await;
    }

    /// Waits for commands to dispatch, but not for long.
    pub(crate) async fn wait_for_letters(&self) {
        let _look_anyway = tokio::time::timeout(LOOK, self.letters.notified()).await;
    }

    /// Watches for the end of a run.
    pub(crate) fn watch(&self, run: RunId) -> Watch<'_> {
        let notify = Arc::clone(self.watched().entry(run).or_default());
        Watch { wakes: self, run, notify }
    }

    /// Passes on what other processes say, until `shutdown`.
    pub(crate) async fn listen(&self, shutdown: CancellationToken) {
        let Some(bus) = &self.bus else { return };
        let Ok(mut wakes) = bus.client().subscribe(subject::JOBS).await else { return };
        while let Some(Some(_)) = shutdown.run_until_cancelled(wakes.next()).await {
            self.jobs.notify_one();
        }
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Arc<Notify>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch<'_> {
    /// Waits for the next word of an end.
    pub(crate) async fn ended(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.wakes.watched().remove(&self.run);
    }
}
