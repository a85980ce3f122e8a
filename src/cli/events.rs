//! `agentworks events`: prints a tenant's log, one JSON document a line, in order.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use domain::TenantId;
use schemas::Cursor;

use crate::config::Config;
use crate::roles;
use crate::shutdown;

/// Arguments of `agentworks events`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose log.
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    /// Only what comes after this position.
    #[arg(long, value_name = "POSITION")]
    after: Option<Cursor>,
    /// Go on as events come.
    #[arg(long)]
    follow: bool,
}

/// Events a read takes.
const PAGE: i64 = 500;
/// How often a follower looks for more.
const INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    match print(config, args).await {
        // `| head` has seen enough.
        Err(error)
            if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

async fn print(config: Config, args: Args) -> anyhow::Result<()> {
    let (log, _servers) = roles::reader(&config).await?;
    let stop = shutdown::on_signal();
    let mut after = args.after.map_or(0, |cursor| cursor.position);
    let mut out = std::io::stdout();
    loop {
        let page = log.read_tenant(args.tenant, after, PAGE).await?;
        for event in &page {
            writeln!(out, "{}", serde_json::to_string(event)?)?;
            after = event.position;
        }
        out.flush()?;
        if page.is_empty() {
            if !args.follow {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}
