//! The test of truth: subscribers of boards, cards and runs that are cut off all the time, while everything they depend on
//! is killed in turn. At any moment each must have what there was as of its cursor, in the end what there is.
//!
//! The subscribers are `schemas/graphql/tests/truth.mjs`. How many they are and how often they are cut off may be set by
//! `AW_SUBSCRIBERS` and `AW_CUTS`, which that file reads; what is killed goes on in rounds until the cuts are made.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::support::{Installation, Stage};
use crate::world::{Start, World, free_port};
use crate::{node, token};

/// Nothing that subscribers say lets wait longer for itself.
const PATIENCE: Duration = Duration::from_secs(300);

/// What runs may be lost to: many deaths of their worker.
fn policy() -> serde_json::Value {
    json!({ "max_attempts": 10 })
}

/// Servers that can be killed while somebody follows what they tell.
trait Servers {
    /// What befalls them, one after the other.
    type Nemesis: Copy + 'static;
    /// All of it.
    const NEMESES: &'static [Self::Nemesis];

    /// Lets it happen, and has them all serve again. Where people can work meanwhile, they do.
    async fn befall(&mut self, nemesis: Self::Nemesis, subscribers: &mut Subscribers);
}

/// The process in which the subscribers, and those who work, are.
struct Subscribers {
    child: Child,
    said: watch::Receiver<Said>,
}

/// What they have said so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Said {
    /// Everybody has a first frame.
    ready: bool,
    /// How often so much was done.
    worked: u32,
    /// All the cuts are made.
    cut: bool,
    /// What came of it.
    verdict: Option<String>,
}

impl Subscribers {
    /// Starts them; returns when each has its first frame.
    async fn begin(mut node: Command) -> Self {
        let mut child =
            node.arg("tests/truth.mjs").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (says, said) = watch::channel(Said::default());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                says.send_modify(|said| match line.as_str() {
                    "ready" => said.ready = true,
                    "worked" => said.worked += 1,
                    "cut" => said.cut = true,
                    verdict => said.verdict = Some(verdict.to_owned()),
                });
            }
        });
        let mut subscribers = Self { child, said };
        subscribers.until(|said| said.ready).await;
        subscribers
    }

    /// Waits until they have said it. Who has found something wrong says nothing more.
    async fn until(&mut self, wanted: impl FnMut(&Said) -> bool) {
        let said = tokio::time::timeout(PATIENCE, self.said.wait_for(wanted)).await;
        said.expect("they say it in time").expect("they have found nothing wrong");
    }

    /// Waits until a little more has been done.
    async fn work(&mut self) {
        let before = self.said.borrow().worked;
        self.until(|said| said.worked > before).await;
    }

    fn are_cut(&self) -> bool {
        self.said.borrow().cut
    }

    /// Has them compare what they have with what there is.
    async fn verdict(mut self) -> String {
        // One that has given up does not listen; its verdict is missing then.
        let _ = self.child.stdin.take().expect("piped").write_all(b"compare\n").await;
        self.until(|said| said.verdict.is_some()).await;
        self.said.borrow().verdict.clone().unwrap_or_default()
    }
}

/// The one scenario: each nemesis once, and all of them again until the subscribers have been cut off often enough.
async fn what_subscribers_have_is_true<S: Servers>(mut servers: S, node: Command) {
    let begun = Instant::now();
    let mut subscribers = Subscribers::begin(node).await;
    let mut befallen = 0;
    while befallen < S::NEMESES.len() || !subscribers.are_cut() {
        // Only in the middle of it there is something to lose.
        subscribers.work().await;
        servers.befall(S::NEMESES[befallen % S::NEMESES.len()], &mut subscribers).await;
        befallen += 1;
    }
    let verdict = subscribers.verdict().await;
    assert!(verdict.starts_with("same "), "{verdict}");
    println!("{verdict}, {befallen} nemeses, {} s", begun.elapsed().as_secs());
}

/// What befalls an installation.
#[derive(Clone, Copy)]
enum End {
    Killed,
    Stopped,
}

impl Servers for Installation {
    type Nemesis = End;
    const NEMESES: &'static [End] = &[End::Killed, End::Stopped];

    async fn befall(&mut self, nemesis: End, _: &mut Subscribers) {
        match nemesis {
            End::Killed => self.kill(),
            End::Stopped => assert!(self.stop().1, "it stops in order, however many are connected"),
        }
        self.start_again();
    }
}

/// The processes of a world, and the role that each plays.
const PROCESSES: [(&str, &str); 6] = [
    ("command-api", "command-api"),
    ("query-api", "query-api"),
    ("query-api-2", "query-api"),
    ("relay", "relay"),
    ("projections", "projections"),
    ("workers", "workers"),
];

/// What befalls a world.
#[derive(Clone, Copy)]
enum Killed {
    Process(&'static str),
    Nats,
    NatsWithItsData,
    Postgres,
}

impl Servers for World {
    type Nemesis = Killed;
    const NEMESES: &'static [Killed] = &[
        Killed::Process(PROCESSES[0].0),
        Killed::Process(PROCESSES[1].0),
        Killed::Process(PROCESSES[2].0),
        Killed::Process(PROCESSES[3].0),
        Killed::Process(PROCESSES[4].0),
        Killed::Process(PROCESSES[5].0),
        Killed::Nats,
        Killed::NatsWithItsData,
        Killed::Postgres,
    ];

    async fn befall(&mut self, nemesis: Killed, subscribers: &mut Subscribers) {
        match nemesis {
            Killed::Process(name) => {
                let (port, role) = (self.port(name), role(name));
                self.kill(name);
                if role != "command-api" {
                    subscribers.work().await;
                }
                self.start(name, role, port, &Start::default());
                self.ready(name, port).await;
            }
            Killed::Nats | Killed::NatsWithItsData => {
                self.signal_nats(Signal::KILL);
                subscribers.work().await;
                if matches!(nemesis, Killed::NatsWithItsData) {
                    std::fs::remove_dir_all(self.stream_data()).expect("it can be deleted");
                }
                self.nats_again().await;
            }
            Killed::Postgres => {
                self.signal_postgres(Signal::KILL);
                self.postgres_again().await;
            }
        }
    }
}

fn role(name: &str) -> &'static str {
    PROCESSES.iter().find(|(process, _)| *process == name).expect("it is one of them").1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_subscribers_have_is_true_though_the_whole_installation_is_killed() {
    // The same address in each life.
    let address = format!("127.0.0.1:{}", free_port());
    let installation = Installation::start(&[("AGENTWORKS_HTTP__ADDRESS", &address)]);
    let stage = Stage::with_policy(&installation, policy()).await;
    let node = node(&installation.base, &token(&installation, &stage), &stage.project);
    what_subscribers_have_is_true(installation, node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_subscribers_have_is_true_though_roles_nats_and_postgres_are_killed_in_turn() {
    let mut world = World::new(None).await;
    let url = |port| format!("http://127.0.0.1:{port}");
    let (mut commands, mut queries) = (0, Vec::new());
    for (name, role) in PROCESSES {
        let port = free_port();
        world.start(name, role, port, &Start::default());
        world.ready(name, port).await;
        match role {
            "command-api" => commands = port,
            "query-api" => queries.push(url(port)),
            _ => {}
        }
    }
    let owner = |tenant| world.client(commands, Some(tenant));
    let (stage, _) = Stage::told(&world.client(commands, None), owner, "anthropic", policy()).await;
    let mut node = node(&url(commands), &world.token(Some(stage.tenant)), &stage.project);
    node.env("AW_QUERIES", queries.join(","));
    what_subscribers_have_is_true(world, node).await;
}
