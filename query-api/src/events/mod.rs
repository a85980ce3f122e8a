//! `GET /v1/events`: the log as a stream for other programs, as server-sent events or as lines of JSON.
//!
//! Guarantees: the order of the log, each event once and none left out, on any instance, after any interruption: the
//! client's cursor is all that is remembered of it. The bus only wakes; without it events come a little later. A slow
//! client holds a few pages of memory and nobody up; one that takes nothing for long is cut.

mod ask;
mod form;
mod pump;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use access::Problem;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use domain::TenantId;
use futures::stream;
use outbox::tail::{Scope, Tail};
use outbox::{Log, LogError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use ask::Ask;
pub(crate) use ask::unknown_types;
use form::Form;
use pump::Pump;

use crate::places::Places;
use crate::state::QueryState;
use crate::viewer;

/// The path of the stream.
const PATH: &str = "/v1/events";
/// Chunks that wait for the client, at most.
const WAITING: usize = 2;

/// What an operator may set, and tests.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// Streams of one tenant at once, in this process.
    pub streams_per_tenant: usize,
    /// A stream that has nothing to say gives a sign of life this often.
    pub heartbeat: Duration,
    /// A client that takes nothing for so long is cut.
    pub stalled: Duration,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self { streams_per_tenant: 50, heartbeat: Duration::from_secs(15), stalled: Duration::from_secs(30) }
    }
}

/// Whose a stream is: a tenant's, or operators', who have some together.
type Whose = Option<TenantId>;

/// The streams of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Events {
    log: Log,
    tail: Tail,
    places: Places<Whose>,
    settings: EventSettings,
    shutdown: CancellationToken,
}

impl Events {
    pub(crate) fn new(log: Log, tail: Tail, settings: EventSettings, shutdown: CancellationToken) -> Self {
        let places = Places::new("agentworks_event_streams", settings.streams_per_tenant);
        Self { log, tail, places, settings, shutdown }
    }
}

/// The route `/v1/events`.
pub(crate) fn router() -> Router<QueryState> {
    Router::new().route(PATH, get(stream_events).fallback(not_allowed))
}

async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "events are only read: use GET")
}

/// Follow what happens
///
/// Every event of the tenant whose token it is, in the order of the log, as CloudEvents 1.0 in structured mode
/// (`cloud-event.json`); an operator's token gives those of all tenants of a partition. The stream goes on as events come,
/// until the token ends or the instance stops: come again then with the cursor of the last event (`id` of the server-sent
/// event, `cursor` in the event), and nothing is missed or repeated. A comment, or an empty line, every 15 seconds says
/// that the stream is alive; a server-sent event with nothing but an `id` moves the cursor past events that were not asked
/// for. A client that takes nothing for long is cut.
#[utoipa::path(get, path = "/v1/events", operation_id = "streamEvents", tag = "events",
    params(
        ("after" = Option<String>, Query, description = "Begin behind this cursor or position. Without it: at the first event."),
        ("types" = Option<String>, Query, description = "Only events of these types, with commas between them."),
        ("follow" = Option<bool>, Query, description = "`false` ends the stream at the present end of the log; an answer that breaks off before is not whole."),
        ("partition" = Option<i32>, Query, description = "For operators: which part of the log. May be left out when there is one, or `after` is a cursor."),
        ("Last-Event-ID" = Option<String>, Header, description = "What a client that comes again has seen; wins over `after`."),
    ),
    responses(
        (status = OK, description = "The events.", content((String = "text/event-stream"), (String = "application/x-ndjson"))),
        (status = NOT_ACCEPTABLE, description = "`Accept` takes neither form."),
        (status = TOO_MANY_REQUESTS, description = "The tenant has as many streams open as it may."),
    ))]
pub(crate) async fn stream_events(
    State(state): State<QueryState>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let claims = viewer::claims_of_headers(&state.verifier, &headers)?;
    let form = Form::wanted(&headers)?;
    let events = state.events;
    let ask = Ask::read(query.as_deref().unwrap_or_default(), &headers)?;
    let start = ask.start(claims.tenant, &events.log)?;
    let place = events.places.take(&claims.tenant).ok_or_else(|| full(events.places.most()))?;
    let scope = claims.tenant.map_or(Scope::Partition(start.partition), Scope::Tenant);
    let head = events.log.head(start.partition).await.map_err(unreadable)?;
    if start.position > head {
        return Err(ask::ahead());
    }
    let follower = events.tail.follow(scope, start.position).map_err(unreadable)?;
    let (sender, chunks) = mpsc::channel(WAITING);
    let pump = Pump {
        follower,
        types: ask.types,
        form,
        until: (!ask.follow).then_some(head),
        heartbeat: events.settings.heartbeat,
        stalled: events.settings.stalled,
    };
    let whole = pump.start(sender, viewer::remaining(claims.exp), events.shutdown, place);
    let headers = [
        (header::CONTENT_TYPE, form.media_type()),
        (header::CACHE_CONTROL, "no-store"),
        // For proxies that would hold lines back until they have many.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(body(chunks, whole))).into_response())
}

/// The chunks as a body, which breaks off when the stream ended before it was whole.
fn body(chunks: mpsc::Receiver<Bytes>, whole: Arc<pump::Whole>) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some((chunks, whole)), |state| async {
        let (mut chunks, whole) = state?;
        match chunks.recv().await {
            Some(chunk) => Some((Ok(chunk), Some((chunks, whole)))),
            None if whole.is_whole() => None,
            None => Some((Err(io::Error::other("the stream ended early")), None)),
        }
    })
}

fn full(most: usize) -> Problem {
    let detail = format!("{most} streams are open, and no more may be at once; close one");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail).retry_after(10)
}

fn unreadable(error: LogError) -> Problem {
    match error {
        LogError::Database(_) => {
            tracing::warn!(%error, "the log could not be asked");
            Problem::unavailable("log_unavailable", "the log cannot be read just now; come again", 1)
        }
        error => {
            tracing::error!(%error, "the log could not be read");
            Problem::internal()
        }
    }
}
