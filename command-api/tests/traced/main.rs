//! What listens to tracing: a trace goes through the dispatcher, and no secret is logged. In a process of its own, one
//! test at a time: whether a span is enabled is remembered for all threads of a process, by what the first of them thinks.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail by panicking")]

#[path = "../api/support.rs"]
#[expect(dead_code, reason = "shared with the API's tests, which use more of it")]
mod support;

mod secrets;

use serde_json::json;
use support::{World, id};

/// Held by the test that runs.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_trace_goes_from_the_request_into_the_event() {
    let _alone = ALONE.lock().await;
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let world = World::new().await;
    let shop = world.shop().await;
    let stored = |traceparent: &'static str| {
        let (world, shop) = (&world, &shop);
        async move {
            let body = json!({ "name": "x" });
            let reply = world.call("POST", "/v1/workspaces", &shop.token, &[("traceparent", traceparent)], &body).await;
            let stream = id::<domain::id::WorkspaceKind>(&reply.id()).uuid();
            world.log.read_stream(shop.tenant, stream, 0, 1).await.unwrap()[0].metadata.traceparent.clone()
        }
    };
    assert_eq!(stored(given).await.as_deref(), Some(given), "as it came, where nothing is traced");
    assert_eq!(stored("nonsense").await, None);

    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _traced = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let traced = stored(given).await.unwrap();
    assert_eq!(traced[..35], given[..35], "the same trace");
    assert_ne!(traced, given, "another span of it");
}
