//! What the relays publish of a partition, taken from the bus once a process, however many consumers listen.
//!
//! Each gets every message in the order in which it came, or is told that it missed some. A message is decoded when the
//! first asks for its event, and only then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_nats::{Message, Subscriber};
use futures::StreamExt as _;
use schemas::{Recorded, subject};
use tokio::sync::broadcast;

use crate::message;

/// Messages that a slow listener may be behind before it misses some: the log has them, memory has not.
const BEHIND: usize = 4_096;

/// A message of the bus that says which position it has.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) position: i64,
    /// Whether the event at the next position follows from the same command.
    pub(crate) more: bool,
    message: Message,
    event: OnceLock<Option<Recorded>>,
}

impl Heard {
    fn new(message: Message) -> Option<Self> {
        let position = message::position(message.headers.as_ref())?;
        let more = message::more(message.headers.as_ref());
        Some(Self { position, more, message, event: OnceLock::new() })
    }

    /// Its event; `None` when no relay published it.
    pub(crate) fn event(&self) -> Option<&Recorded> {
        self.event.get_or_init(|| message::decode(&self.message)).as_ref()
    }
}

type Told = broadcast::Sender<Arc<Heard>>;
/// Ends when the connection is closed for good.
pub(crate) type Listener = broadcast::Receiver<Arc<Heard>>;

/// The feeds of a connection, by partition; each is there while somebody listens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feeds(Arc<Mutex<HashMap<i32, Told>>>);

impl Feeds {
    /// Listens to a partition, from now on.
    pub(crate) async fn listen(
        &self,
        client: &async_nats::Client,
        partition: i32,
    ) -> Result<Listener, async_nats::SubscribeError> {
        if let Some(told) = self.all().get(&partition) {
            return Ok(told.subscribe());
        }
        let messages = client.subscribe(subject::partition(partition)).await?;
        let mut all = self.all();
        if let Some(told) = all.get(&partition) {
            // Somebody was quicker.
            return Ok(told.subscribe());
        }
        let (told, listener) = broadcast::channel(BEHIND);
        all.insert(partition, told.clone());
        tokio::spawn(Feed { feeds: self.clone(), partition, told }.run(messages));
        Ok(listener)
    }

    /// A panic elsewhere leaves a map of whole entries behind, so the lock's poison means nothing here.
    fn all(&self) -> MutexGuard<'_, HashMap<i32, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that hands on what comes. Whatever ends it, the next listener starts another.
struct Feed {
    feeds: Feeds,
    partition: i32,
    told: Told,
}

impl Feed {
    async fn run(self, mut messages: Subscriber) {
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => {
                        // Nobody may be listening at this moment.
                        let _ = Heard::new(message).map(|heard| self.told.send(Arc::new(heard)));
                    }
                    None => return,
                },
                () = self.told.closed() => {
                    let mut all = self.feeds.all();
                    // Somebody may have come in the meantime.
                    if self.told.receiver_count() == 0 {
                        all.remove(&self.partition);
                        return;
                    }
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut all = self.feeds.all();
        if all.get(&self.partition).is_some_and(|told| told.same_channel(&self.told)) {
            all.remove(&self.partition);
        }
    }
}
