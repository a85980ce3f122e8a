//! Exports of a log: whatever is done to one is found, at the right place and by its right name; an export that is
//! restored is the log that it came from.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing helper fails its test")]

mod cli;
mod packed;
mod restore;
mod tamper;
mod world;
