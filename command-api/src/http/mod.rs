//! The HTTP skin of the dispatcher: resources under `/v1`, one file a resource.
//!
//! A handler reads what is said, makes an [`Order`] of checked values, and gives it to the dispatcher; it decides nothing.
//! To add one: write it beside its siblings, name it in that file's `routes`; the contract follows by itself.

mod answer;
mod asked;
mod cards;
mod contract;
pub(crate) mod probe;
mod projects;
mod providers;
mod runs;
mod subjects;
mod tenants;
mod values;
mod workspaces;

use std::ops::Deref;
use std::sync::Arc;

use access::{Problem, Verifier};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;

use crate::vault::Vault;
use crate::{Answer, Caller, Dispatcher, Order, RepositoryProbe, Request};

/// What the handlers work with.
pub struct Api {
    /// Carries orders out.
    pub dispatcher: Dispatcher,
    /// Keeps secrets.
    pub vault: Vault,
    /// Tells who is asking.
    pub verifier: Verifier,
    /// Asks repositories.
    pub probe: Arc<dyn RepositoryProbe>,
    /// Bytes that a request's body may have; 1 MiB is enough for every valid one.
    pub max_body_bytes: usize,
}

/// It, as each request gets it: by one count, where a copy of all its parts would take many.
#[derive(Clone)]
struct Shared(Arc<Api>);

impl Deref for Shared {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.0
    }
}

impl Api {
    async fn send(&self, caller: &Caller, request: Request, order: Order) -> Result<Answer, Problem> {
        Ok(Box::pin(self.dispatcher.dispatch(caller, request, order)).await?)
    }
}

fn resources() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(tenants::routes())
        .merge(workspaces::routes())
        .merge(providers::routes())
        .merge(projects::routes())
        .merge(cards::routes())
        .merge(runs::routes())
        .merge(subjects::routes())
}

/// Every command over HTTP, under `/v1`. Nothing outside it is touched, so it can be merged with other routers.
pub fn router(api: Api) -> Router {
    let (resources, _) = resources().split_for_parts();
    let resources = resources
        .layer(DefaultBodyLimit::max(api.max_body_bytes))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "path_unknown", "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            let detail = "this path does not take this method; the `Allow` header names those it takes";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        });
    Router::new().nest("/v1", resources).with_state(Shared(Arc::new(api)))
}

/// The contract of [`router`]: `OpenAPI` 3.1, with every path, header, answer and refusal.
pub fn openapi() -> utoipa::openapi::OpenApi {
    contract::complete(OpenApiRouter::<Shared>::new().nest("/v1", resources()).into_openapi())
}
