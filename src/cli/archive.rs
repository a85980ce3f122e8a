//! `agentworks archive`: moves full ranges of the log to the store of `archive.store`.

use anyhow::Context;
use outbox::archive::{self, Candidate};

use super::say;
use crate::config::Config;
use crate::roles;

/// Arguments of `agentworks archive`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Full ranges of each partition that stay in the database; the configuration's `archive.keep_ranges` when absent.
    #[arg(long, value_name = "RANGES")]
    keep: Option<u32>,
    /// Only say what would be moved.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let store = roles::archive(&config)?.context(
        "there is no store to move ranges to: name one in `archive.store` (AGENTWORKS_ARCHIVE__STORE), such as \
         file:///var/lib/agentworks-archive or s3://bucket/prefix",
    )?;
    let (log, servers) = roles::reader(&config).await?;
    let mut owner = archive::owner(&log).await?;
    let left = archive::finish(&mut owner).await?;
    if left > 0 {
        say(format_args!("{left} range(s) that were archived before have left the database now"))?;
    }
    let candidates = archive::candidates(&mut owner, args.keep.unwrap_or(config.archive.keep_ranges)).await?;
    if candidates.is_empty() {
        say(format_args!("there is no full range to move"))?;
    }
    for candidate in &candidates {
        let Candidate { partition, first, last, awaited } = candidate;
        let name = format!("partition {partition}, positions {first} to {last}");
        match awaited {
            Some(consumer) => say(format_args!("{name}: stays, since {consumer} has not got past it"))?,
            None if args.dry_run => say(format_args!("{name}: would be moved"))?,
            None => {
                let done = archive::archive(&mut owner, &log, &store, candidate).await?;
                say(format_args!("{name}: moved to {} ({} bytes), verified", done.range.archive, done.bytes))?;
            }
        }
    }
    drop(log);
    if let Some(servers) = servers {
        servers.stop().await?;
    }
    Ok(())
}
