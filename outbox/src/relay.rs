//! Publishes a partition of the log to JetStream.
//!
//! The log is the outbox: what is published is found by position, and where to go on stands in the header of the last
//! message of the partition in the stream. A stream that lost its tail, or was deleted, fills itself again.
//!
//! One relay a partition holds a lease. A second one, or one that does not know that it lost its lease, is harmless: it
//! publishes the same events, the server knows their ids, and consumers go by position.
//!
//! It never holds back an event for another partition, never skips one that the server can take, and never touches the log.

mod lease;

use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures::future::BoxFuture;
use lease::Lease;
use schemas::{Recorded, subject};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::ahead::{self, Ahead};
use crate::wake::Wake;
use crate::{Bus, BusError, Log, LogError, crash, message, trace};

/// Messages that may wait for their acknowledgement at once.
const WINDOW: usize = 4_096;
/// The net under the wake-ups.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// How often an idle relay looks whether the stream is still what it was.
const LOOK: Duration = Duration::from_secs(3);
/// How long to wait after a failure, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why a relay could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The stream could not be set up.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The stream could not be asked, or did not take a message.
    #[error("the stream failed: {0}")]
    Stream(String),
}

/// Publishes one partition until `shutdown`; waits while `holder` has no lease on it.
///
/// # Errors
/// When the log has no such partition. Everything else is tried again.
pub async fn run(
    log: Log,
    bus: Bus,
    partition: i32,
    holder: Uuid,
    shutdown: CancellationToken,
) -> Result<(), RelayError> {
    if log.appended(partition).is_none() {
        return Err(LogError::Partition(partition).into());
    }
    let wake = Wake::start(&log, partition);
    let mut lease = Lease::new(log.worker_pool().clone(), format!("relay.{partition}"), holder);
    let mut backoff = BACKOFF.0;
    let mut relay = Relay { log, bus, partition, acked: 0, mark: None, pending: VecDeque::new() };
    let mut told = String::new();
    while !shutdown.is_cancelled() {
        let work = async {
            if !lease.hold().await.map_err(LogError::from)? {
                return Ok(());
            }
            relay.resume().await?;
            backoff = BACKOFF.0;
            if !std::mem::take(&mut told).is_empty() {
                tracing::info!(partition, after = relay.acked, "the relay goes on");
            }
            relay.publish(&mut lease, &wake).await
        };
        let result = tokio::select! {
            result = work => result,
            () = shutdown.cancelled() => break,
        };
        let pause = match result {
            Ok(()) => Lease::RENEW,
            Err(error) => {
                metrics::counter!("agentworks_relay_failures_total", "partition" => partition.to_string()).increment(1);
                // Said once; the same again is no news.
                if told != error.to_string() {
                    told = error.to_string();
                    tracing::warn!(partition, %error, "the relay is held up");
                }
                backoff = (backoff * 2).min(BACKOFF.1);
                backoff
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => break,
        }
    }
    lease.release().await;
    Ok(())
}

struct Relay {
    log: Log,
    bus: Bus,
    partition: i32,
    /// Every event up to here is in the stream, as far as is known.
    acked: i64,
    /// The stream as it was at the last acknowledgement.
    mark: Option<Mark>,
    /// Acknowledgements that are awaited, in order.
    pending: VecDeque<Pending>,
}

/// An event that is on its way to the stream.
struct Pending {
    position: i64,
    ack: BoxFuture<'static, Ack>,
}

/// Tells a stream that lost something from the one that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    created: OffsetDateTime,
    sequence: u64,
}

impl Relay {
    /// Finds out where to go on; makes the stream when there is none.
    async fn resume(&mut self) -> Result<(), RelayError> {
        self.bus.ensure_stream().await?;
        let stream = self.bus.jetstream().get_stream(subject::STREAM).await.map_err(stream_error)?;
        let info = stream.cached_info();
        let created = info.created;
        let mut last = self.last_position(&stream).await?;
        let head = self.log.head(self.partition).await?;
        if last > head {
            tracing::warn!(
                partition = self.partition,
                last,
                head,
                "the stream is ahead of the log, so it is another log's: emptied, and filled anew"
            );
            stream.purge().filter(subject::partition(self.partition)).await.map_err(stream_error)?;
            last = 0;
        }
        // After a failure in the middle a message may be missing before the last one: go on behind the last one that is
        // known to be there. The server knows the ids of those that it has.
        let in_session = self.mark.is_some_and(|mark| mark.created == created);
        self.acked = if in_session { last.min(self.acked) } else { last };
        self.mark = Some(Mark { created, sequence: info.state.last_sequence });
        Ok(())
    }

