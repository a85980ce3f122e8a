//! `agentworks rebuild`: throws a projection away and folds the log again.

use std::time::Instant;

use anyhow::bail;

use crate::config::Config;
use crate::roles;

/// Arguments of `agentworks rebuild`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The projection, such as `board`; `all` for every one.
    projection: String,
}

#[expect(clippy::print_stdout, reason = "what a person at the terminal came for")]
pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let all = projections::all();
    let chosen: Vec<_> =
        all.iter().filter(|consumer| args.projection == "all" || consumer.name() == args.projection).collect();
    if chosen.is_empty() {
        let known: Vec<_> = all.iter().map(|consumer| consumer.name()).collect();
        bail!("there is no projection `{}`; there are: all, {}", args.projection, known.join(", "));
    }
    let (log, _servers) = roles::reader(&config).await?;
    for consumer in chosen {
        let started = Instant::now();
        outbox::consumer::rebuild(&log, consumer.as_ref()).await?;
        println!("{}: rebuilt in {:.1} s", consumer.name(), started.elapsed().as_secs_f64());
    }
    Ok(())
}
