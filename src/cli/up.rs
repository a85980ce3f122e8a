//! `agentworks up`: everything in one process.

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

#[expect(clippy::print_stdout, reason = "what a person at the terminal came for")]
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
    if !args.quiet {
        let operator = tokens::mint(&config, None, access::Role::Operator, "demo", 1)?;
        let tenant = tokens::demo_tenant(&Client::new(&format!("http://{address}"), &operator)).await?;
        let token = tokens::demo_owner(&config, tenant)?;
        println!("agentworks is ready on http://{address} ({:.1} s)", started.elapsed().as_secs_f64());
        println!("  commands       http://{address}/v1        contract: http://{address}/openapi.json");
        println!("  queries        http://{address}/graphql   to explore: http://{address}/graphiql");
        println!("  token          {token}");
        println!("                 (owner of the demo's tenant, {} h; others: agentworks token --help)", config.auth.token_hours);
    }
    let failure = tokio::select! {
        () = stop.cancelled() => None,
        error = servers.failed() => Some(error),
    };
    stop.cancel();
    let outcome = running.stopped().await.and(failure.map_or(Ok(()), Err));
    servers.stop().await?;
    telemetry.shutdown();
    outcome
}
