//! `agentworks migrate`: the database's schema, up to date.

use crate::config::Config;
use crate::servers::Servers;
use crate::telemetry;

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = telemetry::init(&config.telemetry, "agentworks")?;
    let servers = Servers::start(&config).await?;
    let outcome = servers.migrate(&config).await;
    servers.stop().await?;
    if outcome.is_ok() {
        tracing::info!("the schema is up to date");
    }
    telemetry.shutdown();
    outcome
}
