//! Questions to the read API, against their limit and against a peer, on the same tables in the same run.
//!
//! Limit: the same rows as JSON from a bare axum handler with one sqlx statement a table, outside of any transaction, for
//! anybody who asks. Peer: `PostGraphile` 5 as its registry has it (`benches/postgraphile`), asked for the same fields; it is
//! left out with a word when it is not installed. Ours: `agentworks up`, every role. All use as many connections to the same
//! Postgres and share the machine with the clients, which do little. Rounds alternate; the ratios are of medians.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

mod support;
#[path = "../tests/system/support.rs"]
#[expect(dead_code, reason = "shares the support of the whole-system tests")]
mod system;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentworks::servers::Servers;
use agentworks::tokens;
use axum::extract::{Path as InPath, State};
use axum::routing::post;
use axum::{Json, Router};
use domain::id::{CardKind, ProjectKind};
use domain::{Id, Kind};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{FromRow, PgPool};
use support::{ROUNDS, http, median, resident_kib};
use system::{Installation, Stage, text, writes};
use time::OffsetDateTime;
use uuid::Uuid;

const CLIENTS: usize = 32;
const CARDS: usize = 200;
/// Entries of a page of a card's history.
const ENTRIES: usize = 50;
const ROUND: Duration = Duration::from_secs(4);
/// What is measured; an argument leaves out whatever does not begin with it.
const WHAT: [&str; 5] = ["board limit", "board ours", "board peer", "history limit", "history ours"];
/// Connections to the database, of each of the three.
const CONNECTIONS: u32 = 16;

const BOARD: &str = "query Board($project: ID!) { board(project: $project) { cursor \
    project { id name archived lanes { key name role runsAllowed } } \
    lanes { key cards { id lane rank title blockedReason activeRunId agent { name model } \
    lastRun { id result failure } version } } } }";
const HISTORY: &str = "query History($card: ID!) { cardHistory(card: $card, first: 50) { \
    edges { cursor node { id kind summary actor occurredAt attempt \
    inRun { id state attempt model startedAt endedAt modelCalls tokens { input output cacheRead cacheWrite } } } } \
    pageInfo { hasNextPage endCursor } } }";
