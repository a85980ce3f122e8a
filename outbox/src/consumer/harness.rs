//! Feeds a consumer: from the log until it has caught up, then from the bus, and from the log again whenever the bus
//! left something out, fell silent or is gone.
//!
//! The bus is listened to by a plain subscription to the subjects that the relay publishes on, one for all consumers of the
//! process. It needs no state on the server and outlives the stream; what it loses, the log repairs.
//!
//! A page ends where a command's events end, so that nobody sees half of what a command did; only where an event is looked
//! for that was refused, it may not.
//!
//! What comes alone is applied at once. Where pages come with several events each, the next is given time to grow: a page's
//! cost hardly depends on its size.

use std::sync::Arc;
use std::time::Duration;

use schemas::Recorded;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{ApplyError, Consumer, Touched, page, parking, register};
use crate::ahead::{self, Ahead};
use crate::feed::{Heard, Listener};
use crate::{Bus, Log, LogError, progress, trace};

/// Events that a page takes at first; as many more as go through quickly.
const PAGE: usize = 500;
/// What a page shall take: others wait for its locks.
const QUICK: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_secs(1);
/// How often an event that is refused is tried alone before its tenant is parked, and how long to wait in between.
const TRIES: i32 = 3;
const PAUSE: Duration = Duration::from_millis(50);
/// Events that a page has where many come.
const CROWD: usize = 8;
/// After a page of that many, the next gets so many times as long to grow as the page took, at most so long.
const SHARE: u32 = 4;
const MOST_REST: Duration = Duration::from_millis(50);
/// Silence on the bus after which the log is asked.
const SILENCE: Duration = Duration::from_millis(500);
/// How often the log is asked without a bus.
const POLL: Duration = Duration::from_millis(250);
/// How long to wait after a failure, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Feeds a consumer until `shutdown`. A second harness of the same consumer is harmless.
///
/// # Errors
/// When the log has no such partition. Everything else is tried again.
pub async fn run(
    log: Log,
    bus: Option<Bus>,
    consumer: Arc<dyn Consumer>,
    partition: i32,
    shutdown: CancellationToken,
) -> Result<(), LogError> {
    if log.appended(partition).is_none() {
        return Err(LogError::Partition(partition));
    }
    let trouble = Trouble { consumer: consumer.name(), partition, backoff: BACKOFF.0, told: String::new() };
    let ahead = Ahead::new(log.clone(), partition);
    let mut harness = Harness {
        log,
        bus,
        consumer,
        partition,
        ahead,
        position: None,
        size: PAGE,
        suspect: None,
        tries: 0,
        seen: 0,
        listener: None,
        begun: Vec::new(),
        trouble,
    };
    // A page under way is finished by the database or rolled back; it can be left at any point.
    tokio::select! {
        () = harness.run() => {}
        () = shutdown.cancelled() => {}
    }
    Ok(())
}

struct Harness {
    log: Log,
    bus: Option<Bus>,
    consumer: Arc<dyn Consumer>,
    partition: i32,
    ahead: Ahead,
    /// The last position applied; `None` when it has to be asked.
    position: Option<i64>,
    /// Events that the next page may have.
    size: usize,
    /// The end of the smallest page that was refused: an event up to here is to blame.
    suspect: Option<i64>,
    /// How often the event that is to blame was tried alone.
    tries: i32,
    /// The highest position seen anywhere.
    seen: i64,
    listener: Option<Listener>,
    /// The first events of a command whose others have not come yet.
    begun: Vec<Arc<Heard>>,
    trouble: Trouble,
}

impl Harness {
    async fn run(&mut self) {
        loop {
            let due = Instant::now() + self.patience();
            self.subscribe().await;
            // First the subscription, then the log: nothing falls between them.
            self.catch_up().await;
            self.listen(due).await;
        }
    }

    fn patience(&self) -> Duration {
        if self.bus.as_ref().is_some_and(Bus::is_connected) { SILENCE } else { POLL }
    }