    /// The position of the partition's last message in the stream; 0 when there is none.
    async fn last_position(&mut self, stream: &jetstream::stream::Stream) -> Result<i64, RelayError> {
        match stream.get_last_raw_message_by_subject(&subject::partition(self.partition)).await {
            Ok(last) => Ok(message::position(Some(&last.headers)).unwrap_or(0)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
            Err(error) => Err(stream_error(error)),
        }
    }

    /// Publishes what there is, then whatever comes. Ends when the lease is lost.
    async fn publish(&mut self, lease: &mut Lease, wake: &Wake) -> Result<(), RelayError> {
        // What an earlier failure left behind was sent anew.
        self.pending.clear();
        let mut ahead = Ahead::new(self.log.clone(), self.partition);
        let (mut sent, mut looked) = (self.acked, Instant::now());
        while lease.hold().await.map_err(LogError::from)? {
            let page = ahead.page(sent, ahead::MOST).await?;
            if let Some(last) = page.last() {
                sent = last.position;
                let events = page.len();
                let span = tracing::info_span!("relay", partition = self.partition, events, otel.kind = "producer");
                trace::tie(&span, page.iter());
                self.send_page(&page).instrument(span).await?;
                self.report(sent);
            }
            if ahead.more() {
                continue;
            }
            // The page was not full, so the log has no more for now.
            if !self.rest(wake).await? && looked.elapsed() > LOOK {
                self.look().await?;
                looked = Instant::now();
            }
        }
        while let Some(next) = self.pending.front_mut() {
            let ack = (&mut next.ack).await;
            self.acknowledged(ack)?;
        }
        Ok(())
    }

    /// Sends a page, with no more acknowledgements outstanding than the window holds.
    async fn send_page(&mut self, page: &[Recorded]) -> Result<(), RelayError> {
        for (nth, event) in page.iter().enumerate() {
            let more = page.get(nth + 1).is_some_and(|next| ahead::together(event, next));
            if self.pending.len() >= WINDOW
                && let Some(first) = self.pending.front_mut()
            {
                let ack = (&mut first.ack).await;
                self.acknowledged(ack)?;
            }
            if let Some(ack) = self.send(event, more).await? {
                self.pending.push_back(Pending { position: event.position, ack: ack.into_future() });
            } else if self.pending.is_empty() {
                self.acked = event.position;
            }
        }
        Ok(())
    }

    /// Takes acknowledgements until there is something to publish. False when nothing came for a while.
    async fn rest(&mut self, wake: &Wake) -> Result<bool, RelayError> {
        let until = Instant::now() + SLOW_POLL;
        loop {
            let Some(first) = self.pending.front_mut() else {
                self.report(self.acked);
                return Ok(tokio::time::timeout_at(until, wake.woken()).await.is_ok());
            };
            tokio::select! {
                biased;
                () = wake.woken() => return Ok(true),
                ack = &mut first.ack => self.acknowledged(ack)?,
            }
        }
    }

    /// Hands an event to the client; `None` when the server would never take it.
    async fn send(
        &mut self,
        event: &Recorded,
        more: bool,
    ) -> Result<Option<jetstream::context::PublishAckFuture>, RelayError> {
        let message = message::encode(event, more).map_err(stream_error)?;
        let limit = self.bus.client().max_payload();
        if message.size > limit {
            metrics::counter!("agentworks_relay_oversize_total").increment(1);
            tracing::error!(
                partition = self.partition,
                position = event.position,
                size = message.size,
                limit,
                "an event is larger than nats-server's max_payload: consumers will read it from the log"
            );
            return Ok(None);
        }
        crash::point("relay.sending");
        let publish = PublishMessage::build().headers(message.headers).payload(message.payload);
        let ack = self.bus.jetstream().send_publish(message.subject, publish).await.map_err(stream_error)?;
        crash::point("relay.sent");
        metrics::counter!("agentworks_relay_published_total").increment(1);
        Ok(Some(ack))
    }

    /// Takes in what the server said to the first of those that are awaited.
    fn acknowledged(&mut self, ack: Ack) -> Result<(), RelayError> {
        let ack = ack.map_err(stream_error)?;
        crash::point("relay.acknowledged");
        if let Some(first) = self.pending.pop_front() {
            self.acked = first.position;
        }
        if let Some(mark) = &mut self.mark {
            mark.sequence = mark.sequence.max(ack.sequence);
        }
        Ok(())
    }

    /// Fails when the stream is not what it was: somebody deleted it, or its server lost the tail.
    async fn look(&mut self) -> Result<(), RelayError> {
        if !self.bus.is_connected() {
            return Ok(());
        }
        let stream = self.bus.jetstream().get_stream(subject::STREAM).await.map_err(stream_error)?;
        let info = stream.cached_info();
        match self.mark {
            Some(mark) if mark.created == info.created && mark.sequence <= info.state.last_sequence => Ok(()),
            _ => Err(RelayError::Stream("the stream has lost messages; filling it again".to_owned())),
        }
    }

    fn report(&self, head: i64) {
        let lag = u32::try_from((head - self.acked).max(0)).unwrap_or(u32::MAX);
        metrics::gauge!("agentworks_relay_lag", "partition" => self.partition.to_string()).set(lag);
    }
}

type Ack = Result<jetstream::publish::PublishAck, jetstream::context::PublishError>;

fn stream_error(error: impl std::fmt::Display) -> RelayError {
    RelayError::Stream(error.to_string())
}
