//! A durable JetStream consumer, with the stock client `async-nats`, that misses nothing and does nothing twice.
//!
//! ```sh
//! NATS_URL=nats://… AGENTWORKS_URL=http://… TOKEN=… cargo run --example durable_consumer FILE [UNTIL]
//! ```
//!
//! TOKEN is an operator's: a partition carries the events of all tenants. With UNTIL it ends at that position.
#![expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a program of its own")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_nats::ConnectOptions;
use async_nats::jetstream::{self, consumer};
use futures::StreamExt as _;
use serde_json::{Map, Value};

/// A whole partition: only it has an order without gaps.
const SUBJECT: &str = "evt.0.*";
const DURABLE: &str = "example-rust";
/// How long without a message until the log is asked.
const QUIET: Duration = Duration::from_secs(2);

/// Where effects and position are kept, together: the position is that of the last whole line. Yours is a table that
/// changes in the transaction of its effects.
struct Store {
    file: File,
    position: i64,
}

impl Store {
    fn open(path: &str) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut position = 0;
        for line in BufReader::new(&file).lines() {
            position = position_of(&serde_json::from_str(&line?)?)?;
        }
        Ok(Self { file, position })
    }

    fn apply(&mut self, event: &Value) -> anyhow::Result<()> {
        writeln!(self.file, "{event}")?;
        self.position = position_of(event)?;
        Ok(())
    }
}

fn position_of(event: &Value) -> anyhow::Result<i64> {
    event["position"].as_str().and_then(|text| text.parse().ok()).context("an event has a position")
}

/// The event of a message (binary mode): the same document that `/v1/events` gives.
fn from_message(message: &async_nats::Message) -> anyhow::Result<Value> {
    let mut event = Map::new();
    for (name, values) in message.headers.iter().flat_map(async_nats::HeaderMap::iter) {
        if let (Some(name), Some(value)) = (name.to_string().strip_prefix("ce-"), values.first()) {
            let text = percent_encoding::percent_decode_str(value.as_str()).decode_utf8()?;
            let number = matches!(name, "partition" | "eventversion");
            event.insert(name.to_owned(), if number { text.parse::<i32>()?.into() } else { text.into() });
        }
    }
    event.insert("data".to_owned(), serde_json::from_slice(&message.payload)?);
    Ok(event.into())
}

struct Consumer {
    store: Store,
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Consumer {
    /// Applies the next event; drops what is known; reads what is missing from the log.
    async fn take(&mut self, event: &Value) -> anyhow::Result<()> {
        let position = position_of(event)?;
        if position > self.store.position + 1 {
            self.catch_up().await?;
        }
        if position == self.store.position + 1 {
            self.store.apply(event)?;
        }
        Ok(())
    }

    /// The bus is a hint, the log is the truth.
    async fn catch_up(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/v1/events?follow=false&after={}", self.base, self.store.position);
        let request = self.http.get(url).bearer_auth(&self.token).header("Accept", "application/x-ndjson");
        let lines = request.send().await?.error_for_status()?.text().await?;
        for line in lines.lines().filter(|line| !line.is_empty()) {
            self.store.apply(&serde_json::from_str(line)?)?;
        }
        Ok(())
    }

    async fn follow(&mut self, bus: &jetstream::Context, until: i64) -> anyhow::Result<()> {
        let stream = bus.get_stream("EVENTS").await?;
        let config = consumer::pull::Config {
            durable_name: Some(DURABLE.to_owned()),
            filter_subject: SUBJECT.to_owned(),
            // What was not acknowledged comes again.
            ack_policy: consumer::AckPolicy::Explicit,
            // The store knows where to go on; what it has is dropped.
            deliver_policy: consumer::DeliverPolicy::All,
            max_ack_pending: 1_024,
            ..consumer::pull::Config::default()
        };
        // Made when it is not there: it goes with the stream when somebody deletes that.
        let consumer = stream.get_or_create_consumer(DURABLE, config).await?;
        let mut messages = consumer.messages().await?;
        while self.store.position < until {
            match tokio::time::timeout(QUIET, messages.next()).await {
                Ok(Some(message)) => {
                    let message = message?;
                    self.take(&from_message(&message)?).await?;
                    message.ack().await.map_err(|error| anyhow!(error))?;
                }
                Ok(None) => return Err(anyhow!("the consumer is gone")),
                Err(_) => self.catch_up().await?,
            }
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let setting = |name: &str| std::env::var(name).with_context(|| format!("set {name}"));
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("name the file to write")?;
    let until = arguments.next().map_or(Ok(i64::MAX), |until| until.parse())?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("installed twice"))?;
    let mut consumer = Consumer {
        store: Store::open(&path)?,
        http: reqwest::Client::new(),
        base: setting("AGENTWORKS_URL")?,
        token: setting("TOKEN")?,
    };
    let url = url::Url::parse(&setting("NATS_URL")?)?;
    // The client takes no credentials from the address.
    let options = match url.password() {
        Some(password) => ConnectOptions::with_user_and_password(url.username().to_owned(), password.to_owned()),
        None => ConnectOptions::new(),
    };
    let bus = jetstream::new(options.connect(url.as_str()).await?);
    while let Err(error) = consumer.follow(&bus, until).await {
        eprintln!("the bus cannot be followed: {error}; going on from the log");
        consumer.catch_up().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
