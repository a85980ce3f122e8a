//! One question, one answer; or, for who takes `text/event-stream`, a stream of answers.
//!
//! GraphQL over HTTP. Who may not ask, or asks in another way than this, gets a problem (RFC 9457); whatever GraphQL
//! itself has to say comes as a GraphQL answer with status 200, or 400 for a document that could not be executed when the
//! client speaks `application/graphql-response+json`.

use access::Problem;
use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Answer, ServerError, Value};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;

use super::answer::{never_ran, text};
use super::asked::{Addressed, Asked};
use super::{data, socket, sse};
use crate::error::{Refused, TIMED_OUT, too_late};
use crate::state::QueryState;
use crate::viewer::{self, Viewer};
use crate::{accept, guard};

const JSON: &str = "application/json";
const GRAPHQL: &str = "application/graphql-response+json";

pub(super) async fn post(
    State(state): State<QueryState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let viewer = viewer::of_headers(&state.verifier, &headers)?;
    let form = form(&headers)?;
    // Nothing else that a browser would send for a foreign page without asking first.
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
    match Asked::of_json(&body)?.into_request(&state.documents) {
        Ok(request) => answer(state, viewer, form, request).await,
        Err(refused) => refuse(form, refused),
    }
}

pub(super) async fn get(
    State(state): State<QueryState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    address: Result<Query<Addressed>, QueryRejection>,
) -> Result<Response, Problem> {
    if let Ok(upgrade) = upgrade {
        return socket::accept(state, &headers, upgrade);
    }
    let viewer = viewer::of_headers(&state.verifier, &headers)?;
    let form = form(&headers)?;
    let Query(address) =
        address.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "request_malformed", error.body_text()))?;
    let mut request = match Asked::of_address(address)?.into_request(&state.documents) {
        Ok(request) => request,
        Err(refused) => return refuse(form, refused),
    };
    let allowed = match form {
        sse::FORM => [OperationType::Query, OperationType::Subscription].as_slice(),
        _ => &[OperationType::Query],
    };
    if !does_only(&mut request, allowed) {
        let text = "GET takes queries, and subscriptions as `text/event-stream`; mutations go by POST";
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text));
    }
    answer(state, viewer, form, request).await
}

/// The form of the answer.
///
/// # Errors
/// 406 when the client takes none that there is.
fn form(headers: &HeaderMap) -> Result<&'static str, Problem> {
    accept::best(headers, &[JSON, GRAPHQL, sse::FORM]).ok_or_else(|| {
        let text = format!("answers come as `{GRAPHQL}`, `{JSON}` or `{}`", sse::FORM);
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", text)
    })
}

/// Whether the document has operations of these types only. One that is not admitted does nothing; its answer will say
/// why.
fn does_only(request: &mut Request, types: &[OperationType]) -> bool {
    match guard::admit(request) {
        Ok(document) => document.operations.iter().all(|(_, operation)| types.contains(&operation.node.ty)),
        Err(_) => true,
    }
}

/// What could not become a request is a problem; which document to run is a matter of GraphQL.
fn refuse(form: &'static str, refused: Refused) -> Result<Response, Problem> {
    match refused.code {
        "persisted_query_not_found" | "operation_not_listed" => Ok(write(form, &refused.into())),
        code => Err(Problem::new(StatusCode::BAD_REQUEST, code, refused.message)),
    }
}

async fn answer(
    state: QueryState,
    viewer: Viewer,
    form: &'static str,
    mut request: Request,
) -> Result<Response, Problem> {
    if form == sse::FORM {
        return Ok(sse::stream(&state, &viewer, request));
    }
    if let Err(why) = guard::admit(&mut request) {
        return Ok(write(form, &guard::refused(why)));
    }
    request.data = data(&state, viewer);
    let answer = timeout(state.time, state.schema.execute(request)).await;
    Ok(write(form, &answer.map_or_else(|_| too_late(state.time), guard::with_codes)))
}

fn write(form: &'static str, answer: &Answer) -> Response {
    let status = match form {
        GRAPHQL if timed_out(answer) => StatusCode::SERVICE_UNAVAILABLE,
        GRAPHQL if never_ran(answer) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    // GET answers must not be kept by anybody: they are one person's, and of a moment.
    let headers = [(header::CONTENT_TYPE, form), (header::CACHE_CONTROL, "no-store")];
    (status, headers, text(answer)).into_response()
}

fn timed_out(answer: &Answer) -> bool {
    let code = |error: &ServerError| error.extensions.as_ref().and_then(|values| values.get("code").cloned());
    answer.errors.iter().any(|error| code(error) == Some(Value::from(TIMED_OUT)))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
}
