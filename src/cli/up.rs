//! `agentworks up`: everything in one process.

use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Instant;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::demo::Client;
use crate::roles::{self, Role};
use crate::servers::Servers;
use crate::{shutdown, telemetry, tokens};

/// Arguments of `agentworks up`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not print the demo owner's token.
    #[arg(long)]
    quiet: bool,
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let telemetry = telemetry::init(&config.telemetry, "agentworks")?;
    let listener = TcpListener::bind(config.http.address).await.with_context(|| {
        format!("cannot listen on {}: set another http.address (AGENTWORKS_HTTP__ADDRESS)", config.http.address)
    })?;
    let mut servers = Servers::start(&config).await?;
    servers.migrate(&config).await?;
    let stop = shutdown::on_signal();
    let address = listener.local_addr()?;
    let running = roles::start(&config, &servers, &Role::ALL, listener, telemetry.metrics(), stop.clone()).await?;
    let mut stopped = pin!(running.stopped());
    let outcome = tokio::select! {
        outcome = &mut stopped => outcome,
        error = failed(&mut servers, &config, &args, address, started) => {
            stop.cancel();
            // What a part says of its end is nearer to the cause.
            stopped.await.and(Err(error))
        }
    };
    servers.stop().await?;
    telemetry.shutdown();
    outcome
}

/// Says that all is up; then waits until a server of ours ends, or this process cannot be asked.
async fn failed(
    servers: &mut Servers,
    config: &Config,
    args: &Args,
    address: SocketAddr,
    started: Instant,
) -> anyhow::Error {
    if !args.quiet
        && let Err(error) = announce(config, address, started).await
    {
        return error;
    }
    servers.failed().await
}

async fn announce(config: &Config, address: SocketAddr, started: Instant) -> anyhow::Result<()> {
    let operator = tokens::mint(config, None, access::Role::Operator, "demo", 1)?;
    let tenant = tokens::demo_tenant(&Client::new(&format!("http://{address}"), &operator)).await?;
    let token = tokens::demo_owner(config, tenant)?;
    let hours = config.auth.token_hours;
    let seconds = started.elapsed().as_secs_f64();
    let said = format!(
        "agentworks is ready on http://{address} ({seconds:.1} s)\n  \
             commands  http://{address}/v1        contract: http://{address}/openapi.json\n  \
             queries   http://{address}/graphql   to explore: http://{address}/graphiql\n  \
             token     {token}\n            \
             (owner of the demo's tenant, {hours} h; others: agentworks token --help)\n"
    );
    // Nobody may be listening, which is no reason to stop.
    let _unheard = std::io::stdout().write_all(said.as_bytes());
    Ok(())
}
