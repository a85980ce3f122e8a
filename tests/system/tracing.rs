//! One trace goes from the command through relay, projection, worker and pod.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::Method;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::json;

use crate::support::{Installation, PATIENCE, Stage, state, text, writes};

/// Span names by trace id.
type Seen = Arc<Mutex<HashMap<String, HashSet<String>>>>;

async fn collector() -> (String, Seen) {
    let seen = Seen::default();
    let take = |State(seen): State<Seen>, body: Bytes| async move {
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
        for resource in request.resource_spans {
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let trace = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
                seen.lock().unwrap().entry(trace).or_default().insert(span.name);
            }
        }
    };
    let router = Router::new().route("/v1/traces", post(take)).route("/v1/metrics", post(|| async {}));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router.with_state(Arc::clone(&seen))).into_future());
    (format!("http://{address}"), seen)
}

#[tokio::test]
async fn one_trace_goes_from_the_command_to_the_pod() {
    let (endpoint, seen) = collector().await;
    let installation = Installation::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let stage = Stage::set(&installation).await;
    let card = stage.card("Traced", &writes("a", "a")).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let answer = stage
        .owner
        .send(Method::POST, &stage.of_card(&card, "run"), &[("traceparent", &parent)], Some(&json!({})))
        .await
        .unwrap();
    stage.seen(&answer.body).await;
    let run = stage.ended(&text(&answer.body, "run")).await;
    assert_eq!(state(&run), "succeeded", "{run}");
    // The command, the relay, a consumer, the worker, and what only the pod does.
    let wanted = ["card.run", "relay", "apply", "run.dispatch", "attempt", "clone"];
    let complete = async {
        loop {
            let names = seen.lock().unwrap().get(trace).cloned().unwrap_or_default();
            if wanted.iter().all(|part| names.contains(*part)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, complete).await;
    assert!(in_time.is_ok(), "spans of the trace: {:?}", seen.lock().unwrap().get(trace));
}
