//! A model's vendor: answers what it was told to, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::serve;

/// A request that the vendor got.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Answer = (u16, &'static str, UnboundedReceiver<&'static str>);

/// A running vendor.
pub(crate) struct Vendor {
    pub(crate) base: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    answers: Mutex<Vec<Answer>>,
}

impl Vendor {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let base = serve(Router::new().fallback(handle).with_state(Arc::clone(&shared))).await;
        Self { base, shared }
    }

    /// The next answer: what is sent on the channel is its body, which ends with the channel.
    pub(crate) fn answers(
        &self,
        status: u16,
        content_type: &'static str,
    ) -> tokio::sync::mpsc::UnboundedSender<&'static str> {
        let (sender, receiver) = unbounded_channel();
        self.shared.answers.lock().unwrap().push((status, content_type, receiver));
        sender
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn handle(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    shared.asked.lock().unwrap().push(Asked { path: uri.path().to_owned(), headers, body });
    let (status, content_type, pieces) = shared.answers.lock().unwrap().remove(0);
    let body = UnboundedReceiverStream::new(pieces).map(Ok::<_, std::io::Error>);
    let headers = [("content-type", content_type), ("request-id", "req_1"), ("set-cookie", "tracking=1")];
    (StatusCode::from_u16(status).unwrap(), headers, Body::from_stream(body)).into_response()
}
