//! How Git is called.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::control_plane::ControlPlane;
use crate::text::tail;

/// Settings that stand above whatever a configuration file says.
const SETTINGS: [&str; 21] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.sshCommand=false",
    "core.quotePath=false",
    "core.autocrlf=false",
    "commit.gpgSign=false",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.followRedirects=false",
    "http.proxy=",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=120",
    "protocol.allow=never",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "push.followTags=false",
    "safe.directory=*",
];

/// Why Git did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum GitError {
    #[error("{message}")]
    Failed {
        /// What it said on standard output.
        output: String,
        /// What it complained about, for people.
        message: String,
    },
    #[error("git could not be run: {0}")]
    Io(#[from] std::io::Error),
}

/// Git with settings of our own only.
pub(super) struct Git {
    path: String,
    home: PathBuf,
    control_plane: ControlPlane,
}

impl Git {
    pub(super) fn new(path: &str, home: &Path, control_plane: &ControlPlane) -> Self {
        Self { path: path.to_owned(), home: home.to_owned(), control_plane: control_plane.clone() }
    }

    /// Runs Git without the token.
    pub(super) async fn local(
        &self,
        folder: &Path,
        environment: &[(&str, &Path)],
        arguments: &[&str],
    ) -> Result<String, GitError> {
        self.with_input(folder, environment, arguments, b"").await
    }

    /// Runs Git without the token, with this on its standard input.
    pub(super) async fn with_input(
        &self,
        folder: &Path,
        environment: &[(&str, &Path)],
        arguments: &[&str],
        input: &[u8],
    ) -> Result<String, GitError> {
        let mut command = self.command(folder);
        command.envs(environment.iter().copied()).args(arguments);
        self.run(command, input).await
    }

    /// Runs Git with the token in its environment. No process of the agent may be alive.
    pub(super) async fn remote(&self, folder: &Path, arguments: &[&str]) -> Result<String, GitError> {
        let mut command = self.command(folder);
        let authorization = format!("Authorization: {}", self.control_plane.token().bearer());
        let trace = self.control_plane.traceparent().map(|it| format!("traceparent: {it}"));
        let headers: Vec<String> = [authorization].into_iter().chain(trace).collect();
        command.env("GIT_CONFIG_COUNT", headers.len().to_string());
        for (number, header) in headers.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), "http.extraHeader");
            command.env(format!("GIT_CONFIG_VALUE_{number}"), header);
        }
        command.args(arguments);
        self.run(command, b"").await
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("LC_ALL", "C.UTF-8");
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "false"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_AUTHOR_NAME", super::NAME),
            ("GIT_AUTHOR_EMAIL", super::EMAIL),
            ("GIT_COMMITTER_NAME", super::NAME),
            ("GIT_COMMITTER_EMAIL", super::EMAIL),
        ] {
            command.env(name, value);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.current_dir(folder).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn run(&self, mut command: Command, input: &[u8]) -> Result<String, GitError> {
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // Git that ends before it has read everything says why itself.
                let _ = stdin.write_all(input).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let message = self.complaint(&String::from_utf8_lossy(&output.stderr));
        Err(GitError::Failed { output: text, message })
    }

    /// What Git wrote on standard error, without the token and its own chatter.
    fn complaint(&self, stderr: &str) -> String {
        let lines = stderr.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with("hint:"));
        let text = lines.collect::<Vec<_>>().join("\n");
        let text = if text.is_empty() { "git failed and did not say why".to_owned() } else { text };
        self.control_plane.token().redact(tail(&text, 1_500))
    }
}
