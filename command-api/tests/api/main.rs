//! The dispatcher and its HTTP skin on a real Postgres.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail by panicking")]

mod contract;
mod dispatcher;
mod idempotency;
mod input;
mod isolation;
mod memory;
mod personal;
mod rules;
mod secrets;
mod support;
