//! The control plane's side of the pod protocol.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use schemas::pod::{HeartbeatAnswer, Job, Report, Step, path};
use serde_json::Value;
use tokio::sync::watch;

use super::TOKEN;
use super::git::Origin;
use super::model::Turn;

pub(crate) struct Fake {
    pub(crate) job: Mutex<Job>,
    pub(crate) turns: Mutex<VecDeque<Turn>>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) steps: Mutex<Vec<Step>>,
    pub(crate) reports: Mutex<Vec<Report>>,
    /// The bodies of the questions to the model.
    pub(crate) questions: Mutex<Vec<Value>>,
    pub(crate) traces: Mutex<Vec<u8>>,
    /// The `traceparent` of every request.
    pub(crate) parents: Mutex<Vec<String>>,
    /// What heartbeats are told.
    pub(crate) go_on: AtomicBool,
    /// Steps are answered with 410.
    pub(crate) gone: AtomicBool,
    /// So many requests are answered with 503 first.
    pub(crate) away: AtomicU32,
    /// How many questions the model was asked.
    pub(crate) asked: watch::Sender<usize>,
}

type Shared = State<Arc<Fake>>;

impl Fake {
    pub(crate) fn new(job: Job, turns: Vec<Turn>, origin: Arc<Origin>) -> Self {
        Self {
            job: Mutex::new(job),
            turns: Mutex::new(turns.into()),
            origin,
            steps: Mutex::default(),
            reports: Mutex::default(),
            questions: Mutex::default(),
            traces: Mutex::default(),
            parents: Mutex::default(),
            go_on: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            away: AtomicU32::new(0),
            asked: watch::Sender::new(0),
        }
    }

    fn next(&self, question: &[u8]) -> Turn {
        self.questions.lock().unwrap().push(serde_json::from_slice(question).unwrap());
        self.asked.send_modify(|count| *count += 1);
        self.turns.lock().unwrap().pop_front().unwrap_or(Turn::Say("I have nothing more to say."))
    }
}

/// Serves on a free port; its address.
pub(crate) async fn serve(fake: Arc<Fake>) -> String {
    let router = Router::new()
        .route(path::JOB, get(job))
        .route(path::HEARTBEAT, post(heartbeat))
        .route(path::STEPS, post(step))
        .route(path::RESULT, post(result))
        .route(path::TRACES, post(traces))
        .route(&format!("{}/v1/messages", path::MODELS), post(anthropic))
        .route(&format!("{}/v1/chat/completions", path::MODELS), post(openai))
        .route(&format!("{}/{{*rest}}", path::GIT), any(git))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&fake), gate))
        .with_state(fake);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// Only the pod's token opens anything.
async fn gate(State(fake): Shared, request: Request, next: axum::middleware::Next) -> Response<Body> {
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let bearer = header("authorization") == Some(format!("Bearer {TOKEN}"));
    if !bearer && header("x-api-key").as_deref() != Some(TOKEN) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    fake.parents.lock().unwrap().extend(header("traceparent"));
    let is_away = fake.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    if is_away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

async fn job(State(fake): Shared) -> Json<Job> {
    Json(fake.job.lock().unwrap().clone())
}

async fn heartbeat(State(fake): Shared) -> Json<HeartbeatAnswer> {
    Json(HeartbeatAnswer { go_on: fake.go_on.load(Ordering::SeqCst) })
}

async fn step(State(fake): Shared, Json(step): Json<Step>) -> StatusCode {
    if fake.gone.load(Ordering::SeqCst) {
        return StatusCode::GONE;
    }
    fake.steps.lock().unwrap().push(step);
    StatusCode::NO_CONTENT
}

async fn result(State(fake): Shared, Json(report): Json<Report>) {
    fake.reports.lock().unwrap().push(report);
}

async fn traces(State(fake): Shared, body: Bytes) {
    fake.traces.lock().unwrap().extend(body);
}

async fn anthropic(State(fake): Shared, body: Bytes) -> Response<Body> {
    fake.next(&body).anthropic()
}

async fn openai(State(fake): Shared, body: Bytes) -> Response<Body> {
    fake.next(&body).openai()
}

async fn git(State(fake): Shared, Path(rest): Path<String>, request: Request) -> Response<Body> {
    fake.origin.answer(&rest, request).await
}
