//! How requests come in: POST, GET, WebSocket and server-sent events at `/graphql`, and a page to ask from at `/graphiql`.

mod answer;
mod asked;
mod documents;
mod examples;
mod http;
mod messages;
mod socket;
mod sse;

use std::sync::Arc;

use async_graphql::http::GraphiQLSource;
use async_graphql::parser::types::OperationType;
use async_graphql::{Data, Request, Response as Answer};
use axum::response::Html;
use axum::routing::get;
use axum::{Router, extract::DefaultBodyLimit};
pub(crate) use documents::Documents;
pub use documents::{ManifestError, Operations};
use futures::StreamExt as _;
use futures::future::ready;
use futures::stream::{BoxStream, once};
use tokio::time::timeout;

use crate::error::too_late;
use crate::loader::loader;
use crate::state::QueryState;
use crate::viewer::Viewer;
use crate::{events, guard};

/// The path of the API.
const PATH: &str = "/graphql";
/// Bytes of a body or a socket's message.
const BODY: usize = 256 * 1024;

/// The routes `/graphql`, `/v1/events`, `/v1/cards/{card}/replay` and, when they are wanted, `/graphiql` and
/// `/examples/board`.
pub fn router(state: QueryState) -> Router {
    let mut router = Router::new()
        .route(PATH, get(http::get).post(http::post))
        .route("/v1/cards/{card}/replay", get(crate::replay::replay))
        .merge(events::router());
    if state.graphiql {
        let page = GraphiQLSource::build().title("AgentWorks").endpoint(PATH).subscription_endpoint(PATH).finish();
        router = router.route("/graphiql", get(|| async { Html(page) })).merge(examples::router());
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

/// Runs an operation: a question gives one answer, in time; a subscription gives many.
fn run(state: &QueryState, mut request: Request, data: Arc<Data>) -> BoxStream<'static, Answer> {
    let follows = match guard::admit(&mut request) {
        Ok(document) => {
            (document.operations.iter()).any(|(_, operation)| operation.node.ty == OperationType::Subscription)
        }
        Err(why) => return once(ready(guard::refused(why))).boxed(),
    };
    let answers = state.schema.execute_stream_with_session_data(request, data);
    let (time, mut answers) = (state.time, answers.map(guard::with_codes).boxed());
    if follows {
        return answers;
    }
    let answer = async move {
        let answer = timeout(time, answers.next()).await;
        answer.ok().flatten().unwrap_or_else(|| too_late(time))
    };
    once(answer).boxed()
}
