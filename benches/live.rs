//! From a command's answer to the frame at a subscriber, and the memory of the whole process.
//!
//! Everything is real: `agentworks up` with its private servers, HTTP commands, WebSocket subscribers. The memory is that
//! of the `agentworks` process alone (its Postgres and NATS are processes of their own), fresh and after 10,000 commands.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(dead_code, reason = "shares the support of the whole-system tests")]

#[path = "../tests/system/support.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::json;
use support::{Installation, Stage, text, writes};
use tokio::sync::mpsc;

const SUBSCRIBERS: usize = 100;
const MOVES: usize = 200;
const COMMANDS: usize = 10_000;
const CLIENTS: usize = 40;

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let installation = Installation::start(&[]);
    // Not in the middle of starting.
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("memory of the agentworks process, idle: {} MiB", resident_mib(installation.pid()));
    let stage = Stage::set(&installation).await;
    subscribers(&stage).await;
    commands(&stage).await;
    println!("memory of the agentworks process, after {COMMANDS} commands: {} MiB", resident_mib(installation.pid()));
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

async fn subscribers(stage: &Stage) {
    let card = stage.card("Moved about", &writes("a", "a")).await;
    let query = "subscription($project: ID!) { boardChanged(project: $project) { cursor cards { id version } } }";
    let (seen, mut arrivals) = mpsc::unbounded_channel::<(i64, Instant)>();
    for _ in 0..SUBSCRIBERS {
        let mut frames = stage.owner.subscribe(query, json!({ "project": stage.project })).await.unwrap();
        frames.next().await.unwrap().unwrap();
        let seen = seen.clone();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.next().await {
                let arrived = Instant::now();
                for card in frame["boardChanged"]["cards"].as_array().into_iter().flatten() {
                    let _closing = seen.send((card["version"].as_i64().unwrap_or_default(), arrived));
                }
            }
        });
    }
    let path = stage.of_card(&card, "move");
    let mut times: Vec<Duration> = Vec::new();
    for turn in 0..MOVES {
        let lane = if turn % 2 == 0 { "ready" } else { "review" };
        let answer = stage.owner.post(&path, json!({ "lane": lane })).await.unwrap();
        let answered = Instant::now();
        let version = answer["version"].as_i64().unwrap();
        let mut missing = SUBSCRIBERS;
        while missing > 0 {
            let (seen, at) = arrivals.recv().await.unwrap();
            if seen == version {
                missing -= 1;
                // A frame may be there before the answer is.
                times.push(at.saturating_duration_since(answered));
            }
        }
    }
    times.sort();
    let percentile = |p: usize| times[(times.len() - 1) * p / 100].as_secs_f64() * 1_000.0;
    println!(
        "command to subscriber: {MOVES} moves, {SUBSCRIBERS} subscribers: p50 {:.1} ms, p99 {:.1} ms",
        percentile(50),
        percentile(99)
    );
}

async fn commands(stage: &Stage) {
    let path = Arc::new(format!("/v1/projects/{}/cards", stage.project));
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (owner, path) = (stage.owner.clone(), Arc::clone(&path));
            tokio::spawn(async move {
                for number in 0..COMMANDS / CLIENTS {
                    let answer = owner.post(&path, json!({ "title": format!("Card {number}") })).await.unwrap();
                    assert!(!text(&answer, "id").is_empty());
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    println!(
        "commands over HTTP, {CLIENTS} clients: {:.0} /s",
        f64::from(u32::try_from(COMMANDS).unwrap()) / begun.elapsed().as_secs_f64()
    );
}