const PEERS_BOARD: &str = "query Board($project: UUID!) { allProjects(condition: {project: $project}) { nodes { \
    project name archived lanes } } \
    allCards(condition: {project: $project, archived: false}, orderBy: [LANE_ASC, RANK_ASC, CARD_ASC]) { nodes { \
    card lane rank title blockedReason activeRun agent lastRun version } } }";

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let connections = CONNECTIONS.to_string();
    let installation = Installation::start(&[("AGENTWORKS_DATABASE__MAX_CONNECTIONS", &connections)]);
    let stage = Stage::set(&installation).await;
    let (project, card) = (uuid::<ProjectKind>(&stage.project), fill(&stage).await);
    let token = tokens::mint(&installation.config(), Some(stage.tenant), access::Role::Owner, "bench", 1).unwrap();
    let url = Servers::running(&installation.config()).unwrap().expose_secret().to_owned();
    let ours = installation.base.trim_start_matches("http://").to_owned();
    let limit = limit(&url).await;
    let peer = Peer::start(&url).await;

    let ask = |query: &str, variables: Value| {
        http::post(&token, "/graphql", &json!({ "query": query, "variables": variables }).to_string())
    };
    let board = ask(BOARD, json!({ "project": stage.project }));
    let history = ask(HISTORY, json!({ "card": card }));
    let bare_board = http::post("", &format!("/board/{project}"), "");
    let bare_history = http::post("", &format!("/history/{}", uuid::<CardKind>(&card)), "");
    let peers_board = ask(PEERS_BOARD, json!({ "project": project }));

    // What is compared must be there, and be as much.
    let count = |answer: &str, what: &str| answer.matches(what).count();
    assert_eq!(count(&http::ask(&ours, &board).await, "\"rank\":"), CARDS + 1);
    assert_eq!(count(&http::ask(&limit, &bare_board).await, "\"rank\":"), CARDS + 1);
    let (answer, bare) = (http::ask(&ours, &history).await, http::ask(&limit, &bare_history).await);
    assert_eq!((count(&answer, "\"kind\":"), count(&bare, "\"kind\":")), (ENTRIES, ENTRIES), "{answer}");
    assert!(count(&answer, "\"modelCalls\":") * 2 > ENTRIES, "{answer}");
    if let Some(peer) = &peer {
        let answer = http::ask(&peer.address, &peers_board).await;
        assert_eq!(count(&answer, "\"rank\":"), CARDS + 1, "{answer}");
    }

    let mut figures: [Vec<(f64, f64)>; 5] = Default::default();
    for round in 0..=ROUNDS {
        let turns = [
            Some((&limit, &bare_board)),
            Some((&ours, &board)),
            peer.as_ref().map(|peer| (&peer.address, &peers_board)),
            Some((&limit, &bare_history)),
            Some((&ours, &history)),
        ];
        for ((figures, turn), what) in figures.iter_mut().zip(turns).zip(WHAT) {
            let Some((address, request)) = turn.filter(|_| asked(what)) else { continue };
            let measured = http::load(address, &vec![vec![request.clone()]; CLIENTS], ROUND).await;
            // The first round warms up.
            if round > 0 {
                figures.push(measured);
            }
        }
    }
    let [bare_board, board, peers, bare_history, history] = figures.map(|figures| {
        let middle = |values: Vec<f64>| if values.is_empty() { f64::NAN } else { median(values) };
        (
            middle(figures.iter().map(|figure| figure.0).collect()),
            middle(figures.iter().map(|figure| figure.1).collect()),
        )
    });
    println!("questions over GraphQL: {CLIENTS} clients; medians of {ROUNDS} rounds of {} s", ROUND.as_secs());
    let line = |what: &str, (rate, p99): (f64, f64)| println!("  {what:<54} {rate:>7.0} /s   p99 {p99:>6.1} ms");
    line(&format!("board of {CARDS} cards: limit"), bare_board);
    line("board: ours", board);
    println!("    ratio                                                {:>7.2} x limit", board.0 / bare_board.0);
    if peer.is_some() {
        line("board: PostGraphile", peers);
        println!("    ratio                                                {:>7.1} x PostGraphile", board.0 / peers.0);
    }
    line(&format!("page of {ENTRIES} of a card's history, with runs: limit"), bare_history);
    line("history: ours", history);
    println!("    ratio                                                {:>7.2} x limit", history.0 / bare_history.0);
    println!("  memory of our process afterwards {} MiB", resident_kib(installation.pid()) / 1_024);
}

/// Whether the command line leaves it in.
fn asked(what: &str) -> bool {
    let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    wanted.peek().is_none() || wanted.any(|wanted| what.starts_with(&wanted))
}

fn uuid<K: Kind>(id: &str) -> Uuid {
    id.parse::<Id<K>>().unwrap().uuid()
}

/// Fills the stage's board; one of its cards has had many runs.
async fn fill(stage: &Stage) -> String {
    let path = format!("/v1/projects/{}/cards", stage.project);
    let lanes = ["backlog", "ready", "review", "done"];
    for number in 0..CARDS {
        let title = format!("Card {number}: prices are rounded wrong");
        let description = "What is to be done, in some words. ".repeat(8);
        let card = json!({ "title": title, "description": description, "lane": lanes[number % lanes.len()] });
        stage.owner.post(&path, card).await.unwrap();
    }
    let mut card = stage.card("Runs again and again", &writes("file", "content")).await;
    for turn in 0.. {
        let run = stage.run(&card).await;
        stage.ended(&run).await;
        stage.card_after(&card).await;
        let query = "query($card: ID!) { cardHistory(card: $card, first: 200) { edges { cursor } } }";
        let entries = stage.owner.query(query, json!({ "card": card })).await.unwrap();
        if entries["cardHistory"]["edges"].as_array().unwrap().len() > ENTRIES {
            break;
        }
        assert!(turn < 20, "a run leaves nothing behind");
        card = text(&stage.owner.post(&stage.of_card(&card, "move"), json!({ "lane": "ready" })).await.unwrap(), "id");
    }
    card
}

