//! What every HTTP surface of this program has in common: serving and its graceful end, health, metrics, and the frame around
//! each request.
//!
//! * [`serve`] ends within its grace: it stops accepting, lets requests finish, then cuts every connection that is left,
//!   those that became WebSockets included. Who takes nothing of an answer for a minute is cut at any time.
//! * [`operations`] answers `/livez`, `/readyz` and `/metrics`. They say which part is unwell, never why: that is in the log.
//! * [`observed`] gives each request an id, continues the caller's trace, counts and times it by route, and turns a panic into
//!   an answer that tells the caller nothing but the id to ask about.
//!
//! Body limits, authentication and the shape of errors belong to the APIs.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State, connect_info::Connected};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use axum::{Json, Router};
use futures::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use opentelemetry::propagation::Extractor;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// In requests and answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A caller's own request id is taken over up to this length.
const REQUEST_ID_MAX: usize = 128;
/// A connection whose other end takes nothing for so long, while there is something to take, is cut.
const STALLED: Duration = Duration::from_secs(60);
/// A readiness check that takes longer has failed.
const CHECK_WITHIN: Duration = Duration::from_secs(2);

// --- serving ---------------------------------------------------------------------------------------------------------------

/// Who is at the other end of the connection; an extension of every request, by `ConnectInfo<Peer>`.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Serves until `shutdown`, then for at most `grace` what is in flight, and returns when no connection is left.
///
/// Whoever holds a WebSocket should watch `shutdown` too and close it properly; at the end of the grace it is cut.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    grace: Duration,
) -> io::Result<()> {
    let (open, cut) = (TaskTracker::new(), CancellationToken::new());
    let connections = Connections { listener, open: open.clone(), cut: cut.clone(), stalled: STALLED };
    let service = router.into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(connections, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let drained = async {
        let result = server.await;
        open.close();
        open.wait().await;
        result
    };
    tokio::pin!(drained);
    tokio::select! {
        result = &mut drained => return result,
        () = async { shutdown.cancelled().await; tokio::time::sleep(grace).await } => {}
    }
    tracing::warn!(connections = open.len(), "cutting connections that did not end within the grace");
    cut.cancel();
    drained.await
}

/// Accepts connections that can be counted and cut.
struct Connections {
    listener: TcpListener,
    open: TaskTracker,
    cut: CancellationToken,
    stalled: Duration,
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // Small frames should leave at once.
        let _best_effort = stream.set_nodelay(true);
        let cut = Box::pin(self.cut.clone().cancelled_owned());
        (Connection { stream, cut, stalled: self.stalled, waiting: None, _open: self.open.token() }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    stalled: Duration,
    /// Since the other end takes nothing: until when.
    waiting: Option<Pin<Box<Sleep>>>,
    _open: TaskTrackerToken,
}

impl Connection {
    /// Fails once the connections are cut; until then the stream, if it has not been cut.
    fn stream(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }

    /// What writing came to; fails instead of waiting once the other end has taken nothing for too long.
    fn written(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let stalled = self.stalled;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(stalled)));
        waiting.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream(context)?.poll_write(context, from);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream(context)?.poll_write_vectored(context, from);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

// --- health and metrics ----------------------------------------------------------------------------------------------------

type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What must work for this process to be ready.
#[derive(Default)]
pub struct Readiness(Vec<(&'static str, Check)>);

impl Readiness {
    /// Nothing yet, which is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check. What its error says goes to the log; callers see the name only.
    #[must_use]
    pub fn check<F, R>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.0.push((name, Box::new(move || Box::pin(check()))));
        self
    }

    async fn answer(&self) -> Response {
        let run = self.0.iter().map(async |(name, check)| {
            let result = timeout(CHECK_WITHIN, check()).await.unwrap_or_else(|_| Err("no answer in time".into()));
            if let Err(error) = &result {
                tracing::warn!(check = name, error, "not ready");
            }
            ((*name).to_owned(), result.is_ok())
        });
        let results = join_all(run).await;
        let ready = results.iter().all(|(_, ok)| *ok);
        let checks: serde_json::Map<_, _> =
            results.into_iter().map(|(name, ok)| (name, if ok { "ok" } else { "failing" }.into())).collect();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(json!({ "ready": ready, "checks": checks }))).into_response()
    }
}

/// `/livez`, `/readyz`, `/metrics`. They are asked all the time: keep them outside [`observed`].
pub fn operations(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    let readiness = Arc::new(readiness);
    let text = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(async |State(readiness): State<Arc<Readiness>>| readiness.answer().await))
        .with_state(readiness)
        .route("/metrics", get(async move || ([text], metrics.render())))
}

// --- the frame around a request --------------------------------------------------------------------------------------------

/// Puts the frame around every route of `router`.
pub fn observed(router: Router) -> Router {
    router.layer(CatchPanicLayer::custom(panicked)).layer(middleware::from_fn(observe))
}

async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let span = span(&request, &route, &id);

    let mut response = next.run(request).instrument(span.clone()).await;

    let (status, seconds) = (response.status(), started.elapsed().as_secs_f64());
    outbox::trace::note(&span, "http.response.status_code", i64::from(status.as_u16()));
    span.in_scope(|| {
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
            tracing::error!(status = status.as_u16(), seconds, "request failed");
        } else {
            tracing::debug!(status = status.as_u16(), seconds, "request answered");
        }
    });
    let labels =
        [("method", known(method.as_str())), ("route", route.into()), ("status", status.as_str().to_owned().into())];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_seconds", &labels).record(seconds);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's, if it is what machines make (hexadecimal digits and dashes): it goes into the logs, where nothing may stand
/// that says something of a person. Else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let tame = |id: &&HeaderValue| {
        (1..=REQUEST_ID_MAX).contains(&id.len())
            && id.as_bytes().iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
    };
    headers.get(REQUEST_ID).filter(tame).cloned().unwrap_or_else(|| {
        #[expect(clippy::disallowed_methods, reason = "names a request in logs, decides nothing")]
        let id = uuid::Uuid::now_v7().to_string();
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
    })
}

fn span(request: &Request, route: &str, id: &HeaderValue) -> Span {
    let method = request.method().as_str();
    let span = tracing::info_span!(
        "http.request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        request_id = id.to_str().unwrap_or_default(),
    );
    let caller =
        opentelemetry::global::get_text_map_propagator(|propagator| propagator.extract(&Headers(request.headers())));
    // Refused where traces are not exported, and there is nothing to continue then.
    let _not_exported = span.set_parent(caller);
    span
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// A method as a label: what anyone may invent is no label.
fn known(method: &str) -> metrics::SharedString {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other").into()
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.as_deref().unwrap_or("no text"), "a handler panicked");
    let problem = json!({
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal",
        "detail": "Something went wrong here. The operator finds the cause under the id in the `x-request-id` header.",
    });
    let headers = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::INTERNAL_SERVER_ERROR, headers, problem.to_string()).into_response()
}

#[cfg(test)]
mod tests;
