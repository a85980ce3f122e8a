//! `agentworks events`: prints the log, one JSON document a line, in order.

use std::io::{ErrorKind, Write};

use anyhow::{Context as _, bail};
use domain::TenantId;
use outbox::tail::{Scope, Tail};
use schemas::{CloudEvent, Cursor, Recorded};

use crate::config::Config;
use crate::roles;
use crate::shutdown;

/// Arguments of `agentworks events`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whose").required(true))]
pub(super) struct Args {
    /// Whose log.
    #[arg(long, value_name = "TENANT", group = "whose")]
    tenant: Option<TenantId>,
    /// Everybody's, of a partition.
    #[arg(long, group = "whose")]
    all: bool,
    /// Which part of the log; may be left out when there is one, or `--after` names it.
    #[arg(long, value_name = "NUMBER", requires = "all")]
    partition: Option<i32>,
    /// Only what comes after this position.
    #[arg(long, value_name = "POSITION")]
    after: Option<Cursor>,
    /// Go on as events come.
    #[arg(long)]
    follow: bool,
    /// Print them as other programs get them (CloudEvents 1.0) instead of as the log holds them.
    #[arg(long)]
    cloudevents: bool,
}

impl Args {
    fn scope(&self, partitions: i32) -> anyhow::Result<Scope> {
        if let Some(tenant) = self.tenant {
            return Ok(Scope::Tenant(tenant));
        }
        match self.partition.or(self.after.map(|cursor| cursor.partition)) {
            Some(partition) => Ok(Scope::Partition(partition)),
            None if partitions == 1 => Ok(Scope::Partition(0)),
            None => bail!("the log has {partitions} partitions: name one with --partition, from 0"),
        }
    }

    fn text(&self, event: &Recorded) -> serde_json::Result<String> {
        if self.cloudevents { serde_json::to_string(&CloudEvent::of(event)) } else { serde_json::to_string(event) }
    }
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    match Box::pin(print(config, args)).await {
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
    let after = args.after.map_or(0, |cursor| cursor.position);
    let mut follower = Tail::new(log.clone(), None).follow(args.scope(log.partitions())?, after)?;
    let partition = follower.cursor().partition;
    if args.after.is_some_and(|cursor| cursor.partition != partition) {
        bail!("--after is a place in another part of the log than the one to print");
    }
    let head = log.head(partition).await.context("the log cannot be read")?;
    let mut out = std::io::stdout();
    while args.follow || follower.cursor().position < head {
        let page = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            page = follower.next() => page?,
        };
        for event in &page {
            writeln!(out, "{}", args.text(event)?)?;
        }
        out.flush()?;
    }
    Ok(())
}