    async fn subscribe(&mut self) {
        if self.listener.is_some() {
            return;
        }
        let Some(bus) = &self.bus else { return };
        match bus.listen(self.partition).await {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => tracing::debug!(consumer = self.consumer.name(), %error, "cannot subscribe"),
        }
    }

    /// Applies what the bus brings, until it leaves something out, or brings nothing that could be applied for a while.
    async fn listen(&mut self, mut due: Instant) {
        loop {
            let Some(listener) = &mut self.listener else {
                return tokio::time::sleep_until(due).await;
            };
            // In this order: whoever repeats old events endlessly must not keep us from asking the log.
            let first = tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => return,
                first = listener.recv() => first,
            };
            let mut messages = std::mem::take(&mut self.begun);
            match first {
                Ok(first) => messages.push(first),
                // Some were missed.
                Err(RecvError::Lagged(_)) => return,
                // The client has closed: from now on the log alone.
                Err(RecvError::Closed) => {
                    self.listener = None;
                    return;
                }
            }
            while messages.len() < self.size
                && let Ok(message) = listener.try_recv()
            {
                messages.push(message);
            }
            let (page, gap) = self.sift(&messages);
            let begun = Instant::now();
            if !page.is_empty() {
                if !self.apply(&page).await {
                    return;
                }
                due = Instant::now() + self.patience();
            }
            if gap {
                return;
            }
            if (CROWD..PAGE).contains(&page.len()) {
                tokio::time::sleep((begun.elapsed() * SHARE).min(MOST_REST)).await;
            }
        }
    }

    /// The position rule: what follows on the position, up to the first gap, and whether there is one. A command of which
    /// more is to come is kept for then.
    fn sift(&mut self, messages: &[Arc<Heard>]) -> (Vec<Recorded>, bool) {
        let Some(mut at) = self.position else { return (Vec::new(), true) };
        let (mut page, mut gap) = (Vec::new(), false);
        for message in messages {
            let position = message.position;
            self.seen = self.seen.max(position);
            if position <= at {
                continue;
            }
            let event = message.event().filter(|event| event.position == at + 1 && event.partition == self.partition);
            let Some(event) = event.filter(|_| position == at + 1) else {
                gap = true;
                break;
            };
            page.push(event.clone());
            at = position;
            self.begun.push(Arc::clone(message));
            if !message.more {
                self.begun.clear();
            }
        }
        page.truncate(page.len() - self.begun.len());
        (page, gap)
    }

    /// Applies what the log holds, until there is nothing more.
    async fn catch_up(&mut self) {
        loop {
            match self.read().await {
                Ok(page) if page.is_empty() => break,
                Ok(page) => {
                    self.apply(&page).await;
                }
                Err(error) => self.trouble.wait(&error).await,
            }
        }
        self.report();
    }

    async fn read(&mut self) -> Result<Vec<Recorded>, ApplyError> {
        let position = match self.position {
            Some(position) => position,
            None => {
                let mut connection = self.log.worker_pool().acquire().await?;
                let position = register(&mut connection, self.consumer.name(), self.partition).await?;
                *self.position.insert(position)
            }
        };
        let most = match self.suspect {
            // Half of what is suspect: either it goes through, or it is the smaller page that is refused.
            Some(suspect) if suspect > position => usize::try_from((suspect - position) / 2).unwrap_or(0).max(1),
            _ => self.size,
        };
        let page = self.ahead.page(position, most).await?;
        self.seen = self.seen.max(page.last().map_or(position, |last| last.position));
        Ok(page)
    }

    /// Applies a page, which follows on the position. False when not all of it was: the log knows how to go on.
    async fn apply(&mut self, page: &[Recorded]) -> bool {
        let Some((first, last)) = page.first().zip(page.last()) else { return true };
        let span = tracing::info_span!(
            "apply",
            consumer = self.consumer.name(),
            partition = self.partition,
            first = first.position,
            last = last.position,
            otel.kind = "consumer"
        );
        trace::tie(&span, page.iter());
        let begun = Instant::now();
        match page::apply(&self.log, &*self.consumer, page).instrument(span).await {
            Ok(Some(applied)) => {
                self.position = Some(last.position);
                self.tries = 0;
                self.pace(begun.elapsed());
                self.trouble.over();
                self.trouble.parked(applied.parked);
                self.consumer.committed(&applied.kept).await;
                self.tell(first.position - 1, last.position, applied.touched).await;
                true
            }
            Ok(None) => {
                // Another harness was quicker, or it is being rebuilt.
                self.position = None;
                false
            }
            Err(error) if error.refused() => {
                self.refused(page, &error).await;
                false
            }
            Err(error) => {
                self.size = (self.size / 2).max(1);
                self.position = None;
                self.trouble.wait(&error).await;
                false
            }
        }
    }

    /// Larger pages while they are quick, smaller ones when they are slow.
    fn pace(&mut self, took: Duration) {
        if took < QUICK {
            self.size = (self.size * 2).min(ahead::MOST);
        } else if took > SLOW {
            self.size = (self.size / 2).max(1);
        }
    }

    /// Narrows down to the event that is to blame, and parks its tenant.
    async fn refused(&mut self, page: &[Recorded], error: &ApplyError) {
        self.suspect = page.last().map(|last| last.position);
        let [event] = page else { return };
        self.tries += 1;
        // What cannot be read will not be read the next time.
        if self.tries < TRIES && !matches!(error, ApplyError::Decode(_) | ApplyError::Log(_)) {
            return tokio::time::sleep(PAUSE).await;
        }
        match parking::park(&self.log, self.consumer.name(), event, error, self.tries).await {
            Ok(true) => {
                self.position = Some(event.position);
                self.tries = 0;
                self.tell(event.position - 1, event.position, page::nothing()).await;
            }
            Ok(false) => self.position = None,
            Err(error) => {
                self.position = None;
                self.trouble.wait(&error.into()).await;
            }
        }
    }

    /// One message a page.
    async fn tell(&self, after: i64, position: i64, touched: Touched) {
        if let Some(bus) = self.bus.as_ref().filter(|bus| bus.is_connected()) {
            progress::tell(bus, self.consumer.name(), self.partition, after, position, touched).await;
        }
        self.report();
    }

    fn report(&self) {
        let lag = (self.seen - self.position.unwrap_or(0)).max(0);
        metrics::gauge!("agentworks_consumer_lag", "consumer" => self.consumer.name(), "partition" => self.partition.to_string())
            .set(u32::try_from(lag).unwrap_or(u32::MAX));
    }
}

