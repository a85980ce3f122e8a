//! The HTTP side of the Git host: authentication, faults, and a CGI front to `git http-backend`.
//!
//! Guarantees: nothing is started for a request that is not authorized; bodies are streamed both ways, gzip-encoded and
//! chunked ones included; a client that goes away leaves no process behind. Never: buffers a pack.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::TryStreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::ChildStdin;
use tokio_util::io::{ReaderStream, StreamReader};

use super::repository::{Repository, http_backend, is_name};
use super::{Access, Fault, Operation, Shared};

/// Header lines taken from the backend at most.
const MAX_HEADERS: usize = 64;

/// The routes of the host.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

/// What a request wants.
struct Target {
    repository: String,
    operation: Operation,
    needs: Access,
}

impl Target {
    fn parse(method: &Method, path: &str, query: &str) -> Option<Self> {
        let (repository, action) = path.strip_prefix('/')?.split_once(".git/")?;
        let (operation, needs) = match (method.as_str(), action, query) {
            ("GET", "info/refs", "service=git-upload-pack") => (Operation::Discover, Access::ReadOnly),
            ("GET", "info/refs", "service=git-receive-pack") => (Operation::Discover, Access::ReadWrite),
            ("POST", "git-upload-pack", _) => (Operation::Fetch, Access::ReadOnly),
            ("POST", "git-receive-pack", _) => (Operation::Push, Access::ReadWrite),
            _ => return None,
        };
        is_name(repository).then(|| Self { repository: repository.to_owned(), operation, needs })
    }
}

async fn handle(State(host): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let Some(target) = Target::parse(&head.method, head.uri.path(), query) else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    if let Err(refusal) = authorize(&host, &head.headers, &target) {
        return *refusal;
    }
    let fault = host.take_fault(target.operation);
    match fault {
        Some(Fault::Status(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (status, "the host was told to fail\n").into_response();
        }
        Some(Fault::Hang) => {
            host.hanging.send_modify(|count| *count += 1);
            std::future::pending::<()>().await;
        }
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::LoseAnswer | Fault::HoldAnswer) | None => {}
    }
    let answer = match run_backend(&host, &target.repository, &head, body).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, repository = %target.repository, "git http-backend failed");
            return (StatusCode::BAD_GATEWAY, "the backend failed\n").into_response();
        }
    };
    match fault {
        Some(Fault::LoseAnswer) => lose(answer).await,
        Some(Fault::HoldAnswer) => {
            // The backend has done its work only when its answer has come to its end.
            let _done = lose(answer).await;
            host.hanging.send_modify(|count| *count += 1);
            std::future::pending().await
        }
        _ => answer,
    }
}

/// Refuses all that a good token does not open; what does not exist looks like what the token does not open.
fn authorize(host: &Shared, headers: &HeaderMap, target: &Target) -> Result<(), Box<Response>> {
    let grant = token(headers)
        .and_then(|token| host.grant(&token))
        .filter(|grant| grant.repository == target.repository)
        .filter(|_| Repository::open(&host.root, &target.repository).is_ok());
    let refusal = match grant {
        None => {
            let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"git\"")];
            (StatusCode::UNAUTHORIZED, challenge, "authentication failed\n").into_response()
        }
        Some(grant) if target.needs == Access::ReadWrite && grant.access == Access::ReadOnly => {
            (StatusCode::FORBIDDEN, "this token only reads\n").into_response()
        }
        Some(_) => return Ok(()),
    };
    Err(Box::new(refusal))
}

fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    (scheme.eq_ignore_ascii_case("basic") && user == "x-access-token").then(|| password.to_owned())
}

/// Runs the backend and answers as soon as it has written its headers.
async fn run_backend(host: &Shared, repository: &str, head: &Parts, body: Body) -> io::Result<Response> {
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let protocol = text(HeaderName::from_static("git-protocol"));
    let variables = [
        ("REQUEST_METHOD", Some(head.method.as_str())),
        ("PATH_INFO", Some(head.uri.path())),
        ("QUERY_STRING", Some(head.uri.query().unwrap_or_default())),
        ("CONTENT_TYPE", text(CONTENT_TYPE)),
        ("CONTENT_LENGTH", text(CONTENT_LENGTH)),
        ("HTTP_CONTENT_ENCODING", text(CONTENT_ENCODING)),
        ("HTTP_GIT_PROTOCOL", protocol),
        ("GIT_PROTOCOL", protocol),
        ("REMOTE_USER", Some("x-access-token")),
        ("REMOTE_ADDR", Some("127.0.0.1")),
        ("PATH_TRANSLATED", None),
    ];
    let mut command = http_backend(&host.root, repository);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the backend has no pipes"));
    };
    tokio::spawn(async move {
        feed(body, stdin).await;
        let _ = child.wait().await;
    });
    let mut output = BufReader::new(stdout);
    let (status, headers) = read_head(&mut output).await?;
    let mut answer = Response::new(Body::from_stream(ReaderStream::new(output)));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    Ok(answer)
}

/// Passes the request's body on; its end, or the client's, is the end of the backend's input.
async fn feed(body: Body, mut stdin: ChildStdin) {
    let mut reader = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    if let Err(error) = tokio::io::copy_buf(&mut reader, &mut stdin).await {
        tracing::debug!(%error, "a request body was not taken whole");
    }
    let _ = stdin.shutdown().await;
}

/// Reads the CGI headers, up to the empty line.
async fn read_head<R>(output: &mut BufReader<R>) -> io::Result<(StatusCode, HeaderMap)>
where
    R: AsyncRead + Unpin,
{
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed CGI header");
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for _ in 0..MAX_HEADERS {
        let mut line = String::new();
        if output.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            status = code.parse().map_err(|_| malformed())?;
        } else {
            let name: HeaderName = name.parse().map_err(|_| malformed())?;
            headers.append(name, HeaderValue::from_str(value).map_err(|_| malformed())?);
        }
    }
    Err(malformed())
}

/// Lets the backend finish, then breaks the connection off.
async fn lose(answer: Response) -> Response {
    let mut body = answer.into_body().into_data_stream();
    while let Ok(Some(_)) = body.try_next().await {}
    let cut = futures::stream::iter([Err::<bytes::Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset))]);
    Response::new(Body::from_stream(cut))
}
