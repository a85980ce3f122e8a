//! Metrics: the `metrics` facade, rendered for Prometheus, and handed on to OpenTelemetry when there is someone to take them.
//!
//! Names are words joined by underscores (`http_requests_total`), times are in seconds and their names end in `_seconds`. A label never holds
//! an id, a path as it was asked for, or anything else without a bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::layers::FanoutBuilder;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// From a local query to a run of an agent.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// Makes the process's metrics go to the returned handle, and to `meter` if there is one. Once a process.
pub(super) fn install(meter: Option<Meter>) -> Result<PrometheusHandle, super::TelemetryError> {
    let prometheus = prometheus()?;
    let handle = prometheus.handle();
    match meter {
        Some(meter) => {
            let both = FanoutBuilder::default().add_recorder(prometheus).add_recorder(Bridge::new(meter));
            metrics::set_global_recorder(both.build()).map_err(|_| super::TelemetryError::Twice)?;
        }
        None => metrics::set_global_recorder(prometheus).map_err(|_| super::TelemetryError::Twice)?,
    }
    Ok(handle)
}

fn prometheus() -> Result<metrics_exporter_prometheus::PrometheusRecorder, BuildError> {
    let times = Matcher::Suffix("_seconds".into());
    Ok(PrometheusBuilder::new().set_buckets_for_metric(times, &SECONDS)?.build_recorder())
}

/// Hands metrics on to OpenTelemetry.
struct Bridge {
    meter: Meter,
    descriptions: Mutex<HashMap<String, SharedString>>,
    counters: Kept<CountedUp>,
    gauges: Kept<LastSet>,
    histograms: Kept<Recorded>,
}

/// The facade asks for an instrument at every use; each exists once.
struct Kept<T>(Mutex<HashMap<Key, Arc<T>>>);

impl<T> Kept<T> {
    fn get(&self, key: &Key, make: impl FnOnce() -> T) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instrument) = kept.get(key) {
            return Arc::clone(instrument);
        }
        Arc::clone(kept.entry(key.clone()).or_insert_with(|| Arc::new(make())))
    }
}

impl Bridge {
    fn new(meter: Meter) -> Self {
        let (counters, gauges, histograms) = (Kept::default(), Kept::default(), Kept::default());
        Self { meter, descriptions: Mutex::default(), counters, gauges, histograms }
    }

    fn describe(&self, key: &KeyName, description: SharedString) {
        let mut descriptions = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        descriptions.insert(key.as_str().to_owned(), description);
    }

    fn description(&self, key: &Key) -> String {
        let descriptions = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        descriptions.get(key.name()).map(ToString::to_string).unwrap_or_default()
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

fn labels(key: &Key) -> Vec<KeyValue> {
    key.labels().map(|label| KeyValue::new(label.key().to_owned(), label.value().to_owned())).collect()
}

impl Recorder for Bridge {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, description);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, description);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let make = || {
            let builder = self.meter.u64_counter(key.name().to_owned()).with_description(self.description(key));
            CountedUp { counter: builder.build(), labels: labels(key), absolute: AtomicU64::new(0) }
        };
        Counter::from_arc(self.counters.get(key, make))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let make = || {
            let builder = self.meter.f64_gauge(key.name().to_owned()).with_description(self.description(key));
            LastSet { gauge: builder.build(), labels: labels(key), value: Mutex::new(0.0) }
        };
        Gauge::from_arc(self.gauges.get(key, make))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let make = || {
            let builder = self.meter.f64_histogram(key.name().to_owned()).with_description(self.description(key));
            let times = key.name().ends_with("_seconds");
            let builder = if times { builder.with_boundaries(SECONDS.to_vec()) } else { builder };
            Recorded { histogram: builder.build(), labels: labels(key) }
        };
        Histogram::from_arc(self.histograms.get(key, make))
    }
}

struct CountedUp {
    counter: opentelemetry::metrics::Counter<u64>,
    labels: Vec<KeyValue>,
    absolute: AtomicU64,
}

impl CounterFn for CountedUp {
    fn increment(&self, value: u64) {
        self.counter.add(value, &self.labels);
    }

    fn absolute(&self, value: u64) {
        let before = self.absolute.fetch_max(value, Ordering::Relaxed);
        self.counter.add(value.saturating_sub(before), &self.labels);
    }
}

struct LastSet {
    gauge: opentelemetry::metrics::Gauge<f64>,
    labels: Vec<KeyValue>,
    value: Mutex<f64>,
}

impl LastSet {
    fn update(&self, change: impl FnOnce(f64) -> f64) {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *value = change(*value);
        self.gauge.record(*value, &self.labels);
    }
}

impl GaugeFn for LastSet {
    fn increment(&self, value: f64) {
        self.update(|before| before + value);
    }

    fn decrement(&self, value: f64) {
        self.update(|before| before - value);
    }

    fn set(&self, value: f64) {
        self.update(|_| value);
    }
}

struct Recorded {
    histogram: opentelemetry::metrics::Histogram<f64>,
    labels: Vec<KeyValue>,
}

impl HistogramFn for Recorded {
    fn record(&self, value: f64) {
        self.histogram.record(value, &self.labels);
    }
}
