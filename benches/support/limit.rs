//! The limits: what the same servers do when they do nothing else.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use futures::StreamExt as _;
use sqlx::Connection as _;
use sqlx::postgres::PgPoolCopyExt as _;

use super::float;

/// Makes a table like `log.events`, with no index.
pub(crate) async fn prepare_inserts(url: &str) {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let table = "CREATE TABLE public.bare (partition int, position bigint, tenant uuid, id uuid, aggregate text, stream uuid, \
                 version bigint, event_type text, event_version integer, actor text, command uuid, correlation uuid, \
                 causation uuid, traceparent text, occurred_at timestamptz, recorded_at timestamptz, payload json, meta json, \
                 digest bytea, chain bytea)";
    sqlx::query(table).execute(&mut connection).await.unwrap();
}

/// Rows a second by bare prepared single-row inserts of `clients` connections of pgbench, of rows like `history::renames`.
pub(crate) fn inserts(url: &str, folder: &Path, clients: usize, seconds: u64) -> f64 {
    inserts_of(1, url, folder, clients, seconds)
}

/// The same with `rows` rows an insert.
pub(crate) fn inserts_of(rows: usize, url: &str, folder: &Path, clients: usize, seconds: u64) -> f64 {
    let script = folder.join("insert.sql");
    let payload = format!("{{\"name\":\"{}\"}}", "x".repeat(190));
    let hash = "\\x".to_owned() + &"ab".repeat(32);
    let id = "0190a5d0-ac96-774b-bcce-b302099a8057";
    // No colon may stand before a letter: pgbench would take it for a variable.
    let row = format!(
        "(0, 1, '{id}', '{id}', 'tenant', '{id}', 1, 'TenantRenamed', 1, 'operator-bench', '{id}', '{id}', NULL, NULL, \
         now(), now(), '{payload}', '{{}}', '{hash}', '{hash}')"
    );
    let insert = format!("INSERT INTO public.bare VALUES {};\n", vec![row; rows].join(", "));
    std::fs::write(&script, insert).unwrap();
    let programs = Command::new("sh")
        .args(["-c", "command -v pgbench || ls /usr/lib/postgresql/*/bin/pgbench | tail -n 1"])
        .output()
        .unwrap();
    let program = String::from_utf8(programs.stdout).unwrap();
    let threads = if clients > 1 { "2" } else { "1" };
    let output = Command::new(program.trim())
        .args(["-n", "-M", "prepared", "-c", &clients.to_string(), "-j", threads, "-T", &seconds.to_string(), "-f"])
        .arg(&script)
        .arg(url)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("tps")).unwrap_or_else(|| panic!("{text}{output:?}"));
    line.split_whitespace().nth(2).unwrap().parse::<f64>().unwrap() * float(rows)
}

/// Rows a second by `COPY OUT` of the whole of `log.events`, `rows` of them, thrown away as they come.
pub(crate) async fn copy_out(url: &str, rows: usize) -> f64 {
    let pool = sqlx::PgPool::connect(url).await.unwrap();
    let started = Instant::now();
    let mut stream = pool.copy_out_raw("COPY (SELECT * FROM log.events) TO STDOUT").await.unwrap();
    let mut bytes = 0;
    while let Some(chunk) = stream.next().await {
        bytes += chunk.unwrap().len();
    }
    let took = started.elapsed();
    assert!(bytes > rows, "nothing was copied");
    rate(rows, took)
}

/// Messages a second that a `JetStream` of its own takes, `window` of them under way at a time, with a body and headers of
/// about the size of an event's.
pub(crate) async fn publishes(nats: &str, count: usize, window: usize) -> f64 {
    let client = outbox::bus::connect_options(nats).connect(nats).await.unwrap();
    let jetstream = async_nats::jetstream::ContextBuilder::new().max_ack_inflight(window * 2).build(client);
    let config = async_nats::jetstream::stream::Config {
        name: "LIMIT".to_owned(),
        subjects: vec!["limit.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let body = bytes::Bytes::from(vec![b'x'; 200]);
    let header = "x".repeat(900);
    let started = Instant::now();
    let mut acks = futures::stream::FuturesUnordered::new();
    for number in 0..count {
        if acks.len() >= window {
            let ack: Result<_, async_nats::jetstream::context::PublishError> = acks.next().await.unwrap();
            ack.unwrap();
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", number.to_string().as_str());
        headers.insert("about", header.as_str());
        let message = PublishMessage::build().headers(headers).payload(body.clone());
        acks.push(jetstream.send_publish("limit.0", message).await.unwrap().into_future());
    }
    while let Some(ack) = acks.next().await {
        ack.unwrap();
    }
    let took = started.elapsed();
    jetstream.delete_stream("LIMIT").await.unwrap();
    rate(count, took)
}

/// How many a second.
pub(crate) fn rate(count: usize, took: Duration) -> f64 {
    float(count) / took.as_secs_f64()
}
