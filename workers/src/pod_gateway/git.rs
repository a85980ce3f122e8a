//! The run's repository over smart HTTP: a proxy that adds the tenant's credential.
//!
//! Guarantees: bodies are streamed both ways; reading is the whole repository, writing is the run's own branch while its
//! attempt is the current one. Never: an answer of the repository that the pod would take for the end of its attempt
//! (401, 403, 410), or the tenant's credential towards the pod.

use std::io;

use access::Problem;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use command_api::vault::VaultError;
use domain::run::Task;
use futures::{StreamExt as _, TryStreamExt as _};
use outbox::crash;
use secrecy::SecretString;
use tracing::{debug, warn};

use super::Gateway;
use super::admission::{CurrentPod, Pod, try_again};
use super::push::{Blocked, List};
use crate::git::client::{authorization, part};
use crate::http::describe;

/// Bytes of a refused push that are read to its end, so that the pod reads the answer instead of a broken connection.
const MAX_DRAIN: usize = 256 * 1024 * 1024;

/// What a client of Git asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// The references, before a fetch or a push.
    References,
    /// Objects.
    Fetch,
    /// To take objects and change references.
    Push,
}

impl Ask {
    fn of(method: &Method, rest: &str, query: Option<&str>) -> Option<Self> {
        match (method.as_str(), rest, query) {
            ("GET", "info/refs", Some("service=git-upload-pack" | "service=git-receive-pack")) => {
                Some(Self::References)
            }
            ("POST", "git-upload-pack", None) => Some(Self::Fetch),
            ("POST", "git-receive-pack", None) => Some(Self::Push),
            _ => None,
        }
    }
}

/// Anything below [`schemas::pod::path::GIT`].
pub(super) async fn pass_on(
    State(gateway): State<Gateway>,
    method: Method,
    Path(rest): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let current = match gateway.admit_current(&headers).await {
        Ok(current) => current,
        Err(problem) => return refuse(&problem),
    };
    let Some(ask) = Ask::of(&method, &rest, query.as_deref()) else {
        return text(StatusCode::NOT_FOUND, "only fetching and pushing are possible here");
    };
    let body = match ask {
        Ask::References => Body::empty(),
        Ask::Fetch => body,
        Ask::Push => match guard(&current, &headers, body).await {
            Ok(body) => body,
            Err(answer) => return *answer,
        },
    };
    gateway.forward(&current, ask, &rest, query.as_deref(), &headers, body).await
}

/// An answer that Git shows to its user.
fn text(status: StatusCode, message: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{message}\n")).into_response()
}

/// Git asks for credentials only where it is told to.
fn refuse(problem: &Problem) -> Response {
    let mut answer = text(problem.status(), problem.detail());
    if problem.status() == StatusCode::UNAUTHORIZED {
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"agentworks\""));
    }
    answer
}

/// Reads the start of a push; the body again, when it may pass.
async fn guard(current: &CurrentPod, headers: &HeaderMap, body: Body) -> Result<Body, Box<Response>> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        // Git never compresses a push, whose packs are compressed already.
        return Err(Box::new(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a push must not be encoded")));
    }
    let mut stream = body.into_data_stream();
    let mut list = List::default();
    let read = loop {
        match stream.next().await {
            None => break Err(Blocked::Malformed("the push ended too early")),
            Some(Err(_)) => break Err(Blocked::Malformed("the push broke off")),
            Some(Ok(piece)) => match list.feed(&piece) {
                Ok(false) => {}
                other => break other,
            },
        }
    };
    match read.and_then(|_| list.check(current.task.branch.as_str())) {
        Ok(()) => {
            let start = futures::stream::iter([Ok(Bytes::from(list.into_read()))]);
            Ok(Body::from_stream(start.chain(stream.map_err(io::Error::other))))
        }
        Err(blocked) => {
            drain(stream).await;
            warn!(run = %current.pod.claims.run, ?blocked, "a push was refused");
            Err(Box::new(answer_blocked(&list, &blocked)))
        }
    }
}

