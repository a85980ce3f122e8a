//! What front-ends stand on, from outside: the clients that the registry has, a real browser, and servers that are killed
//! under them. The other half, in JavaScript, is `schemas/graphql/tests`.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]
#![expect(clippy::print_stdout, reason = "the test of truth says how much it has seen")]

#[expect(dead_code, reason = "these tests need less of it than others")]
#[path = "../system/support.rs"]
mod support;
mod truth;
#[expect(dead_code, reason = "these tests need less of it than others")]
#[path = "../crash/world.rs"]
mod world;

use std::path::PathBuf;

use access::Role;
use agentworks::tokens;
use tokio::process::Command;

use support::{Installation, PATIENCE, Stage};

/// The npm package.
fn package() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas/graphql");
    let built = package.join("node_modules").is_dir() && package.join("dist/index.js").is_file();
    assert!(built, "{} is not built: `npm ci && npm run build` there, as `./dev test` does", package.display());
    package
}

/// Node, with what its tests need to know: where commands go, a token of the tenant's owner, the project.
fn node(base: &str, token: &str, project: &str) -> Command {
    let mut node = Command::new("node");
    node.current_dir(package())
        .env("AW_URL", base)
        .env("AW_TOKEN", token)
        .env("AW_PROJECT", project)
        .kill_on_drop(true);
    node
}

/// A token of the stage's owner.
fn token(installation: &Installation, stage: &Stage) -> String {
    tokens::mint(&installation.config(), Some(stage.tenant), Role::Owner, "test", 1).expect("a token")
}

/// Runs a file of tests.
async fn passes(file: &str) {
    let installation = Installation::shared().await;
    let stage = Stage::set(installation).await;
    let mut node = node(&installation.base, &token(installation, &stage), &stage.project);
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
