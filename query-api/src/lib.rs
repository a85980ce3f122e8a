//! Reading over HTTP. GraphQL: questions to the read models, and subscriptions that follow them. `GET /v1/events`: the log
//! itself, as a stream.
//!
//! Guarantees: an answer stands on one snapshot of its read model; a question that names the cursor of a command's
//! answer is answered with that command in it, or not at all; a subscription never loses a change, because each frame
//! holds whatever stands after the client's own cursor, and progress messages only say when to look. What belongs to
//! another tenant looks exactly like what does not exist. Never writes.
//!
//! `transport` takes requests in (POST, GET, WebSocket, server-sent events), `guard` refuses those that cost too much, `schema` is what may
//! be asked, `follow` keeps subscriptions going; `events` is the stream.

mod accept;
mod clock;
mod contract;
mod error;
mod events;
mod follow;
mod guard;
mod list;
mod loader;
mod personal;
mod places;
mod reader;
mod replay;
mod scalar;
mod schema;
mod snapshot;
mod state;
#[cfg(test)]
#[path = "../../projections/tests/support/mod.rs"]
mod support;
mod transport;
mod viewer;

pub use contract::openapi;
pub use events::EventSettings;
pub use guard::MAX_DEPTH;
pub use schema::{sdl, sdl_breaks};
pub use state::{QueryState, Settings};
pub use transport::{ManifestError, Operations, router};
