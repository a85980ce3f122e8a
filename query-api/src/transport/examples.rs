//! `/examples/board`: a page that shows a live board, as plain as it can be, to begin from.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::state::QueryState;

/// Nothing from elsewhere, nothing inline, and nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page and what it loads.
pub(super) fn router() -> Router<QueryState> {
    Router::new()
        .route("/examples/board", page(HTML, include_str!("../../examples/board/index.html")))
        .route("/examples/board/board.js", page(JAVASCRIPT, include_str!("../../examples/board/board.js")))
        .route("/examples/board/board.css", page("text/css", include_str!("../../examples/board/board.css")))
        // The bundle of npm's `graphql-ws`, as it is.
        .route("/examples/board/graphql-ws.js", page(JAVASCRIPT, include_str!("../../examples/board/graphql-ws.js")))
}

fn page(kind: &'static str, text: &'static str) -> axum::routing::MethodRouter<QueryState> {
    get(move || async move { answer(kind, text) })
}

fn answer(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
