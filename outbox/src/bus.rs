//! The connection to NATS, and the stream that carries the events.
//!
//! Works on nats-server 2.9. The stream is a copy of the log for whoever wants to listen: it may be deleted at any time
//! and is then made and filled again by the relay.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use futures::StreamExt as _;
use schemas::subject;

use crate::feed::{Feeds, Listener};

/// The window in which the server recognises a repeated message id.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Messages that wait for a slow reader before the client drops more of them: the log has them, memory has not.
const BUFFERED: usize = 4_096;
/// More messages than ever wait for their acknowledgement at once.
const MANY: usize = 1 << 24;
/// The oldest server that everything works on.
const OLDEST: (i64, i64, i64) = (2, 9, 0);

/// Why the bus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No server answers there.
    #[error("cannot connect to NATS: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// The server is too old.
    #[error("nats-server {0} is too old: 2.9 or newer is needed")]
    TooOld(String),
    /// The server does not answer.
    #[error("NATS does not answer: {0}")]
    Silent(String),
    /// JetStream refused.
    #[error("cannot set up the stream {stream} (is JetStream enabled on the server?): {0}", stream = subject::STREAM)]
    Stream(String),
}

/// A connection to NATS. Cheap to clone. Reconnects by itself for ever once it was connected.
#[derive(Debug, Clone)]
pub struct Bus {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    max_bytes: i64,
    feeds: Feeds,
}

impl Bus {
    /// Connects, and creates or updates the stream, which keeps `max_bytes` and drops the oldest beyond.
    ///
    /// # Errors
    /// When no server answers, it is too old, or it has no JetStream.
    pub async fn connect(url: &str, max_bytes: i64) -> Result<Self, BusError> {
        let client = connect_options(url)
            .name("agentworks")
            .max_reconnects(None)
            .subscription_capacity(BUFFERED)
            .connect(url)
            .await?;
        let (major, minor, patch) = OLDEST;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(BusError::TooOld(client.server_info().version));
        }
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(Duration::from_secs(5))
            .ack_timeout(Duration::from_secs(5))
            // Each relay bounds its own; a bound for all of them together would have them wait for each other.
            .max_ack_inflight(MANY)
            .build(client.clone());
        let bus = Self { client, jetstream, max_bytes, feeds: Feeds::default() };
        bus.ensure_stream().await?;
        Ok(bus)
    }

    /// The connection, for core NATS.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// Whether the server can be reached at this moment.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Sends a message to itself by way of the server: one that hangs still holds its connections. Bound its time.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn ping(&self) -> Result<(), BusError> {
        if !self.is_connected() {
            return Err(BusError::Silent("not connected".to_owned()));
        }
        let silent = |error: &dyn std::fmt::Display| BusError::Silent(error.to_string());
        let inbox = self.client.new_inbox();
        let mut back = self.client.subscribe(inbox.clone()).await.map_err(|error| silent(&error))?;
        self.client.publish(inbox, "".into()).await.map_err(|error| silent(&error))?;
        back.next().await.map(drop).ok_or_else(|| silent(&"the connection is closed"))
    }

    /// What the relays publish of a partition, from now on. All who listen in this process share one subscription.
    pub(crate) async fn listen(&self, partition: i32) -> Result<Listener, async_nats::SubscribeError> {
        self.feeds.listen(&self.client, partition).await
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Creates the stream, or brings it to the present settings.
    pub(crate) async fn ensure_stream(&self) -> Result<(), BusError> {
        let config = stream::Config {
            name: subject::STREAM.to_owned(),
            subjects: vec![subject::EVENTS.to_owned()],
            storage: stream::StorageType::File,
            discard: stream::DiscardPolicy::Old,
            max_bytes: self.max_bytes,
            duplicate_window: DUPLICATE_WINDOW,
            ..stream::Config::default()
        };
        let done = self.jetstream.create_or_update_stream(config).await;
        done.map(drop).map_err(|error| BusError::Stream(error.to_string()))
    }
}

/// The client ignores what stands before `@` in a URL; this makes it the credentials it is: `user:password@` or `token@`.
pub fn connect_options(url: &str) -> async_nats::ConnectOptions {
    let options = async_nats::ConnectOptions::new();
    let Ok(url) = url::Url::parse(url) else { return options };
    let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    match (url.username(), url.password()) {
        ("", _) => options,
        (token, None) => options.token(plain(token)),
        (user, Some(password)) => options.user_and_password(plain(user), plain(password)),
    }
}
