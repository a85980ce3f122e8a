//! The configuration: one typed struct, read once, at start, in the composition root.
//!
//! Every setting and its default stands in `config/defaults.toml`, which also says what overrides what. A [`Config`] that
//! exists is valid: a setting that is unknown, of the wrong type or out of range is an error that names the setting as the
//! operator wrote it (the variable, or the key and its file). Nothing else in the program reads the environment, and no
//! secret in here is ever printed: they are `SecretString`s.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

mod load;

pub use load::DEFAULTS;

/// The whole configuration. What each setting means is said in `config/defaults.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What this machine keeps; absolute once loaded.
    pub data_dir: PathBuf,
    /// The one address.
    pub http: Http,
    /// Postgres.
    pub database: Database,
    /// NATS.
    pub bus: Bus,
    /// The event log.
    pub log: Log,
    /// Ranges of the log that leave the database.
    pub archive: Archive,
    /// Tokens.
    pub auth: Auth,
    /// Stored secrets.
    pub secrets: Secrets,
    /// Proofs that nothing was altered.
    pub evidence: Evidence,
    /// Stores of other makers.
    pub object_store: ObjectStore,
    /// Development environments.
    pub environments: Environments,
    /// Background work.
    pub workers: Workers,
    /// Graceful stop.
    pub shutdown: Shutdown,
    /// Logs, traces, metrics.
    pub telemetry: Telemetry,
    /// The query API.
    pub graphql: Graphql,
    /// The stream of events.
    pub events: Events,
    /// The demonstration.
    pub demo: Demo,
    /// Where a test has this process die.
    #[serde(default)]
    pub crash: Crash,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where everything answers.
    pub address: SocketAddr,
    /// A larger request body is refused.
    pub max_body_bytes: usize,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The server to use instead of an embedded one.
    pub url: Option<SecretString>,
    /// Connections this process may hold.
    pub max_connections: u32,
}

/// `[bus]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// The server to use instead of an embedded one.
    pub url: Option<SecretString>,
    /// Size of the EVENTS stream.
    pub max_bytes: u64,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Parts with their own order.
    pub partitions: u16,
    /// Events that a load folds before it leaves a snapshot.
    pub snapshot_events: usize,
    /// What hot aggregates may take in memory.
    pub memory_bytes: usize,
}

/// `[archive]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The store's address.
    pub store: Option<String>,
    /// Full ranges of each partition that stay in the database.
    pub keep_ranges: u32,
}

/// `[auth]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// See [`Config::signing_key_file`].
    signing_key_file: Option<PathBuf>,
    /// Life of a minted token.
    pub token_hours: u32,
}

impl Auth {
    /// The longest life of a token: ten years.
    pub const MOST_HOURS: u32 = 87_600;
}

/// `[secrets]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// See [`Config::master_key_file`].
    master_key_file: Option<PathBuf>,
}

/// `[evidence]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What the installation calls itself in its checkpoints.
    pub name: String,
    /// See [`Config::evidence_key_file`].
    key_file: Option<PathBuf>,
    /// The longest that an event waits for a checkpoint.
    #[serde(rename = "interval_seconds", deserialize_with = "seconds")]
    pub interval: Duration,
    /// Events after which there is a checkpoint at once.
    pub max_events: usize,
    /// Where the platform's checkpoints are published.
    pub publish: Vec<String>,
}

/// `[object_store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectStore {
    /// What the store wants to know, by the names that it gives it.
    options: BTreeMap<String, SecretString>,
}

/// `[environments]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environments {
    /// Those that are sandboxed processes on this machine.
    pub local: LocalEnvironments,
}

/// `[environments.local]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalEnvironments {
    /// How far a run is confined.
    pub confinement: Confinement,
    /// Further paths of this machine that a sandbox sees.
    pub read_only_paths: Vec<PathBuf>,
    /// The executable inside, when it is not beside this one.
    pub pod_executable: Option<PathBuf>,
    /// Memory of one environment.
    pub memory_mib: u64,
}

