//! Commands over HTTP, end to end, against the limit of the same Postgres in the same run.
//!
//! Limit: `pgbench` with a bare prepared single-row insert into a table with no index, 64 clients. Ours: `agentworks up`
//! with every role (the relay publishes and the projections apply meanwhile), 64 clients with connections that stay open,
//! each moving cards of its own. Everything shares the machine, the clients too, which therefore do little: prepared bytes
//! go out, and of the answer only its first line and its length are looked at. Rounds alternate; the ratio is of medians.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

mod support;
#[path = "../tests/system/support.rs"]
#[expect(dead_code, reason = "shares the support of the whole-system tests")]
mod system;

use std::time::{Duration, Instant};

use agentworks::servers::Servers;
use agentworks::tokens;
use secrecy::ExposeSecret as _;
use serde_json::json;
use support::{ROUNDS, float, limit, median, percentile};
use system::{Installation, text};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CLIENTS: usize = 64;
/// Cards that each client moves in turn.
const CARDS: usize = 4;
const ROUND: Duration = Duration::from_secs(4);

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let installation = Installation::start(&[]);
    let stage = system::Stage::set(&installation).await;
    let token = tokens::mint(&installation.config(), Some(stage.tenant), access::Role::Owner, "bench", 1).unwrap();
    let url = Servers::running(&installation.config()).unwrap().expose_secret().to_owned();
    limit::prepare_inserts(&url).await;
    let mut moves = Vec::new();
    for number in 0..CLIENTS {
        let mut own = Vec::new();
        for _ in 0..CARDS {
            let path = format!("/v1/projects/{}/cards", stage.project);
            let card = stage.owner.post(&path, json!({ "title": format!("Card {number}") })).await.unwrap();
            let path = stage.of_card(&text(&card, "id"), "move");
            own.push(["ready", "review"].map(|lane| request(&token, &path, &json!({ "lane": lane }).to_string())));
        }
        moves.push(own);
    }
    let create = request(&token, &format!("/v1/projects/{}/cards", stage.project), r#"{"title":"Another"}"#);
    let creates = vec![vec![[create.clone(), create]]; CLIENTS];
    let folder = tempfile::tempdir().unwrap();
    let (mut limits, mut moved, mut created, mut p99s) = (vec![], vec![], vec![], vec![]);
    for round in 0..=ROUNDS {
        let limit = limit::inserts(&url, folder.path(), CLIENTS, ROUND.as_secs());
        let (rate, p99) = load(&installation, &moves).await;
        let (creations, _) = load(&installation, &creates).await;
        // The first round warms up.
        if round > 0 {
            limits.push(limit);
            moved.push(rate);
            p99s.push(p99);
            created.push(creations);
        }
    }
    let (limit, rate, creations) = (median(limits), median(moved), median(created));
    println!("commands over HTTP: {CLIENTS} clients, every role in one process; medians of {ROUNDS} rounds");
    println!("  limit (pgbench, bare prepared insert, {CLIENTS} clients)  {limit:>9.0} rows/s");
    println!("  MoveCard                                           {rate:>9.0} /s   p99 {:.1} ms", median(p99s));
    println!("  ratio                                              {:>9.2} x limit", rate / limit);
    println!("  CreateCard                                         {creations:>9.0} /s");
    println!("  ratio                                              {:>9.2} x limit", creations / limit);
    println!("  memory of the process afterwards                   {:>9} MiB", resident_mib(installation.pid()));
}

/// What a process holds of the machine's memory, without the servers that it started.
fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

/// A request as it goes over the wire.
fn request(token: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Commands a second, and the 99th percentile of a command's time in milliseconds. Each client sends its requests in turn:
/// the first of each pair, then the second of each.
async fn load(installation: &Installation, clients: &[Vec<[Vec<u8>; 2]>]) -> (f64, f64) {
    let address = installation.base.trim_start_matches("http://").to_owned();
    let begun = Instant::now();
    let tasks: Vec<_> = clients
        .iter()
        .cloned()
        .map(|requests| {
            let address = address.clone();
            tokio::spawn(async move {
                let mut connection = TcpStream::connect(address).await.unwrap();
                connection.set_nodelay(true).unwrap();
                let (mut times, mut buffer) = (Vec::new(), Vec::with_capacity(4_096));
                for turn in 0.. {
                    if begun.elapsed() >= ROUND {
                        break;
                    }
                    let request = &requests[turn % requests.len()][turn / requests.len() % 2];
                    let started = Instant::now();
                    connection.write_all(request).await.unwrap();
                    answered(&mut connection, &mut buffer).await;
                    times.push(started.elapsed().as_secs_f64() * 1_000.0);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    (float(times.len()) / begun.elapsed().as_secs_f64(), percentile(times, 99))
}

/// Reads one answer, which must be a success.
async fn answered(connection: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert_ne!(connection.read_buf(buffer).await.unwrap(), 0, "the connection was closed");
        let Some(head) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head]).unwrap();
        assert!(text.starts_with("HTTP/1.1 20"), "{}", String::from_utf8_lossy(buffer));
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if buffer.len() >= head + 4 + length.parse::<usize>().unwrap() {
            return;
        }
    }
}
