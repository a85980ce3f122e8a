//! The query API over real HTTP and real sockets, on a real log and its read models.

mod api;
mod environments;
mod events;
mod foreign;
mod http;
mod isolation;
mod lists;
mod log;
#[expect(dead_code, reason = "tests of the log itself need more")]
#[expect(clippy::unwrap_used, reason = "a failing helper fails its test")]
#[path = "../../../outbox/tests/outbox/support/nats.rs"]
mod nats;
mod node;
mod outage;
mod queries;
#[expect(clippy::unwrap_used, reason = "a failing helper fails its test")]
mod replay;
mod sdl;
mod statements;
mod subscriptions;
#[expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing helper fails its test")]
#[path = "../../../projections/tests/support/mod.rs"]
mod support;
mod switch;

/// Waits until `condition` holds; fails after half a minute.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "never happened: {what}");
}