/// How far a run is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confinement {
    /// Inside a sandbox, or not at all.
    Required,
    /// As a plain process, which the operator asked for by name.
    NoneIAcceptTheRisk,
}

/// `[workers]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// Runs at once.
    pub max_concurrent_runs: usize,
    /// Runs of one tenant at once, over all workers.
    pub max_runs_per_tenant: u32,
    /// Silence after which a job is lost to another worker.
    #[serde(rename = "lease_seconds", deserialize_with = "seconds")]
    pub lease: Duration,
    /// Longest wait of a run for a worker.
    #[serde(rename = "dispatch_timeout_seconds", deserialize_with = "seconds")]
    pub dispatch_timeout: Duration,
    /// Longest start of an environment.
    #[serde(rename = "start_timeout_seconds", deserialize_with = "seconds")]
    pub start_timeout: Duration,
}

/// `[shutdown]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Time for what is in flight.
    #[serde(rename = "grace_seconds", deserialize_with = "seconds")]
    pub grace: Duration,
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Where traces and metrics go.
    pub otlp_endpoint: Option<url::Url>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// `[graphql]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graphql {
    /// Whether the GraphiQL page is served.
    pub graphiql: bool,
    /// Deepest query.
    pub max_depth: usize,
    /// Costliest query.
    pub max_complexity: usize,
    /// How long one question may take.
    #[serde(rename = "query_seconds", deserialize_with = "seconds")]
    pub query_time: Duration,
    /// Subscriptions of one person or program at once.
    pub subscriptions_per_user: usize,
    /// The list of the only operations that are run.
    pub operations_file: Option<PathBuf>,
}

/// `[events]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Streams of one tenant at once.
    pub streams_per_tenant: usize,
}

/// `[demo]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// An account with Anthropic.
    pub anthropic_api_key: Option<SecretString>,
    /// An account with `OpenAI`.
    pub openai_api_key: Option<SecretString>,
}

/// `[crash]`: for `tests/crash` alone, hence in no documentation of settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// A point of [`outbox::crash::POINTS`], as `NAME` or `NAME:NTH`.
    pub at: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("cannot read the configuration file {path}: {source}; check the path and its permissions")]
    File {
        /// The file.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file is no TOML.
    #[error("the configuration file {path} is not valid TOML: {reason}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and what.
        reason: String,
    },
    /// There is no such setting.
    #[error("unknown setting {setting}; known here: {known}")]
    Unknown {
        /// As the operator wrote it.
        setting: String,
        /// What could stand there.
        known: String,
    },
    /// A setting has a value that cannot be.
    #[error("setting {setting}: {reason}")]
    Invalid {
        /// As the operator wrote it.
        setting: String,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// The working directory is gone or unreadable.
    #[error("cannot tell the working directory: {0}; start from an existing directory or make `data_dir` absolute")]
    WorkingDirectory(std::io::Error),
}

impl Config {
    /// What object stores want to know, by the names that they give it.
    pub fn store_options(&self) -> Vec<(String, String)> {
        let plain = |(name, value): (&String, &SecretString)| (name.clone(), value.expose_secret().to_owned());
        self.object_store.options.iter().map(plain).collect()
    }

    /// The key that signs tokens.
    pub fn signing_key_file(&self) -> PathBuf {
        self.auth.signing_key_file.clone().unwrap_or_else(|| self.data_dir.join("keys/signing.pk8"))
    }

    /// The key that seals stored secrets.
    pub fn master_key_file(&self) -> PathBuf {
        self.secrets.master_key_file.clone().unwrap_or_else(|| self.data_dir.join("keys/master.key"))
    }

    /// The keys that sign checkpoints, newest first. Their public keys stand beside it, in a file that ends in `.pub`.
    pub fn evidence_key_file(&self) -> PathBuf {
        self.evidence.key_file.clone().unwrap_or_else(|| self.data_dir.join("keys/evidence.key"))
    }

