//! What an operator sees: structured logs, traces, metrics.
//!
//! Logs go to standard error, in text for people and in JSON for machines. Metrics can always be fetched
//! ([`Guard::metrics`]); traces, and metrics too, are sent by OTLP over HTTP when an endpoint is configured. Trace context
//! travels as W3C `traceparent`. Telemetry never stops the program: a collector that is away costs what it would have seen,
//! and the wait for it at the end is bounded.
//!
//! Never in here: secrets, prompts, the contents of cards. Who logs sees to that.

mod metrics;

use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

use crate::config::{LogFormat, Telemetry};

/// How long the end of the program waits for what has not been sent yet.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);
/// How often recorded times are folded into their buckets, so that they do not pile up where nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Why there is no telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of log lines makes no sense.
    #[error("`telemetry.log_filter`: {0}")]
    Filter(#[from] ParseError),
    /// The exporter cannot be made.
    #[error("`telemetry.otlp_endpoint`: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The buckets of the metrics make no sense.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
    /// Logs are set up already.
    #[error("logs: {0}")]
    Logs(#[from] TryInitError),
    /// Metrics are set up already.
    #[error("telemetry can be set up only once a process")]
    Twice,
    /// No thread is to be had.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Keeps telemetry going; [`Guard::shutdown`] sends what is left.
#[derive(Debug)]
#[must_use = "dropped, it loses what has not been sent yet"]
pub struct Guard {
    metrics: PrometheusHandle,
    otlp: Option<Otlp>,
    _upkeep: mpsc::Sender<()>,
}

/// Sets everything up. Once a process, after the TLS backend has been chosen, before the first log line.
///
/// # Errors
/// When the configuration makes no sense, or on a second call.
pub fn init(config: &Telemetry, service: &'static str) -> Result<Guard, TelemetryError> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let otlp = config.otlp_endpoint.as_ref().map(|endpoint| Otlp::new(endpoint, service)).transpose()?;
    let filter = EnvFilter::try_new(&config.log_filter)?;
    let spans = otlp.as_ref().map(|otlp| {
        let tracer = otlp.traces.tracer(service);
        // What the exporter itself does must not become spans that it then has to export.
        let ours = filter_fn(|metadata| {
            !["opentelemetry", "hyper", "reqwest", "h2"].iter().any(|dull| metadata.target().starts_with(dull))
        });
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
    });
    tracing_subscriber::registry().with(lines(config.log_format)).with(spans).with(filter).try_init()?;
    let metrics = metrics::install(otlp.as_ref().map(|otlp| otlp.metrics.meter(service)))?;
    let upkeep = keep_up(metrics.clone()).map_err(TelemetryError::Thread)?;
    Ok(Guard { metrics, otlp, _upkeep: upkeep })
}

impl Guard {
    /// For `/metrics`.
    pub fn metrics(&self) -> PrometheusHandle {
        self.metrics.clone()
    }

    /// Sends what has not been sent yet, for at most three seconds. Blocks: call it last, outside the runtime or near its end.
    pub fn shutdown(self) {
        let Some(otlp) = self.otlp else { return };
        let (done, wait) = mpsc::channel();
        let flush = move || {
            otlp.shutdown();
            let _nobody_waits_any_more = done.send(());
        };
        if std::thread::Builder::new().name("telemetry-flush".into()).spawn(flush).is_ok() {
            let _in_time_or_not = wait.recv_timeout(FLUSH_WITHIN);
        }
    }
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Auto if !terminal => lines.json().flatten_event(true).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Auto | LogFormat::Text => lines.with_ansi(terminal).boxed(),
    }
}

/// Until the sender is dropped.
fn keep_up(metrics: PrometheusHandle) -> std::io::Result<mpsc::Sender<()>> {
    let (alive, until_dropped) = mpsc::channel::<()>();
    let run = move || {
        while until_dropped.recv_timeout(UPKEEP_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
            metrics.run_upkeep();
        }
    };
    std::thread::Builder::new().name("metrics-upkeep".into()).spawn(run).map(|_| alive)
}

/// Senders of traces and metrics; each has its own thread and a blocking client.
#[derive(Debug)]
struct Otlp {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Otlp {
    fn new(endpoint: &url::Url, service: &'static str) -> Result<Self, ExporterBuildError> {
        let signal = |path: &str| format!("{}/v1/{path}", endpoint.as_str().trim_end_matches('/'));
        let http = Protocol::HttpBinary;
        let spans = SpanExporter::builder().with_http().with_protocol(http).with_endpoint(signal("traces")).build()?;
        let meters =
            MetricExporter::builder().with_http().with_protocol(http).with_endpoint(signal("metrics")).build()?;
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(service).with_attribute(version).build();
        let traces = SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build();
        let metrics = SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(meters).build();
        Ok(Self { traces, metrics })
    }

    fn shutdown(&self) {
        for (what, result) in
            [("traces", self.traces.shutdown_with_timeout(FLUSH_WITHIN)), ("metrics", self.metrics.shutdown())]
        {
            if let Err(error) = result {
                tracing::warn!(%error, "the last {what} could not be sent");
            }
        }
    }
}

#[cfg(test)]
mod tests;
