//! Who listens meanwhile: clients of boards over GraphQL, a stranger who reads the stream with the stock client, and one who
//! reads `GET /v1/events`.

use std::sync::Arc;
use std::time::Duration;

use agentworks::demo::Client;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::StreamExt as _;
use schemas::subject;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::checker::place_of;
use crate::records::{Frame, Records};

/// The stranger who listens to the stream all the time.
pub(crate) const STREAM: &str = "stream";
/// The reader of `GET /v1/events`. It never begins anew: it goes on where it was, whatever befell the bus.
pub(crate) const EVENTS: &str = "events";
/// The one who comes when all is over.
pub(crate) const NEWCOMER: &str = "newcomer";
/// Before trying again after a failure.
const AGAIN: Duration = Duration::from_millis(100);
/// Silence after which a listener asks whether its consumer is still there.
const SILENCE: Duration = Duration::from_secs(2);

const BOARD: &str = "subscription($project: ID!, $since: Cursor) { boardChanged(project: $project, since: $since) {
    cursor removed cards { id version } snapshot { lanes { cards { id version } } } } }";

/// Listeners at work, until dropped.
#[derive(Default)]
pub(crate) struct Listeners(JoinSet<()>);

impl Listeners {
    /// Follows a board through all that happens, resuming by cursor.
    pub(crate) fn board(&mut self, client: Client, project: &str, records: &Arc<Records>) {
        let (project, records) = (project.to_owned(), Arc::clone(records));
        self.0.spawn(async move {
            loop {
                let variables = json!({ "project": project, "since": records.last_frame(&project) });
                if let Ok(mut frames) = client.subscribe(BOARD, variables).await {
                    while let Some(Ok(frame)) = frames.next().await {
                        records.frame(&project, read_frame(&frame["boardChanged"]));
                    }
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    /// Reads the log as server-sent events, resuming by `Last-Event-ID`.
    pub(crate) fn events(&mut self, port: u16, token: String, records: &Arc<Records>) {
        let (url, records) = (format!("http://127.0.0.1:{port}/v1/events?partition=0"), Arc::clone(records));
        self.0.spawn(async move {
            #[expect(clippy::disallowed_methods, reason = "a client of its own")]
            let client = reqwest::Client::new();
            let mut last = String::new();
            loop {
                let asked = client.get(&url).bearer_auth(&token).header("last-event-id", &last).send().await;
                if let Ok(answer) = asked.and_then(reqwest::Response::error_for_status) {
                    let mut chunks = answer.bytes_stream();
                    let mut begun = Vec::new();
                    while let Some(Ok(chunk)) = chunks.next().await {
                        begun.extend_from_slice(&chunk);
                        while let Some(end) = begun.windows(2).position(|bytes| bytes == b"\n\n") {
                            let frame: Vec<u8> = begun.drain(..end + 2).collect();
                            let frame = String::from_utf8(frame).expect("UTF-8");
                            let field = |name| frame.lines().find_map(|line| line.strip_prefix(name));
                            if let Some(id) = field("id: ") {
                                id.clone_into(&mut last);
                            }
                            if field("data: ").is_some() {
                                let (partition, position) = place_of(&last).expect("an event's id is its place");
                                records.saw(EVENTS, partition, position);
                            }
                        }
                    }
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    /// Reads the stream from its start, in its order, as any stranger would.
    pub(crate) fn stream(&mut self, bus: &str, records: &Arc<Records>) {
        let (bus, records) = (bus.to_owned(), Arc::clone(records));
        self.0.spawn(async move {
            let client = connect(&bus).await;
            let jetstream = async_nats::jetstream::new(client);
            loop {
                // One that was deleted and made anew begins anew too.
                let _again = follow(&jetstream, &records, STREAM, None).await;
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
}

/// Reads all that the stream holds up to `heads` (a position for each partition), once.
///
/// # Errors
/// What hinders it.
pub(crate) async fn newcomer(bus: &str, records: &Records, heads: &[i64]) -> Result<(), String> {
    let jetstream = async_nats::jetstream::new(connect(bus).await);
    follow(&jetstream, records, NEWCOMER, Some(heads)).await.map_err(|error| error.to_string())
}

async fn connect(bus: &str) -> async_nats::Client {
    let options = outbox::bus::connect_options(bus).max_reconnects(None).retry_on_initial_connect();
    options.connect(bus).await.expect("it tries again for ever")
}

/// Follows the stream from its start; ends when it fails, is another one than at the start, or all of `heads` is seen.
async fn follow(
    jetstream: &async_nats::jetstream::Context,
    records: &Records,
    name: &'static str,
    heads: Option<&[i64]>,
) -> Result<(), async_nats::Error> {
    let mut stream = jetstream.get_stream(subject::STREAM).await?;
    let created = stream.cached_info().created;
    let config = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, ..Default::default() };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    records.begins(name);
    loop {
        let enough = |(partition, head): (i32, &i64)| records.highest(name, partition) >= *head;
        if heads.is_some_and(|heads| (0..).zip(heads).all(enough)) {
            return Ok(());
        }
        match tokio::time::timeout(SILENCE, messages.next()).await {
            Ok(Some(message)) => {
                let message = message?;
                let headers = message.headers.as_ref().ok_or("a message without headers")?;
                let number = |name| headers.get(name).and_then(|value| value.as_str().parse().ok());
                let position = number(subject::header::POSITION).ok_or("a message without a position")?;
                let partition = message.subject.split('.').nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
                records.saw(name, partition, position);
            }
            Ok(None) => return Ok(()),
            Err(_) => {
                if stream.info().await?.created != created {
                    return Ok(());
                }
            }
        }
    }
}

fn read_frame(frame: &Value) -> Frame {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let id = |card: &Value| card.as_str().unwrap_or_default().to_owned();
    let card = |card: &Value| (id(&card["id"]), card["version"].as_i64().unwrap_or_default());
    let lanes = list(&frame["snapshot"]["lanes"]);
    let whole: Vec<Value> = lanes.iter().flat_map(|lane| list(&lane["cards"])).collect();
    Frame {
        cursor: id(&frame["cursor"]),
        whole: !frame["snapshot"].is_null(),
        cards: whole.iter().chain(&list(&frame["cards"])).map(card).collect(),
        removed: list(&frame["removed"]).iter().map(id).collect(),
    }
}
