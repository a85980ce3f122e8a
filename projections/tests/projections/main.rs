//! Read models that follow a real log on a real Postgres.

mod models;
mod rebuild;
#[expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing helper fails its test")]
#[path = "../support/mod.rs"]
mod support;
mod switch;
