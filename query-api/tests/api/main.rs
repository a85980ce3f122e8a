//! The query API over real HTTP and real sockets, on a real log and its read models.

mod api;
mod http;
mod isolation;
mod queries;
mod sdl;
mod subscriptions;
#[path = "../../../projections/tests/support/mod.rs"]
mod support;
