//! Moves events from the log to one client, at the client's pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use metrics::counter;
use outbox::tail::Follower;
use schemas::Recorded;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Whose;
use super::ask::Types;
use super::form::Form;
use crate::places::Place;

/// Bytes of a chunk after which the next one begins.
const CHUNK: usize = 64 * 1024;
/// How often a client learns that its cursor has moved past what is not for it.
const MARK: Duration = Duration::from_secs(1);
/// How long to wait after the log could not be read.
const AGAIN: Duration = Duration::from_secs(1);

/// One client's stream.
pub(super) struct Pump {
    pub(super) follower: Follower,
    pub(super) types: Types,
    pub(super) form: Form,
    /// Where it ends; none: never.
    pub(super) until: Option<i64>,
    pub(super) heartbeat: Duration,
    pub(super) stalled: Duration,
}

/// Whether what was sent is all that was asked for.
#[derive(Debug, Default)]
pub(super) struct Whole(AtomicBool);

impl Whole {
    pub(super) fn is_whole(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The client takes nothing any more, or has gone.
struct Gone;

impl Pump {
    /// Pumps until the end, the end of the token, the end of this process, or of the client's patience or ours.
    pub(super) fn start(
        mut self,
        sender: Sender<Bytes>,
        lifetime: Duration,
        shutdown: CancellationToken,
        place: Place<Whose>,
    ) -> Arc<Whole> {
        let whole = Arc::new(Whole::default());
        let told = whole.clone();
        let deadline = Instant::now() + lifetime;
        tokio::spawn(async move {
            let _place = place;
            let (endless, client) = (self.until.is_none(), sender.clone());
            let why = tokio::select! {
                () = shutdown.cancelled() => "shutdown",
                () = sleep_until(deadline) => "token_expired",
                () = client.closed() => "client_gone",
                done = self.pump(&sender) => if done.is_ok() { "complete" } else { "client_stalled" },
            };
            counter!("agentworks_event_streams_ended_total", "why" => why).increment(1);
            // One that never ends has no end to miss: its client comes again, and goes on from its cursor.
            let whole = why == "complete" || (endless && why != "client_stalled");
            told.0.store(whole, Ordering::Release);
        });
        whole
    }

    async fn pump(&mut self, sender: &Sender<Bytes>) -> Result<(), Gone> {
        self.send(sender, self.form.opening().to_vec()).await?;
        let mut told = (self.follower.cursor(), Instant::now());
        while self.until.is_none_or(|head| self.follower.cursor().position < head) {
            let page = self.next(sender).await?;
            let wanted = |event: &&Recorded| self.types.as_ref().is_none_or(|types| types.contains(&event.event_type));
            let mut last = None;
            let mut chunk = Vec::new();
            let mut count = 0;
            for event in page.iter().filter(wanted) {
                if let Err(error) = self.form.event(event, &mut chunk) {
                    tracing::error!(event = %event.id, %error, "an event has no JSON form");
                    return Err(Gone);
                }
                (last, count) = (Some(event.position), count + 1);
                if chunk.len() >= CHUNK {
                    self.send(sender, std::mem::take(&mut chunk)).await?;
                }
            }
            counter!("agentworks_event_stream_events_total").increment(count);
            self.send(sender, chunk).await?;
            let cursor = self.follower.cursor();
            if last == Some(cursor.position) {
                told = (cursor, Instant::now());
            } else if cursor != told.0 && told.1.elapsed() >= MARK {
                self.send(sender, self.form.mark(cursor).unwrap_or_default()).await?;
                told = (cursor, Instant::now());
            }
        }
        Ok(())
    }

    /// The next page, with a sign of life while there is none.
    async fn next(&mut self, sender: &Sender<Bytes>) -> Result<Vec<Recorded>, Gone> {
        let (beat, form, stalled) = (self.heartbeat, self.form, self.stalled);
        loop {
            let mut page = std::pin::pin!(self.follower.next());
            let found = loop {
                tokio::select! {
                    found = &mut page => break found,
                    () = sleep(beat) => send(sender, form.heartbeat().to_vec(), stalled).await?,
                }
            };
            match found {
                Ok(page) => return Ok(page),
                Err(error) => {
                    tracing::warn!(%error, "a stream of events cannot be read; trying again");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn send(&self, sender: &Sender<Bytes>, chunk: Vec<u8>) -> Result<(), Gone> {
        send(sender, chunk, self.stalled).await
    }
}

/// Hands a chunk over once the client has taken those before.
async fn send(sender: &Sender<Bytes>, chunk: Vec<u8>, stalled: Duration) -> Result<(), Gone> {
    if chunk.is_empty() {
        return Ok(());
    }
    match timeout(stalled, sender.send(chunk.into())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}
