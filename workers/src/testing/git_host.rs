//! A Git host over smart HTTP: a CGI front to `git http-backend`, with one repository and one token.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::serve;

/// What opens the repository.
pub(crate) const TOKEN: &str = "ght_secret_of_the_tenant";

/// A running host.
pub(crate) struct GitHost {
    root: TempDir,
    base: String,
}

impl GitHost {
    /// With one repository that has one commit on `main`.
    pub(crate) async fn start() -> Self {
        let root = TempDir::new().unwrap();
        let path = root.path().join("shop.git");
        git(root.path(), &["init", "-q", "--bare", "-b", "main", path.to_str().unwrap()]).await;
        git(&path, &["config", "http.receivepack", "true"]).await;
        let tree = git(&path, &["hash-object", "-w", "-t", "tree", "/dev/null"]).await;
        let commit = git(&path, &["commit-tree", "-m", "first", tree.trim()]).await;
        git(&path, &["update-ref", "refs/heads/main", commit.trim()]).await;
        let base = serve(Router::new().fallback(handle).with_state(root.path().to_owned())).await;
        Self { root, base }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/shop.git", self.base)
    }

    /// Where the repository lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join("shop.git")
    }

    /// The commit at the head of a branch, as Git itself says.
    pub(crate) async fn head(&self, branch: &str) -> Option<String> {
        let reference = format!("refs/heads/{branch}");
        let output = run(&self.path(), &["rev-parse", "--verify", "-q", &reference]).await;
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

/// Runs Git; what it says.
pub(crate) async fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments).await;
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs Git; how it ended.
pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@example.invalid"),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@example.invalid"),
        ("LC_ALL", "C"),
    ] {
        command.env(name, value);
    }
    command.output().await.unwrap()
}

async fn handle(State(root): State<PathBuf>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let wanted = format!("Basic {}", BASE64_STANDARD.encode(format!("x-access-token:{TOKEN}")));
    if head.headers.get(header::AUTHORIZATION).is_none_or(|value| value != wanted.as_str()) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic")], "no").into_response();
    }
    if !head.uri.path().starts_with("/shop.git/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
        .env("GIT_PROTOCOL", text("git-protocol"))
        .env("REMOTE_USER", "x")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move {
        let _broken = stdin.write_all(&body).await;
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            status = value[..3].parse().unwrap();
        } else {
            headers.insert(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
    }
    (status, headers, Body::from(output[end + 4..].to_vec())).into_response()
}
