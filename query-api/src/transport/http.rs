//! One question, one answer.
//!
//! Who may not ask, or asks in another way than this, gets a problem (RFC 9457); whatever GraphQL itself has to say
//! comes as a GraphQL answer with status 200, or 400 for a document that could not be executed when the client speaks
//! `application/graphql-response+json`.

use access::Problem;
use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Answer, Value, Variables};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{data, socket};
use crate::error::INVALID_QUERY;
use crate::guard;
use crate::state::QueryState;
use crate::viewer::{self, Viewer};

const JSON: &str = "application/json";
const GRAPHQL: &str = "application/graphql-response+json";

/// A request as a body carries it.
#[derive(Deserialize)]
struct Posted {
    query: String,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<Map<String, Json>>,
}

/// A request as an address carries it.
#[derive(Deserialize)]
pub(super) struct Asked {
    query: Option<String>,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<String>,
}

pub(super) async fn post(
    State(state): State<QueryState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let viewer = viewer::of_headers(&state.verifier, &headers)?;
    if !is_json(&headers) {
        let text = "send the request as `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type_unsupported", text));
    }
    let body = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("at most {} bytes", super::BODY))
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "the body could not be read"),
    })?;
    // By way of a map: serde alone takes an array of the members' values as well.
    let posted = serde_json::from_slice(&body)
        .and_then(|members: Map<String, Json>| Posted::deserialize(Json::Object(members)))
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "json_malformed", error.to_string()))?;
    let variables = Variables::from_json(Json::Object(posted.variables.unwrap_or_default()));
    let request = named(Request::new(posted.query).variables(variables), posted.operation_name);
    Ok(answer(&state, viewer, &headers, request).await)
}

pub(super) async fn get(
    State(state): State<QueryState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    if let Ok(upgrade) = upgrade {
        return socket::accept(state, &headers, upgrade);
    }
    let viewer = viewer::of_headers(&state.verifier, &headers)?;
    let malformed = |text: String| Problem::new(StatusCode::BAD_REQUEST, "request_malformed", text);
    let Query(asked) = asked.map_err(|error| malformed(error.body_text()))?;
    let query = asked.query.ok_or_else(|| malformed("name the document in the parameter `query`".to_owned()))?;
    let variables = match asked.variables.as_deref().filter(|text| !text.is_empty()) {
        None => Map::new(),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| malformed(format!("`variables` must be a JSON object: {error}")))?,
    };
    let variables = Variables::from_json(Json::Object(variables));
    let mut request = named(Request::new(query).variables(variables), asked.operation_name);
    if !only_reads(&mut request) {
        let text = "GET takes queries only; mutations go by POST, subscriptions by WebSocket";
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text));
    }
    Ok(answer(&state, viewer, &headers, request).await)
}

fn named(request: Request, operation: Option<String>) -> Request {
    match operation {
        Some(operation) => request.operation_name(operation),
        None => request,
    }
}

/// Whether all that the document may do is read. One that is not admitted does nothing; its answer will say why.
fn only_reads(request: &mut Request) -> bool {
    match guard::admit(request) {
        Ok(document) => document.operations.iter().all(|(_, operation)| operation.node.ty == OperationType::Query),
        Err(_) => true,
    }
}

async fn answer(state: &QueryState, viewer: Viewer, headers: &HeaderMap, mut request: Request) -> Response {
    request.data = data(state, viewer);
    let answer = state.schema.execute(request).await;
    let speaks = accepts(headers, GRAPHQL);
    let status = if speaks && never_ran(&answer) { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let kind = HeaderValue::from_static(if speaks { GRAPHQL } else { JSON });
    let body = serde_json::to_string(&answer).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer has no JSON form");
        r#"{"data":null,"errors":[{"message":"something went wrong here","extensions":{"code":"internal"}}]}"#.into()
    });
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Whether the document was refused before anything ran.
fn never_ran(answer: &Answer) -> bool {
    let refused = |error: &async_graphql::ServerError| {
        error.path.is_empty()
            && error.extensions.as_ref().and_then(|values| values.get("code")) == Some(&Value::from(INVALID_QUERY))
    };
    answer.data == Value::Null && !answer.errors.is_empty() && answer.errors.iter().all(refused)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains(kind))
}
