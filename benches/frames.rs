//! Subscribers of one board: how long after a command was sent its frame is there at a thousand of them, and what many that
//! are idle take. `agentworks up` with every role; the subscribers share the machine with it, each on a socket of its own,
//! and do little. Each must in the end have been told of the last change of each card.
//!
//! `AW_MINUTES=10` holds the many for as long; a minute otherwise. `AW_SUBSCRIBERS` says how many they are (5,000).

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

mod support;
#[path = "../tests/system/support.rs"]
#[expect(dead_code, reason = "shares the support of the whole-system tests")]
mod system;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentworks::tokens;
use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::json;
use support::sockets::Socket;
use support::{float, percentile, resident_kib};
use system::{Installation, Stage, text};
use tokio::task::JoinHandle;

/// Subscribers whose frames are timed.
const TIMED: usize = 1_000;
/// Commands a second while frames are timed, and for how long.
const A_SECOND: usize = 50;
const SECONDS: usize = 20;
/// Cards on the board, changed in turn.
const CARDS: usize = 50;
const SOON: Duration = Duration::from_secs(60);

const BOARD: &str = "subscription BoardChanged($project: ID!) { boardChanged(project: $project) { cursor \
    snapshot { project { id name archived } lanes { key cards { ...CardOnBoard } } } resync \
    project { id name archived } cards { ...CardOnBoard } removed } } \
    fragment CardOnBoard on Card { id lane rank title blockedReason activeRunId agent { name model } \
    lastRun { id result failure } version }";

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

/// The moments at which commands were sent, by number.
type Sent = Arc<Mutex<Vec<Instant>>>;

struct Bench {
    installation: Installation,
    stage: Stage,
    address: String,
    token: String,
    cards: Vec<String>,
    sent: Sent,
}

async fn run() {
    let variable = |name: &str, usual: usize| std::env::var(name).map_or(usual, |value| value.parse().unwrap());
    let bench = Bench::start().await;
    bench.time_frames().await;
    let many = variable("AW_SUBSCRIBERS", 5_000);
    let idle = bench.idle("each on a socket of its own", many, 1).await;
    bench.hold(idle, Duration::from_secs(60) * u32::try_from(variable("AW_MINUTES", 1)).unwrap()).await;
    let idle = bench.idle("100 on a socket", many, 100).await;
    drop(idle);
}

impl Bench {
    async fn start() -> Self {
        let installation = Installation::start(&[("AGENTWORKS_GRAPHQL__SUBSCRIPTIONS_PER_USER", "1000000")]);
        let stage = Stage::set(&installation).await;
        let token = tokens::mint(&installation.config(), Some(stage.tenant), access::Role::Owner, "bench", 10).unwrap();
        let address = installation.base.trim_start_matches("http://").to_owned();
        let mut cards = Vec::new();
        for _ in 0..CARDS {
            let path = format!("/v1/projects/{}/cards", stage.project);
            cards.push(text(&stage.owner.post(&path, json!({ "title": "New" })).await.unwrap(), "id"));
        }
        Self { installation, stage, address, token, cards, sent: Sent::default() }
    }

    /// Sockets with `on_each` subscriptions each, `count` in all.
    async fn subscribe(&self, count: usize, on_each: usize) -> Vec<Socket> {
        let variables = &json!({ "project": self.stage.project });
        let sockets = stream::iter(0..count / on_each).map(|_| async move {
            let mut socket = Socket::open(&self.address, &self.token).await;
            for id in 0..on_each {
                socket.subscribe(id, BOARD, variables).await;
            }
            socket
        });
        sockets.buffer_unordered(50).collect().await
    }

