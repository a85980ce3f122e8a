//! The pods' door: `schemas::pod::path` over HTTP.
//!
//! Guarantees: every request carries the token of an attempt that is current, or it is answered 401 or 410; a pod reaches
//! its own run, the model of its own task, and its own project's repository, of which it may write its own branch only.
//! Never: the tenant's keys towards a pod, a pod's token towards anybody else, and either of them in a log.

mod admission;
mod attempt;
mod git;
mod models;
mod push;
mod report;
#[cfg(test)]
mod tests;
mod traces;
mod usage;
mod vendor;

use access::Verifier;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use schemas::pod::path;
use sqlx::PgPool;
use url::Url;

use crate::control::Control;
use crate::http::Http;

/// Bytes that a request other than a push may have.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// What the handlers need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) control: Control,
    /// Role `agentworks_worker`.
    pub(crate) pool: PgPool,
    pub(crate) http: Http,
    pub(crate) verifier: Verifier,
    /// The collector, if there is one.
    pub(crate) otlp: Option<Url>,
}

/// The routes.
pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new()
        .route(path::JOB, get(attempt::job))
        .route(path::HEARTBEAT, post(attempt::heartbeat))
        .route(path::STEPS, post(attempt::step))
        .route(path::RESULT, post(report::result))
        .route(path::TRACES, post(traces::pass_on))
        .route(&format!("{}/{{*rest}}", path::MODELS), post(models::call))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // A pack may be of any size; it is never held in memory.
        .route(&format!("{}/{{*rest}}", path::GIT), any(git::pass_on))
        .with_state(gateway)
}