/// What holds a consumer up.
struct Trouble {
    consumer: &'static str,
    partition: i32,
    backoff: Duration,
    /// What was logged last; the same again is no news.
    told: String,
}

impl Trouble {
    async fn wait(&mut self, error: &ApplyError) {
        metrics::counter!("agentworks_consumer_failures_total", "consumer" => self.consumer).increment(1);
        self.gauge(1);
        let text = error.to_string();
        if text != self.told {
            tracing::error!(
                consumer = self.consumer,
                partition = self.partition,
                error = text,
                "held up; trying again"
            );
            self.told = text;
        }
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
    }

    /// How many tenants are left out.
    fn parked(&self, tenants: i32) {
        metrics::gauge!("agentworks_consumer_parked", "consumer" => self.consumer, "partition" => self.partition.to_string())
            .set(tenants);
    }

    fn over(&mut self) {
        if !std::mem::take(&mut self.told).is_empty() {
            tracing::info!(consumer = self.consumer, partition = self.partition, "no longer held up");
            self.gauge(0);
        }
        self.backoff = BACKOFF.0;
    }

    fn gauge(&self, held_up: u32) {
        metrics::gauge!("agentworks_consumer_held_up", "consumer" => self.consumer, "partition" => self.partition.to_string())
            .set(held_up);
    }
}
