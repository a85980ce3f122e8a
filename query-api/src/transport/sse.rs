//! Subscriptions (and questions) as server-sent events: the "distinct connections mode" of GraphQL over SSE, in which a
//! request has a connection of its own.
//!
//! Each answer is an event `next`; `complete` says that no more will come. A connection that ends without it (the token
//! ended, the instance stops, the client was too slow) is one to make again, from the last frame's cursor.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Request;
use axum::http::{HeaderName, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream::once;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::sleep;

use super::answer::text;
use super::{data, run};
use crate::state::QueryState;
use crate::viewer::{self, Viewer};

/// The media type.
pub(super) const FORM: &str = "text/event-stream";
/// How often a stream that has nothing to say gives a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Answers with a stream.
pub(super) fn stream(state: &QueryState, viewer: &Viewer, request: Request) -> Response {
    let (shutdown, lifetime) = (state.shutdown.clone(), viewer::remaining(viewer.expires));
    let end = async move {
        tokio::select! {
            () = shutdown.cancelled_owned() => {}
            () = sleep(lifetime) => {}
        }
    };
    let mut data = data(state, viewer.clone());
    data.insert(state.subscribers.of(viewer));
    let next = run(state, request, Arc::new(data)).map(|answer| Event::default().event("next").data(text(&answer)));
    // Browsers dispatch no event without data.
    let complete = once(async { Event::default().event("complete").data("{}") });
    let events = next.chain(complete).take_until(end.boxed()).map(Ok::<_, Infallible>);
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        // For proxies that would hold events back until they have many.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))).into_response()
}
