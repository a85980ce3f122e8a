//! The log, its relay and its consumers on a real Postgres and real nats-servers.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing helper fails its test")]

mod aggregates;
mod append;
mod archive;
mod conformance;
mod evidence;
mod example;
mod harness;
mod isolation;
mod migrate;
mod model;
mod parking;
mod progress;
mod ranges;
mod relay;
mod replay;
mod snapshot;
mod store;
mod storm;
mod support;
