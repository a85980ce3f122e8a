//! `agentworks import`: restores an export into an empty tenant.

use std::path::{Path, PathBuf};

use super::progress::Progress;
use super::{say, verify};
use crate::config::Config;
use crate::{export, roles};

/// Arguments of `agentworks import`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file that `agentworks export` wrote.
    file: PathBuf,
    /// As for `agentworks verify`.
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,
}

pub(super) async fn run(config: Config, file: Option<&Path>, args: Args) -> anyhow::Result<()> {
    // The keys of this installation say nothing of an export of another.
    let anchors = if args.key.is_empty() { Vec::new() } else { verify::anchors(file, &args.key)? };
    let (log, _servers) = roles::reader(&config).await?;
    let mut progress = Progress::new("events");
    let imported = export::import(&log, &args.file, &anchors, &mut |done, all| progress.at(done, all)).await?;
    progress.done();
    let manifest = &imported.report.manifest;
    if imported.present > 0 {
        say(format_args!("{} events were there already, of an import that had stopped", imported.present))?;
    }
    say(format_args!(
        "{} events of {} are restored and proven equal: digests, chains, and the roots of {} checkpoints",
        manifest.events, manifest.tenant, imported.checkpoints
    ))?;
    if !imported.report.vouched {
        say(format_args!("warning: the signer of the export is not vouched for: {}", imported.report.keys.join(", ")))?;
    }
    Ok(())
}
