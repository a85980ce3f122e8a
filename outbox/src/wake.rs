//! Wakes whoever follows a partition at once: by hand-over for appends of this process, by NOTIFY for those of others.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Log;

/// The channel on which `log.append` tells of a group; the payload is the partition.
const CHANNEL: &str = "agentworks_appended";
/// How long to wait before listening again after a failure.
const AGAIN: Duration = Duration::from_secs(5);

/// Tells of appends to a partition until it is dropped. Those of other processes may be missed (a pooler that cannot
/// listen): whoever waits looks by itself now and then.
#[derive(Debug)]
pub(crate) struct Wake {
    notify: Arc<Notify>,
    _stop: DropGuard,
}

impl Wake {
    pub(crate) fn start(log: &Log, partition: i32) -> Self {
        let (notify, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        tokio::spawn(on_append(log.clone(), partition, notify.clone(), stop.clone()));
        tokio::spawn(on_notify(log.clone(), partition, notify.clone(), stop.clone()));
        Self { notify, _stop: stop.drop_guard() }
    }

    /// Waits for an append after the last one that was told.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

/// Wakes on appends of this process.
async fn on_append(log: Log, partition: i32, wake: Arc<Notify>, stop: CancellationToken) {
    let Some(mut appended) = log.appended(partition) else { return };
    // This task must not keep the log's writers alive.
    drop(log);
    loop {
        tokio::select! {
            changed = appended.changed() => match changed {
                Ok(()) => wake.notify_one(),
                Err(_) => return,
            },
            () = stop.cancelled() => return,
        }
    }
}

/// Wakes on appends of other processes.
async fn on_notify(log: Log, partition: i32, wake: Arc<Notify>, stop: CancellationToken) {
    let payload = partition.to_string();
    loop {
        let listening = async {
            let mut listener = PgListener::connect_with(log.worker_pool()).await?;
            listener.listen(CHANNEL).await?;
            // What came before is found by looking.
            wake.notify_one();
            loop {
                if listener.recv().await?.payload() == payload {
                    wake.notify_one();
                }
            }
        };
        let failed: Result<(), sqlx::Error> = tokio::select! {
            failed = listening => failed,
            () = stop.cancelled() => return,
        };
        if let Err(error) = failed {
            tracing::debug!(partition, %error, "not listening for appends of other processes");
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}
