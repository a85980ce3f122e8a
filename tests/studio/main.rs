//! What front-ends stand on, from outside: the clients that the registry has, a real browser, and an installation that is
//! killed under them. The other half, in JavaScript, is `schemas/graphql/tests`.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

#[expect(dead_code, reason = "these tests need less of it than others")]
#[path = "../system/support.rs"]
mod support;

use std::path::PathBuf;
use std::process::Stdio;

use access::Role;
use agentworks::tokens;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use support::{Installation, PATIENCE, Stage};

/// The npm package.
fn package() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas/graphql");
    let built = package.join("node_modules").is_dir() && package.join("dist/index.js").is_file();
    assert!(built, "{} is not built: `npm ci && npm run build` there, as `./dev test` does", package.display());
    package
}

/// Node, with what its tests need to know.
fn node(installation: &Installation, stage: &Stage) -> Command {
    let token = tokens::mint(&installation.config(), Some(stage.tenant), Role::Owner, "test", 1).expect("a token");
    let mut node = Command::new("node");
    node.current_dir(package()).env("AW_URL", &installation.base).env("AW_TOKEN", token);
    node.env("AW_PROJECT", &stage.project).kill_on_drop(true);
    node
}

/// Runs a file of tests.
async fn passes(file: &str) {
    let installation = Installation::shared().await;
    let stage = Stage::set(installation).await;
    let mut node = node(installation, &stage);
    node.args(["--test", file]);
    let output = tokio::time::timeout(PATIENCE * 2, node.output()).await.expect("it ends").expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    // A file that was found and holds tests.
    assert!(!text.contains("# pass 0") && !text.contains("tests 0"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphql_over_http_passes_every_audit() {
    passes("tests/audits.test.mjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_work_as_the_registry_has_them() {
    passes("tests/clients.test.mjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_page_shows_a_live_board() {
    passes("tests/page.test.mjs").await;
}

/// Subscribers that are cut off all the time, while the whole installation is killed and stopped in turn. How many they
/// are, and how often they are cut off, may be set: `AW_SUBSCRIBERS`, `AW_CUTS`, `AW_KILLS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_subscribers_put_together_is_the_board_whatever_was_killed() {
    // The same address in each life.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut installation = Installation::start(&[("AGENTWORKS_HTTP__ADDRESS", &address)]);
    let stage = Stage::set(&installation).await;
    let mut node = node(&installation, &stage);
    node.arg("tests/truth.mjs").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = node.spawn().expect("node runs");
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next =
        async || tokio::time::timeout(PATIENCE * 4, said.next_line()).await.expect("it says something").unwrap();
    assert_eq!(next().await.as_deref(), Some("ready"));
    for kill in 0..kills() {
        // Only in the middle of it there is something to lose.
        assert_eq!(next().await.as_deref(), Some("worked"));
        if kill % 2 == 0 {
            installation.kill();
        } else {
            assert!(installation.stop().1, "it stops in order, however many are connected");
        }
        installation.start_again();
    }
    // One that has given up does not listen; its verdict is missing then.
    let _ = child.stdin.take().unwrap().write_all(b"compare\n").await;
    let verdict = loop {
        let line = next().await;
        if line.as_deref() != Some("worked") {
            break line;
        }
    };
    assert!(verdict.as_deref().is_some_and(|verdict| verdict.starts_with("same ")), "{verdict:?}");
    println!("{}", verdict.unwrap());
}

/// How often the installation is killed or stopped.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn kills() -> u32 {
    std::env::var("AW_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}