fn answer_blocked(list: &List, blocked: &Blocked) -> Response {
    match blocked {
        Blocked::Malformed(problem) => text(StatusCode::BAD_REQUEST, problem),
        Blocked::References(references) => {
            let kind = [(header::CONTENT_TYPE, "application/x-git-receive-pack-result")];
            (kind, list.report(references)).into_response()
        }
    }
}

async fn drain(mut stream: BodyDataStream) {
    let mut drained = 0;
    while let Some(Ok(piece)) = stream.next().await {
        drained += piece.len();
        if drained > MAX_DRAIN {
            return;
        }
    }
}

impl Gateway {
    /// The tenant's credential for the run's repository, if it has one.
    pub(super) async fn credential(&self, pod: &Pod, task: &Task) -> Result<Option<SecretString>, VaultError> {
        match &task.repository.credential {
            Some(reference) => self.control.secret(pod.claims.tenant, reference).await,
            None => Ok(None),
        }
    }

    async fn forward(
        &self,
        current: &CurrentPod,
        ask: Ask,
        rest: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        body: Body,
    ) -> Response {
        let (pod, task) = (&current.pod, &current.task);
        let credential = match self.credential(pod, task).await {
            Ok(credential) => credential,
            Err(error) => {
                warn!(%error, "a repository's credential cannot be read");
                return refuse(&try_again());
            }
        };
        let Some(mut url) = part(task.repository.url.as_str(), rest) else {
            return text(StatusCode::BAD_GATEWAY, "the repository's address cannot be used");
        };
        url.set_query(query);
        let method = if ask == Ask::References { Method::GET } else { Method::POST };
        let mut request = match self.http.git(method, url) {
            Ok(request) => request,
            Err(error) => return text(StatusCode::BAD_GATEWAY, &format!("the repository's address: {error}")),
        };
        if let Some(credential) = &credential {
            request = request.header(header::AUTHORIZATION, authorization(credential));
        }
        let mut wanted = vec![header::ACCEPT, HeaderName::from_static("git-protocol")];
        if ask != Ask::References {
            wanted.extend([header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LENGTH]);
            request = request.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        for name in wanted {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        if ask == Ask::Push {
            crash::point("push.passing");
        }
        match request.send().await {
            Ok(answer) => pass_back(answer, ask),
            Err(error) => {
                let problem = describe(&error);
                warn!(error = problem, run = %pod.claims.run, "a repository cannot be reached");
                text(StatusCode::BAD_GATEWAY, &format!("the repository cannot be reached: {problem}"))
            }
        }
    }
}

/// The repository's answer. Its refusals are ours to explain: they are about the tenant's credential, not the pod's.
fn pass_back(answer: reqwest::Response, ask: Ask) -> Response {
    let status = answer.status();
    let problem = match status {
        StatusCode::OK => None,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(format!(
            "the repository refused the project's credential (HTTP {}): check that it is valid and may push",
            status.as_u16()
        )),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Some("the repository does not exist any more, or the project's credential does not open it".to_owned())
        }
        status if status.is_redirection() => Some("the repository has moved to another host".to_owned()),
        status => Some(format!("the repository answered HTTP {}", status.as_u16())),
    };
    if let Some(problem) = problem {
        debug!(%status, "a repository refused");
        return text(StatusCode::BAD_GATEWAY, &problem);
    }
    let mut headers = HeaderMap::new();
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CACHE_CONTROL] {
        if let Some(value) = answer.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let end = futures::stream::once(async move {
        if ask == Ask::Push {
            crash::point("push.done");
        }
        Ok(Bytes::new())
    });
    let body = answer.bytes_stream().map_err(|error| io::Error::other(describe(&error))).chain(end);
    (status, headers, Body::from_stream(body)).into_response()
}