#[derive(FromRow, Serialize)]
struct Project {
    project: Uuid,
    name: String,
    archived: bool,
    lanes: sqlx::types::Json<Box<RawValue>>,
}

#[derive(FromRow, Serialize)]
struct Card {
    card: Uuid,
    lane: String,
    rank: String,
    title: String,
    blocked_reason: Option<String>,
    active_run: Option<Uuid>,
    agent: Option<sqlx::types::Json<Box<RawValue>>>,
    last_run: Option<sqlx::types::Json<Box<RawValue>>>,
    version: i64,
}

#[derive(FromRow, Serialize)]
struct Entry {
    position: i64,
    event: Uuid,
    kind: String,
    summary: String,
    actor: String,
    #[serde(with = "time::serde::rfc3339")]
    occurred_at: OffsetDateTime,
    run: Option<Uuid>,
    attempt: Option<i32>,
    state: Option<String>,
    model: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    model_calls: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cache_read_tokens: Option<i64>,
    cache_write_tokens: Option<i64>,
}

/// Serves the limit; its address.
async fn limit(url: &str) -> String {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await.unwrap();
    let board = async |State(pool): State<PgPool>, InPath(project): InPath<Uuid>| {
        let row: Project =
            sqlx::query_as("SELECT project, name, archived, lanes FROM board_1.projects WHERE project = $1")
                .bind(project)
                .fetch_one(&pool)
                .await
                .unwrap();
        let cards: Vec<Card> = sqlx::query_as(
            "SELECT card, lane, rank, title, blocked_reason, active_run, agent, last_run, version FROM board_1.cards \
             WHERE project = $1 AND NOT archived ORDER BY lane, rank, card",
        )
        .bind(project)
        .fetch_all(&pool)
        .await
        .unwrap();
        Json((row, cards))
    };
    let history = async |State(pool): State<PgPool>, InPath(card): InPath<Uuid>| {
        let entries: Vec<Entry> = sqlx::query_as(
            "SELECT h.position, h.event, h.kind, h.summary, h.actor, h.occurred_at, h.run, h.attempt, r.state, r.model, \
             r.started_at, r.ended_at, r.model_calls, r.input_tokens, r.output_tokens, r.cache_read_tokens, \
             r.cache_write_tokens FROM card_history_1.card_history h LEFT JOIN runs_1.runs r USING (tenant, run) \
             WHERE h.card = $1 ORDER BY h.position LIMIT 50",
        )
        .bind(card)
        .fetch_all(&pool)
        .await
        .unwrap();
        Json(entries)
    };
    let router =
        Router::new().route("/board/{project}", post(board)).route("/history/{card}", post(history)).with_state(pool);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// `PostGraphile`, serving the board's tables.
struct Peer {
    address: String,
    process: Child,
}

impl Peer {
    /// `None` when it is not installed.
    async fn start(url: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/postgraphile");
        if !folder.join("node_modules").is_dir() {
            println!("PostGraphile is left out: `npm ci` in benches/postgraphile installs it");
            return None;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(folder.join("node_modules/.bin/node"))
            .arg("serve.mjs")
            .current_dir(folder)
            .envs([("DATABASE_URL", url), ("PORT", &port.to_string()), ("CONNECTIONS", &CONNECTIONS.to_string())])
            .env("NODE_ENV", "production")
            .env("GRAPHILE_ENV", "production")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Self { address: format!("127.0.0.1:{port}"), process };
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(&peer.address).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "PostGraphile does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
