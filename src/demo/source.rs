//! What the demo works with: a repository served over HTTP, and a model's vendor.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;

use super::Options;
use super::git_host::{Access, GitHost};
use super::sample_repository::{self, DemoCard};
use super::scripted_model::ScriptedModel;
use crate::config::Config;

/// A repository that the installation reaches over HTTP.
pub(super) struct Source {
    /// Its address.
    pub url: String,
    /// The credential, if it wants one.
    pub credential: Option<String>,
    /// The branch to start from, if one was named.
    pub branch: Option<String>,
    /// The cards that suit it.
    pub cards: [DemoCard; 3],
    /// Where `git` finds it on this machine; `None` when it is elsewhere.
    pub folder: Option<PathBuf>,
    host: Option<GitHost>,
}

impl Source {
    /// The repository that was named, or a new sample.
    pub(super) async fn open(folder: &Path, options: &Options) -> anyhow::Result<Self> {
        let branch = options.branch.clone();
        match &options.repository {
            None => {
                let host = GitHost::start(folder.join("repositories"))?;
                let name = format!("sample-{:06x}", unique());
                host.create_repository(&name, &sample_repository::files()).await?;
                Self::hosted(host, &name, sample_repository::cards(), branch)
            }
            Some(address) if address.starts_with("http://") || address.starts_with("https://") => Ok(Self {
                url: address.clone(),
                credential: options.repository_token.clone(),
                branch,
                cards: sample_repository::generic_cards(),
                folder: None,
                host: None,
            }),
            Some(path) => {
                let path = path.strip_prefix("file://").unwrap_or(path);
                let path = Path::new(path).canonicalize().with_context(|| {
                    format!("there is no repository at `{path}`; name a folder on this machine or an http(s) address")
                })?;
                let host = GitHost::start(folder.join("repositories"))?;
                let name = format!("yours-{:06x}", unique());
                host.serve_repository(&name, &path)
                    .await
                    .with_context(|| format!("`{}` cannot be served as a Git repository", path.display()))?;
                Self::hosted(host, &name, sample_repository::generic_cards(), branch)
            }
        }
    }

    fn hosted(host: GitHost, name: &str, cards: [DemoCard; 3], branch: Option<String>) -> anyhow::Result<Self> {
        let credential = host.issue_token(name, Access::ReadWrite, None)?;
        Ok(Self {
            url: host.url(name),
            credential: Some(credential),
            branch,
            cards,
            folder: Some(host.path(name)),
            host: Some(host),
        })
    }

    /// What `git` says of a pushed branch: its head must be `commit`.
    pub(super) async fn verify(&self, branch: &str, commit: &str) -> anyhow::Result<()> {
        let reference = format!("refs/heads/{branch}");
        let listing = match &self.folder {
            Some(folder) => self.git(&["--git-dir", &folder.display().to_string(), "rev-parse", &reference]).await?,
            None => self.git(&["ls-remote", &self.url, &reference]).await?,
        };
        match listing.split_whitespace().next() {
            Some(head) if head == commit => Ok(()),
            Some(head) => bail!("git finds {head} at the head of {branch}, not {commit}"),
            None => bail!("git finds no branch {branch} in {}", self.url),
        }
    }

    /// The last change of a branch as `git` shows it; `None` when the repository is elsewhere.
    pub(super) async fn diff(&self, base: &str, commit: &str) -> anyhow::Result<Option<String>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let folder = folder.display().to_string();
        self.git(&["--git-dir", &folder, "diff", "--stat", "--patch", base, commit]).await.map(Some)
    }

    async fn git(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("git");
        command.args(["-c", "safe.directory=*"]).args(args);
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_PAGER", "cat");
        if let (None, Some(token)) = (&self.folder, &self.credential) {
            use base64::Engine;
            let basic = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
            // By the environment, so that no other user of the machine sees it among the arguments.
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "http.extraHeader")
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {basic}"));
        }
        let output = command.output().await.context("git cannot be run")?;
        if !output.status.success() {
            bail!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Stops serving.
    pub(super) fn close(mut self) {
        if let Some(host) = &mut self.host {
            host.stop();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a name that no earlier demo took; nothing depends on it")]
fn unique() -> u32 {
    rand::rng().random_range(0..0x0100_0000)
}

/// The model's vendor that the demo uses.
pub(super) enum Vendor {
    /// A real one, with the key that was set.
    Real {
        /// `anthropic` or `openai`.
        kind: &'static str,
        /// The key.
        key: SecretString,
        /// The model to use.
        model: &'static str,
    },
    /// A script, over HTTP, in Anthropic's protocol.
    Scripted(ScriptedModel),
}

/// The key that the scripted model takes.
const SCRIPTED_KEY: &str = "scripted-demo-key";

impl Vendor {
    /// The real vendor whose key is set, else the script.
    pub(super) fn choose(config: &Config) -> anyhow::Result<Self> {
        let key = |key: &Option<SecretString>| key.clone().filter(|key| !key.expose_secret().is_empty());
        if let Some(key) = key(&config.demo.anthropic_api_key) {
            return Ok(Self::Real { kind: "anthropic", key, model: "claude-sonnet-4-5" });
        }
        if let Some(key) = key(&config.demo.openai_api_key) {
            return Ok(Self::Real { kind: "openai", key, model: "gpt-5" });
        }
        Ok(Self::Scripted(ScriptedModel::start(SCRIPTED_KEY)?))
    }

    /// The body that registers it as a provider.
    pub(super) fn registration(&self) -> serde_json::Value {
        match self {
            Self::Real { kind, key, model } => serde_json::json!({
                "name": "Demo", "kind": kind, "key": key.expose_secret(), "default_model": model,
            }),
            Self::Scripted(model) => serde_json::json!({
                "name": "Scripted model", "kind": "anthropic", "key": SCRIPTED_KEY,
                "base_url": model.base_url(), "default_model": "scripted-1",
            }),
        }
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Real { kind, model, .. } => format!("{kind} ({model}), with the key from the environment"),
            Self::Scripted(model) => format!(
                "a scripted one at {}, in Anthropic's protocol (set ANTHROPIC_API_KEY or OPENAI_API_KEY for a real one)",
                model.base_url()
            ),
        }
    }
}
