//! A pod's traces, passed on to the collector.

use access::Problem;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use tracing::debug;

use super::Gateway;

/// POST [`schemas::pod::path::TRACES`]. Taken from every pod whose token holds: its last spans come after its end. Where
/// there is no collector, or it is away, they are dropped: traces must never hold up a run.
pub(super) async fn pass_on(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    gateway.admit(&headers).await?;
    let Some(mut url) = gateway.otlp.clone() else { return Ok(StatusCode::NO_CONTENT) };
    let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let Ok(mut request) = gateway.http.api(Method::POST, url) else { return Ok(StatusCode::NO_CONTENT) };
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    if let Err(error) = request.body(body).send().await {
        debug!(error = crate::http::describe(&error), "the traces of a pod were dropped");
    }
    Ok(StatusCode::NO_CONTENT)
}
