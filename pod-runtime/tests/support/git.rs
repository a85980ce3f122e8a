//! The repository that the control plane stands before.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use tokio::io::AsyncWriteExt as _;

/// A bare repository, its pushes counted by its own hook.
pub(crate) struct Origin {
    root: PathBuf,
    /// So many answers to pushes are lost after the push was done.
    pub(crate) lose_answers: AtomicU32,
}

impl Origin {
    pub(crate) fn create(root: &Path) -> Self {
        std::fs::create_dir_all(root.join("seed")).unwrap();
        let origin = Self { root: root.to_owned(), lose_answers: AtomicU32::new(0) };
        origin.git(&["init", "-q", "--bare", "-b", "main", "repository.git"]);
        origin.git(&["-C", "repository.git", "config", "http.receivepack", "true"]);
        let seed = root.join("seed");
        std::fs::write(seed.join("greet.sh"), "echo Hello\n").unwrap();
        std::fs::write(seed.join(".gitignore"), "/build\n/.agentworks\n").unwrap();
        std::fs::write(seed.join("test.sh"), "grep -q 'Hello, world' greet.sh || { echo 'no world'; exit 1; }\n")
            .unwrap();
        origin.git(&["init", "-q", "-b", "main", "seed"]);
        origin.git(&["-C", "seed", "add", "-A"]);
        origin.git(&["-C", "seed", "commit", "-q", "-m", "First"]);
        origin.git(&["-C", "seed", "push", "-q", "../repository.git", "main"]);
        origin.hook("post-receive", "while read line; do echo \"$line\" >> pushes; done");
        origin
    }

    /// Git in the folder of the repositories.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command().args(arguments).output().unwrap();
        assert!(status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// Git in the bare repository.
    pub(crate) fn bare(&self, arguments: &[&str]) -> String {
        self.git(&[&["-C", "repository.git"], arguments].concat())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.root).env_clear().env("PATH", std::env::var("PATH").unwrap());
        command.env("HOME", &self.root).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Seed").env(format!("GIT_{who}_EMAIL"), "seed@example.invalid");
        }
        command
    }

    pub(crate) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.root.join("repository.git/hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The references that pushes over HTTP have changed.
    pub(crate) fn pushes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.root.join("repository.git/pushes")).unwrap_or_default();
        text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    }

    /// Answers a request by `git http-backend`.
    pub(crate) async fn answer(&self, path: &str, request: Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let mut command = tokio::process::Command::from(self.command());
        command.arg("http-backend").env("GIT_PROJECT_ROOT", &self.root).env("GIT_HTTP_EXPORT_ALL", "1");
        command.env("REQUEST_METHOD", head.method.as_str()).env("PATH_INFO", format!("/repository.git/{path}"));
        command.env("QUERY_STRING", head.uri.query().unwrap_or("")).env("CONTENT_TYPE", header("content-type"));
        command.env("HTTP_CONTENT_ENCODING", header("content-encoding")).env("GIT_PROTOCOL", header("git-protocol"));
        command.env("CONTENT_LENGTH", body.len().to_string()).env("REMOTE_USER", "pod").env("REMOTE_ADDR", "127.0.0.1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feed = async move {
            let _ = stdin.write_all(&body).await;
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.unwrap().stdout;
        let lose = |left: u32| left.checked_sub(1);
        if path == "git-receive-pack"
            && self.lose_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok()
        {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        cgi(&output)
    }
}

fn cgi(output: &[u8]) -> Response<Body> {
    let end = output.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let mut answer = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        answer = match name {
            "Status" => answer.status(value.split(' ').next().unwrap().parse::<u16>().unwrap()),
            _ => answer.header(name, value),
        };
    }
    answer.body(Body::from(output[end + 4..].to_vec())).unwrap()
}
