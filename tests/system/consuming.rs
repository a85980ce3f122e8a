//! The events as other programs consume them: the three ways give the same, and the examples of `docs/consuming.md` run.
#![expect(clippy::disallowed_methods, reason = "stands for other programs, which bring their own HTTP client")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use access::Role;
use agentworks::tokens;
use async_nats::jetstream::{self, consumer};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Installation, PATIENCE, Stage, text};

#[expect(dead_code, reason = "tests of the log itself need more")]
#[path = "../../outbox/tests/outbox/support/nats.rs"]
mod nats;

/// Waits until `condition` holds.
async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An installation, its NATS, and a token that reads everything.
struct Scene {
    nats: nats::Nats,
    installation: Installation,
    token: String,
}

impl Scene {
    async fn set() -> Self {
        let nats = nats::Nats::start().await;
        let installation = Installation::start(&[("NATS_URL", &nats.url())]);
        let token = tokens::mint(&installation.config(), None, Role::Operator, "consumer", 1).unwrap();
        Self { nats, installation, token }
    }

    /// All events by a command that calls the library.
    fn by_library(&self) -> Vec<Value> {
        lines(&self.installation.command(&["events", "--all", "--cloudevents"]))
    }

    async fn by_http(&self) -> Vec<Value> {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let url = format!("{}/v1/events?follow=false", self.installation.base);
        let request = reqwest::Client::new().get(url).bearer_auth(&self.token).header("accept", "application/x-ndjson");
        lines(&request.send().await.unwrap().text().await.unwrap())
    }

    /// All messages of the stream, up to the one at `head`, as CloudEvents.
    async fn by_stream(&self, head: &str) -> Vec<Value> {
        let jetstream = jetstream::new(async_nats::connect(self.nats.url()).await.unwrap());
        let stream = jetstream.get_stream("EVENTS").await.unwrap();
        let consumer = stream.create_consumer(consumer::pull::OrderedConfig::default()).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        let mut events: Vec<Value> = Vec::new();
        while events.last().is_none_or(|event| event["position"] != head) {
            let message = tokio::time::timeout(PATIENCE, messages.next()).await.unwrap().unwrap().unwrap();
            let mut event = serde_json::Map::new();
            for (name, values) in message.headers.as_ref().unwrap().iter() {
                let name = name.to_string();
                let Some(name) = name.strip_prefix("ce-") else { continue };
                let value = percent_encoding::percent_decode_str(values[0].as_str()).decode_utf8().unwrap();
                let number = ["partition", "eventversion"].contains(&name);
                let value = if number { value.parse::<u32>().unwrap().into() } else { value.into() };
                event.insert(name.to_owned(), value);
            }
            event.insert("data".to_owned(), serde_json::from_slice(&message.payload).unwrap());
            events.push(event.into());
        }
        events
    }

    /// Runs an example up to a position.
    fn run(&self, program: &Path, arguments: &[&str]) {
        let mut command = Command::new("timeout");
        command.arg("90").arg(program).args(arguments);
        command
            .env("NATS_URL", self.nats.url())
            .env("AGENTWORKS_URL", &self.installation.base)
            .env("TOKEN", &self.token);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {said}", program.display());
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A Python with the stock client of NATS; none where it cannot be had.
fn python() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("consumer-python");
    let python = folder.join("bin/python");
    let works = || succeeds(Command::new(&python).args(["-c", "import nats"]));
    if !works() {
        let made = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let install = ["-m", "pip", "install", "--quiet", "--timeout", "20", "nats-py==2.16.0"];
        if !made || !succeeds(Command::new(&python).args(install)) {
            return None;
        }
    }
    works().then_some(python)
}

/// What an example in Python has stored, in the order in which it did.
fn stored(python: &Path, store: &Path) -> Vec<Value> {
    let script = "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1]).execute('SELECT event FROM seen ORDER BY nth'): print(row[0])";
    let output = Command::new(python).args(["-c", script]).arg(store).output().unwrap();
    lines(std::str::from_utf8(&output.stdout).unwrap())
}

/// The example in Rust. `cargo test` builds it, unless it was told which tests to build.
fn rust_example() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_agentworks")).with_file_name("examples/durable_consumer");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--workspace", "--example", "durable_consumer"]).current_dir(root());
    assert!(program.exists() || succeeds(&mut cargo), "{} is not there", program.display());
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_three_ways_give_the_same_events_in_the_same_order_and_the_examples_keep_up() {
    let mut scene = Scene::set().await;
    let stage = Stage::set(&scene.installation).await;
    let other = Stage::set(&scene.installation).await;
    for stage in [&stage, &other, &stage] {
        stage.card("Done by \"somebody\" – 100 %\n", &json!([])).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (rust, python) = (rust_example(), python());
    if python.is_none() {
        eprintln!(
            "SKIPPED: the examples in Python were not run: python3 with venv, or the package nats-py, is not to be had"
        );
    }
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for round in 0..2 {
        let events = scene.by_library();
        let head = text(events.last().unwrap(), "position");
        assert_eq!(head, events.len().to_string(), "dense, from 1");
        assert_eq!(scene.by_http().await, events);
        assert_eq!(scene.by_stream(&head).await, events);
        scene.run(&rust, &[&at("rust"), &head]);
        assert_eq!(lines(&std::fs::read_to_string(at("rust")).unwrap()), events);
        for example in python.iter().flat_map(|_| ["durable_consumer.py", "follow.py"]) {
            let script = root().join("docs/examples").join(example);
            let python = python.as_deref().unwrap();
            scene.run(python, &[script.to_str().unwrap(), &at(example), &head]);
            assert_eq!(stored(python, Path::new(&at(example))), events, "{example}");
        }
        if round == 0 {
            // The bus loses everything, and more happens. The stream fills itself, consumers go on.
            scene.nats.kill();
            scene.nats.wipe();
            stage.card("While the bus was gone", &json!([])).await;
            scene.nats.resume().await;
            let log = scene.by_library();
            let last = text(log.last().unwrap(), "position");
            eventually("the stream has filled itself", || async {
                let jetstream = jetstream::new(async_nats::connect(scene.nats.url()).await.unwrap());
                let Ok(stream) = jetstream.get_stream("EVENTS").await else { return false };
                let message = stream.get_last_raw_message_by_subject("evt.0.*").await;
                message.is_ok_and(|message| message.headers.get("ce-position").is_some_and(|at| at.as_str() == last))
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_lines_by_the_command_and_by_curl_are_the_same() {
    let installation = Installation::shared().await;
    let stage = Stage::set(installation).await;
    let card = stage.card("By curl", &json!([])).await;
    let token = tokens::mint(&installation.config(), Some(stage.tenant), Role::Auditor, "auditor", 1).unwrap();
    let tenant = stage.tenant.to_string();
    let printed = lines(&installation.command(&["events", "--tenant", &tenant, "--cloudevents"]));
    let url = format!("{}/v1/events?follow=false", installation.base);
    let (authorization, accept) = (format!("Authorization: Bearer {token}"), "Accept: application/x-ndjson");
    let curl = Command::new("curl").args(["-sS", "-H", &authorization, "-H", accept, &url]).output();
    let Ok(curl) = curl else { return eprintln!("SKIPPED: there is no curl here") };
    assert_eq!(lines(std::str::from_utf8(&curl.stdout).unwrap()), printed);
    assert!(printed.iter().any(|event| event["type"] == "CardCreated" && event["tenant"] == tenant), "{card}");
    // Nobody else's.
    assert!(printed.iter().all(|event| event["tenant"] == tenant));
}
