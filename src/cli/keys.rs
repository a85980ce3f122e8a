//! `agentworks keys`: shows public keys, and rotates secret ones.

use schemas::evidence::checkpoint::keys_origin;

use super::say;
use crate::config::Config;
use crate::evidence;

/// Arguments of `agentworks keys`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose keys.
    #[arg(value_enum)]
    of: Purpose,
    /// Put a new key before the others: it signs from the next start of the processes on. What the older ones signed
    /// stays verifiable.
    #[arg(long)]
    rotate: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Purpose {
    /// The keys that sign checkpoints of the log.
    Evidence,
}

pub(super) fn run(config: &Config, args: &Args) -> anyhow::Result<()> {
    let keys = match args.of {
        Purpose::Evidence if args.rotate => evidence::rotate(config)?,
        Purpose::Evidence => evidence::keys(config)?,
    };
    for key in keys.public() {
        say(format_args!("{}", key.verifier(&keys_origin(&config.evidence.name))))?;
    }
    Ok(())
}
