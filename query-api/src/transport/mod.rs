//! How requests come in: POST, GET and WebSocket at `/graphql`, and a page to ask from at `/graphiql`.

mod http;
mod socket;

use async_graphql::Data;
use async_graphql::http::GraphiQLSource;
use axum::response::Html;
use axum::routing::get;
use axum::{Router, extract::DefaultBodyLimit};

use crate::events;
use crate::loader::loader;
use crate::state::QueryState;
use crate::viewer::Viewer;

/// The path of the API.
const PATH: &str = "/graphql";
/// Bytes of a body or a socket's message.
const BODY: usize = 256 * 1024;

/// The routes `/graphql`, `/v1/events`, `/v1/cards/{card}/replay` and, when it is wanted, `/graphiql`.
pub fn router(state: QueryState) -> Router {
    let mut router = Router::new()
        .route(PATH, get(http::get).post(http::post))
        .route("/v1/cards/{card}/replay", get(crate::replay::replay))
        .merge(events::router());
    if state.graphiql {
        let page = GraphiQLSource::build().title("AgentWorks").endpoint(PATH).subscription_endpoint(PATH).finish();
        router = router.route("/graphiql", get(|| async { Html(page) }));
    }
    router.layer(DefaultBodyLimit::max(BODY)).with_state(state)
}

/// What resolvers need to know of the one who asks.
fn data(state: &QueryState, viewer: Viewer) -> Data {
    let mut data = Data::default();
    data.insert(loader(state.reading.log.clone(), state.keys.clone(), viewer.tenant));
    data.insert(viewer);
    data
}