    /// Changes the next card.
    async fn change(&self) {
        let number = {
            let mut sent = self.sent.lock().unwrap();
            sent.push(Instant::now());
            sent.len() - 1
        };
        let path = format!("/v1/projects/{}/cards/{}", self.stage.project, self.cards[number % CARDS]);
        let body = json!({ "title": format!("Change {number:06}") });
        let answer = self.stage.owner.send(Method::PATCH, &path, &[], Some(&body)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Follows until told of everything up to the change `last`, each card's last one among it; how long after their command's
    /// sending the changes came, in milliseconds.
    fn follow(&self, mut socket: Socket, first: usize, last: usize) -> JoinHandle<Vec<f64>> {
        let sent = self.sent.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            let mut latest = vec![0; CARDS];
            let told = |latest: &[usize]| {
                (0..CARDS).all(|card| {
                    let due = last.saturating_sub((last + CARDS - card) % CARDS);
                    due < first || latest[card] >= due
                })
            };
            while !told(&latest) {
                let message = socket.hear().await;
                let now = Instant::now();
                for at in memchr::memmem::find_iter(&message, b"\"Change ") {
                    let digits = std::str::from_utf8(&message[at + 8..at + 14]).unwrap();
                    let number: usize = digits.parse().unwrap();
                    assert!(number >= latest[number % CARDS], "frames came out of order");
                    latest[number % CARDS] = number;
                    let sent = sent.lock().unwrap()[number];
                    times.push(now.saturating_duration_since(sent).as_secs_f64() * 1_000.0);
                }
            }
            times
        })
    }

    /// Makes changes at a pace until all are told of them: how long each took, and how many cores the process.
    async fn told(&self, sockets: Vec<Socket>, changes: usize, pace: Duration) -> (Vec<f64>, f64) {
        let first = self.sent.lock().unwrap().len();
        let followers: Vec<_> =
            sockets.into_iter().map(|socket| self.follow(socket, first, first + changes - 1)).collect();
        let (before, begun) = (cpu(self.installation.pid()), Instant::now());
        let mut pace = tokio::time::interval(pace);
        for _ in 0..changes {
            pace.tick().await;
            self.change().await;
        }
        let mut times = Vec::new();
        for follower in followers {
            times.extend(tokio::time::timeout(SOON, follower).await.expect("all are told").unwrap());
        }
        let used = (cpu(self.installation.pid()) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
        (times, used)
    }

    async fn time_frames(&self) {
        let sockets = self.subscribe(TIMED, 1).await;
        let changes = A_SECOND * SECONDS;
        let (times, used) =
            self.told(sockets, changes, Duration::from_secs(1) / u32::try_from(A_SECOND).unwrap()).await;
        println!(
            "frames to {TIMED} subscribers of one board, {A_SECOND} commands/s for {SECONDS} s, from the sending of a command:"
        );
        println!("  frames {} of {}, the others were told together with later ones", times.len(), TIMED * changes);
        let [median, p99] = [50, 99].map(|percent| percentile(times.clone(), percent));
        println!("  median {median:.1} ms, p99 {p99:.1} ms; the process took {used:.2} cores");
    }

    /// Makes many subscriptions and says what they take.
    async fn idle(&self, how: &str, count: usize, on_each: usize) -> Vec<Socket> {
        let before = resident_kib(self.installation.pid());
        let begun = Instant::now();
        let sockets = self.subscribe(count, on_each).await;
        let took = begun.elapsed();
        // What is worked off in the background is.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let after = resident_kib(self.installation.pid());
        let each = float(u32::try_from(after.saturating_sub(before)).unwrap()) / float(count);
        println!(
            "{count} idle subscriptions, {how}: {each:.1} KiB each ({} MiB in all), made in {:.1} s",
            after / 1_024,
            took.as_secs_f64()
        );
        sockets
    }

    /// Holds subscriptions for a while, with a change each second; nothing may be lost.
    async fn hold(&self, sockets: Vec<Socket>, time: Duration) {
        let count = sockets.len();
        let changes = usize::try_from(time.as_secs()).unwrap();
        let (times, used) = self.told(sockets, changes, Duration::from_secs(1)).await;
        let p99 = percentile(times.clone(), 99);
        println!(
            "{count} subscriptions held for {} s, a change each second: {} frames of {}, p99 {p99:.1} ms; {used:.2} cores, {} MiB",
            time.as_secs(),
            times.len(),
            count * changes,
            resident_kib(self.installation.pid()) / 1_024
        );
    }
}

/// The processor time that a process has taken, without the servers that it started.
fn cpu(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