    /// What types cannot say. The setting is named by its key; the caller turns it into what the operator wrote.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let positive = [
            ("http.max_body_bytes", self.http.max_body_bytes as u64),
            ("bus.max_bytes", self.bus.max_bytes),
            ("log.partitions", self.log.partitions.into()),
            ("auth.token_hours", self.auth.token_hours.into()),
            ("evidence.interval_seconds", self.evidence.interval.as_secs()),
            ("evidence.max_events", self.evidence.max_events as u64),
            ("workers.max_concurrent_runs", self.workers.max_concurrent_runs as u64),
            ("workers.max_runs_per_tenant", self.workers.max_runs_per_tenant.into()),
            ("workers.dispatch_timeout_seconds", self.workers.dispatch_timeout.as_secs()),
            ("workers.start_timeout_seconds", self.workers.start_timeout.as_secs()),
            ("graphql.max_depth", self.graphql.max_depth as u64),
            ("graphql.max_complexity", self.graphql.max_complexity as u64),
            ("graphql.query_seconds", self.graphql.query_time.as_secs()),
            ("graphql.subscriptions_per_user", self.graphql.subscriptions_per_user as u64),
            ("events.streams_per_tenant", self.events.streams_per_tenant as u64),
        ];
        if let Some((setting, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err((setting, "must be at least 1".into()));
        }
        if self.auth.token_hours > Auth::MOST_HOURS {
            return Err(("auth.token_hours", format!("must be at most {}", Auth::MOST_HOURS)));
        }
        if self.database.max_connections < 4 {
            return Err((
                "database.max_connections",
                "must be at least 4: listener, relay, projections, requests".into(),
            ));
        }
        if self.graphql.max_depth > query_api::MAX_DEPTH {
            return Err(("graphql.max_depth", format!("must be at most {}", query_api::MAX_DEPTH)));
        }
        if self.workers.lease < Duration::from_secs(3) {
            return Err(("workers.lease_seconds", "must be at least 3: a heartbeat comes every third of it".into()));
        }
        if self.environments.local.memory_mib < 64 {
            return Err(("environments.local.memory_mib", "must be at least 64".into()));
        }
        if let Some(path) = self.environments.local.read_only_paths.iter().find(|path| !path.is_absolute()) {
            let reason = format!("`{}` must be an absolute path", path.display());
            return Err(("environments.local.read_only_paths", reason));
        }
        if self.evidence.name.is_empty() || self.evidence.name.contains(|c: char| c.is_whitespace() || c == '+') {
            return Err(("evidence.name", "must be a name without spaces and `+`, such as a domain's".into()));
        }
        for place in &self.evidence.publish {
            scheme("evidence.publish", Some(&place.as_str().into()), &["file", "http", "https", "s3"])?;
        }
        let store = self.archive.store.as_deref().map(SecretString::from);
        scheme("archive.store", store.as_ref(), &["file", "s3"])?;
        scheme("database.url", self.database.url.as_ref(), &["postgres", "postgresql"])?;
        scheme("bus.url", self.bus.url.as_ref(), &["nats", "tls"])?;
        let endpoint = self.telemetry.otlp_endpoint.as_ref().map(|url| SecretString::from(url.as_str()));
        scheme("telemetry.otlp_endpoint", endpoint.as_ref(), &["http", "https"])?;
        tracing_subscriber::EnvFilter::try_new(&self.telemetry.log_filter)
            .map_err(|error| ("telemetry.log_filter", format!("{error}; write it like `info,agentworks=debug`")))?;
        Ok(())
    }
}

/// A URL must parse and have one of `schemes`. It may hold a password, so it is not repeated.
fn scheme(setting: &'static str, url: Option<&SecretString>, schemes: &[&str]) -> Result<(), (&'static str, String)> {
    let Some(url) = url else { return Ok(()) };
    let fits = url::Url::parse(url.expose_secret()).is_ok_and(|url| schemes.contains(&url.scheme()));
    let wanted = || format!("must be a URL that starts with `{}://`", schemes.join("://` or `"));
    if fits { Ok(()) } else { Err((setting, wanted())) }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
