//! Read models that follow a real log on a real Postgres.

mod models;
mod rebuild;
#[path = "../support/mod.rs"]
mod support;
