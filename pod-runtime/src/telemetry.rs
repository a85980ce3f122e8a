//! What the pod tells about itself: logs on standard error, and traces through the control plane.
//!
//! Guarantees: the token is in neither; the end of the log is at hand for a failure's report; every request can carry a
//! `traceparent`, whether or not the pod itself records traces.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use schemas::pod::STEP_DETAIL_BYTES;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::boot::Told;
use crate::secret::PodToken;
use crate::text::tail;

/// What is logged.
const LEVELS: &str = "info,genai=off,opentelemetry=warn,hyper=warn,reqwest=warn";
/// How long the last traces may take to leave.
const FLUSH: Duration = Duration::from_secs(3);
const TRACEPARENT: &str = "traceparent";

/// Logs and traces of this process.
pub(crate) struct Telemetry {
    log: LogTail,
    traceparent: Option<String>,
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logging, and tracing when that is wanted. Must not be called inside an asynchronous runtime.
    pub(crate) fn start(told: &Told) -> Self {
        let log = LogTail { token: told.token.clone(), kept: Arc::default() };
        let provider = told.traces.then(|| traces(told)).flatten();
        let layer = provider.as_ref().map(|it| tracing_opentelemetry::layer().with_tracer(it.tracer("agentworks-pod")));
        let logs = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(log.clone());
        let subscriber = tracing_subscriber::registry().with(EnvFilter::new(LEVELS)).with(logs).with(layer);
        if let Err(error) = subscriber.try_init() {
            // Somebody else logs already: then the pod runs without its own log.
            tracing::warn!(%error, "logging was set up before");
        }
        Self { log, traceparent: told.traceparent.clone(), provider }
    }

    /// The span of the whole attempt, below the one that the control plane named.
    pub(crate) fn root(&self) -> Span {
        let span = tracing::info_span!("attempt");
        if let (Some(_), Some(traceparent)) = (&self.provider, &self.traceparent) {
            let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.clone())]);
            if let Err(error) = span.set_parent(TraceContextPropagator::new().extract(&carrier)) {
                tracing::debug!(%error, "the trace cannot be continued");
            }
        }
        span
    }

    /// What the rest of the pod needs of it.
    pub(crate) fn handle(&self) -> Handle {
        Handle { log: self.log.clone(), traceparent: self.traceparent.clone() }
    }

    /// Sends the last traces. Must not be called inside an asynchronous runtime.
    pub(crate) fn stop(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

fn traces(told: &Told) -> Option<SdkTracerProvider> {
    let headers = HashMap::from([("authorization".to_owned(), told.token.bearer())]);
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}{}", told.control_plane, schemas::pod::path::TRACES))
        .with_headers(headers)
        .with_timeout(FLUSH)
        .build();
    match exporter {
        Ok(exporter) => {
            let resource = Resource::builder().with_service_name("agentworks-pod").build();
            Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
        }
        Err(error) => {
            // Traces are a help, not the work: the run goes on without them.
            tracing::warn!(%error, "traces cannot be sent");
            None
        }
    }
}

/// The end of the log, and the trace context of the moment.
#[derive(Clone)]
pub(crate) struct Handle {
    log: LogTail,
    traceparent: Option<String>,
}

impl Handle {
    /// Of a log that nobody writes.
    #[cfg(test)]
    pub(crate) fn silent(token: &PodToken) -> Self {
        Self { log: LogTail { token: token.clone(), kept: Arc::default() }, traceparent: None }
    }

    /// The end of the log, at most [`STEP_DETAIL_BYTES`].
    pub(crate) fn log_tail(&self) -> String {
        let kept = self.log.kept.lock().unwrap_or_else(PoisonError::into_inner);
        tail(&String::from_utf8_lossy(&kept), STEP_DETAIL_BYTES).to_owned()
    }

    /// The trace context to hand on: of the current span when traces are recorded, else the one that was handed in.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
        carrier.remove(TRACEPARENT).or_else(|| self.traceparent.clone())
    }
}

/// Writes the log to standard error and keeps its end.
#[derive(Clone)]
struct LogTail {
    token: PodToken,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl<'a> MakeWriter<'a> for LogTail {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LogTail {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let clean = self.token.redact(&String::from_utf8_lossy(line));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(clean.as_bytes());
        let excess = kept.len().saturating_sub(2 * STEP_DETAIL_BYTES);
        kept.drain(..excess);
        drop(kept);
        io::stderr().write_all(clean.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
