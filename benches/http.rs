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

use std::time::Duration;

use agentworks::servers::Servers;
use agentworks::tokens;
use secrecy::ExposeSecret as _;
use serde_json::json;
use support::{ROUNDS, http, limit, median, resident_kib};
use system::{Installation, text};

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
        // Each card goes there, and then each back.
        let (mut there, mut back) = (Vec::new(), Vec::new());
        for _ in 0..CARDS {
            let path = format!("/v1/projects/{}/cards", stage.project);
            let card = stage.owner.post(&path, json!({ "title": format!("Card {number}") })).await.unwrap();
            let path = stage.of_card(&text(&card, "id"), "move");
            let to = |lane| http::post(&token, &path, &json!({ "lane": lane }).to_string());
            there.push(to("ready"));
            back.push(to("review"));
        }
        there.append(&mut back);
        moves.push(there);
    }
    let create = http::post(&token, &format!("/v1/projects/{}/cards", stage.project), r#"{"title":"Another"}"#);
    let creates = vec![vec![create]; CLIENTS];
    let address = installation.base.trim_start_matches("http://");
    let folder = tempfile::tempdir().unwrap();
    let (mut limits, mut moved, mut created, mut p99s) = (vec![], vec![], vec![], vec![]);
    for round in 0..=ROUNDS {
        let limit = limit::inserts(&url, folder.path(), CLIENTS, ROUND.as_secs());
        let (rate, p99) = http::load(address, &moves, ROUND).await;
        let (creations, _) = http::load(address, &creates, ROUND).await;
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
    println!(
        "  memory of the process afterwards                   {:>9} MiB",
        resident_kib(installation.pid()) / 1_024
    );
}
