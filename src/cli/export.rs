//! `agentworks export`: writes a tenant's log into a file that proves itself.

use std::path::PathBuf;

use domain::TenantId;
use schemas::Cursor;

use super::progress::Progress;
use super::say;
use crate::config::Config;
use crate::export::{Exporter, Until};
use crate::{evidence, roles};

/// Arguments of `agentworks export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose log.
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    /// The file to write; `TENANT.tar.zst` in the working directory when absent.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Only what came up to this position, with it.
    #[arg(long, value_name = "POSITION")]
    until: Option<Cursor>,
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let (log, _servers) = roles::reader(&config).await?;
    let (notary, keys) = (evidence::notary(&config, log.clone())?, evidence::keys(&config)?);
    let to = args.to.unwrap_or_else(|| format!("{}.tar.zst", args.tenant).into());
    let until = args.until.map_or(Until::Now, |cursor| Until::Position(cursor.position));
    let exporter = Exporter { log: &log, notary: &notary, keys: &keys, installation: &config.evidence.name };
    let mut progress = Progress::new("events");
    let events = exporter.write(args.tenant, until, &to, &mut |done, all| progress.at(done, all)).await?;
    progress.done();
    say(format_args!("{events} events of {} are in {}", args.tenant, to.display()))?;
    say(format_args!("  to check it: agentworks verify {} --key {}", to.display(), keys.newest().public()))?;
    Ok(())
}
