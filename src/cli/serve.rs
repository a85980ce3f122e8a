//! `agentworks serve`: some roles against configured servers.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::roles::{self, Role};
use crate::servers::Servers;
use crate::{shutdown, telemetry};

/// Arguments of `agentworks serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What this process does; several with commas.
    #[arg(long, value_delimiter = ',', required = true, value_name = "ROLES")]
    roles: Vec<RoleArg>,
    /// Bring the schema up to date first; without it, an old schema is an error.
    #[arg(long)]
    migrate: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleArg {
    CommandApi,
    QueryApi,
    Relay,
    Projections,
    Workers,
    All,
}

impl Args {
    fn roles(&self) -> BTreeSet<Role> {
        self.roles
            .iter()
            .flat_map(|role| match role {
                RoleArg::CommandApi => vec![Role::CommandApi],
                RoleArg::QueryApi => vec![Role::QueryApi],
                RoleArg::Relay => vec![Role::Relay],
                RoleArg::Projections => vec![Role::Projections],
                RoleArg::Workers => vec![Role::Workers],
                RoleArg::All => Role::ALL.to_vec(),
            })
            .collect()
    }
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    if config.database.url.is_none() || config.bus.url.is_none() {
        bail!(
            "`serve` wants servers of its own to be named: set DATABASE_URL and NATS_URL (database.url and bus.url), \
             or use `agentworks up`, which starts private ones"
        );
    }
    let telemetry = telemetry::init(&config.telemetry, "agentworks")?;
    let listener = TcpListener::bind(config.http.address)
        .await
        .with_context(|| format!("cannot listen on {} (http.address)", config.http.address))?;
    let servers = Servers::start(&config).await?;
    if args.migrate {
        servers.migrate(&config).await?;
    }
    let stop = shutdown::on_signal();
    let roles: Vec<Role> = args.roles().into_iter().collect();
    let running = roles::start(&config, &servers, &roles, listener, telemetry.metrics(), stop.clone()).await?;
    tracing::info!(address = %config.http.address, ?roles, "serving");
    // Until a signal, or until a part fails: the others without it would look alive and do nothing.
    let outcome = running.stopped().await;
    telemetry.shutdown();
    outcome
}
