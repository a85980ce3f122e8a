//! Whole-system tests: the real executables, Postgres, NATS, Git over HTTP, sandboxed processes, and a model reached over HTTP.
//!
//! Everything goes through the public interface, as a stranger's program would. Only vendors are fakes, and they speak
//! the vendors' own protocols and count what was done to them.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod apis;
mod consuming;
mod crash;
mod demo;
mod erasure;
mod lifecycle;
mod runs;
#[expect(dead_code, reason = "`benches/live.rs` shares it and uses more")]
mod support;
mod tracing;
