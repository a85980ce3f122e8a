//! `agentworks demo`: the product at work.

use std::time::Instant;

use access::Role as TokenRole;
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::demo::{self, Client, Options, Screen};
use crate::embedded::EmbeddedError;
use crate::roles::{self, Role};
use crate::servers::Servers;
use crate::{telemetry, tokens};

/// Arguments of `agentworks demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Work on this repository: a path on this machine or an http(s) address. Only branches `aw/…` are pushed.
    #[arg(long, value_name = "PATH|URL")]
    repo: Option<String>,
    /// The credential for an address that wants one.
    #[arg(long, env = "AGENTWORKS_DEMO_REPO_TOKEN", hide_env_values = true, value_name = "TOKEN", requires = "repo")]
    repo_token: Option<String>,
    /// The branch to start from; the repository's default branch when absent.
    #[arg(long)]
    branch: Option<String>,
    /// Go on serving at the end, until ctrl-C.
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(mut config: Config, args: Args) -> anyhow::Result<()> {
    // The demo has its own account of what happens; the log is for when something goes wrong.
    "error,agentworks::http=off".clone_into(&mut config.telemetry.log_filter);
    let telemetry = telemetry::init(&config.telemetry, "agentworks")?;
    let options = Options { repository: args.repo, repository_token: args.repo_token, branch: args.branch };
    let mut screen = Screen::stdout();
    let started = Instant::now();
    screen.now("starting Postgres and NATS");
    let operator = tokens::mint(&config, None, TokenRole::Operator, "demo", 1)?;
    let outcome = match Servers::start(&config).await {
        Ok(servers) => {
            let installation = Installation::start(&config, servers, telemetry.metrics()).await?;
            screen.done(&format!(
                "everything is up on {} ({:.1} s)",
                installation.base,
                started.elapsed().as_secs_f64()
            ));
            let client = Client::new(&installation.base, &operator);
            let outcome = demo::play(&config, &options, &client, &mut screen).await;
            if args.keep && outcome.is_ok() {
                screen.line("Serving until ctrl-C.");
                crate::shutdown::on_signal().cancelled().await;
            }
            installation.stop().await?;
            outcome
        }
        Err(error) if matches!(error.downcast_ref(), Some(EmbeddedError::InUse { .. })) => {
            let base = format!("http://{}", config.http.address);
            screen.done(&format!("using the agentworks that is already running on {base}"));
            demo::play(&config, &options, &Client::new(&base, &operator), &mut screen).await
        }
        Err(error) => Err(error),
    };
    telemetry.shutdown();
    outcome
}

/// Everything in this process, for as long as the demo lasts.
struct Installation {
    base: String,
    servers: Servers,
    running: roles::Running,
    stop: CancellationToken,
}

impl Installation {
    async fn start(config: &Config, servers: Servers, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        servers.migrate(config).await?;
        // Somebody else's program on the usual port must not spoil the demo.
        let listener = match TcpListener::bind(config.http.address).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((config.http.address.ip(), 0)).await.context("no port is free")?,
        };
        let base = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let running = roles::start(config, &servers, &Role::ALL, listener, metrics, stop.clone()).await?;
        Ok(Self { base, servers, running, stop })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.running.stopped().await?;
        self.servers.stop().await
    }
}
