//! What wakes a relay at once: appends of this process, and those that other processes tell of.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Log;

/// The channel on which `log.append` tells of a group; the payload is the partition.
const CHANNEL: &str = "agentworks_appended";
/// How long to wait before listening again after a failure.
const AGAIN: Duration = Duration::from_secs(5);

/// Wakes on appends of this process.
pub(super) async fn on_append(log: Log, partition: i32, wake: Arc<Notify>, stop: CancellationToken) {
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

/// Wakes on appends of other processes. Without it (a pooler that cannot listen) the slow poll finds them.
pub(super) async fn on_notify(log: Log, partition: i32, wake: Arc<Notify>, stop: CancellationToken) {
    let payload = partition.to_string();
    loop {
        let listening = async {
            let mut listener = PgListener::connect_with(log.worker_pool()).await?;
            listener.listen(CHANNEL).await?;
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
