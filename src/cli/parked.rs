//! `agentworks parked`: tenants that a consumer has left out since one of their events could not be applied.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::builder::NonEmptyStringValueParser;
use domain::{EventId, TenantId};
use outbox::Log;
use outbox::consumer::{Consumer, parking};
use time::format_description::well_known::Rfc3339;

use super::say;
use crate::config::Config;
use crate::roles;

/// Arguments of `agentworks parked`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Take a tenant up again where it was parked, after what was wrong is mended.
    Retry {
        /// The consumer, as `agentworks parked` names it, such as `usage`.
        consumer: String,
        /// The tenant; every one that is parked for the consumer when absent.
        tenant: Option<TenantId>,
    },
    /// Do without the event that parks a tenant, for this consumer and for ever. Who did so, when and why is recorded.
    Skip {
        /// The consumer, as `agentworks parked` names it, such as `usage`.
        consumer: String,
        /// The tenant.
        tenant: TenantId,
        /// The event that parks it.
        event: EventId,
        /// Why.
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
        /// Who decides that.
        #[arg(long, env = "USER", value_parser = NonEmptyStringValueParser::new())]
        by: String,
    },
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let (log, _servers) = roles::reader(&config).await?;
    match args.what {
        None => list(&log).await,
        Some(What::Retry { consumer, tenant }) => retry(&log, &*find(&log, &consumer)?, tenant).await,
        Some(What::Skip { consumer, tenant, event, reason, by }) => {
            let consumer = find(&log, &consumer)?;
            let applied = parking::skip(&log, &*consumer, tenant, event, &by, &reason).await?;
            say(format_args!("{}: {tenant} goes on without {event}; {applied} events applied", consumer.name()))?;
            Ok(())
        }
    }
}

async fn list(log: &Log) -> anyhow::Result<()> {
    for parked in parking::parked(log).await? {
        let parking::Parked { consumer, partition, tenant, position, event, error, since, tries } = parked;
        let since = since.format(&Rfc3339)?;
        say(format_args!(
            "{consumer} {tenant} since {since}: event {event} at {partition}/{position}, tried {tries} times: {error}"
        ))?;
    }
    Ok(())
}

async fn retry(log: &Log, consumer: &dyn Consumer, tenant: Option<TenantId>) -> anyhow::Result<()> {
    let parked = parking::parked(log).await?.into_iter().filter(|parked| parked.consumer == consumer.name());
    let tenants = tenant.map_or_else(|| parked.map(|parked| parked.tenant).collect(), |tenant| vec![tenant]);
    let mut outcome = Ok(());
    for tenant in tenants {
        match parking::retry(log, consumer, tenant).await {
            Ok(applied) => say(format_args!("{}: {tenant} goes on; {applied} events applied", consumer.name()))?,
            // The others are worth a try.
            Err(error) => outcome = outcome.and(Err(error).with_context(|| format!("{tenant} stays parked"))),
        }
    }
    outcome
}

fn find(log: &Log, name: &str) -> anyhow::Result<Arc<dyn Consumer>> {
    let all = roles::consumers(log);
    match all.iter().find(|consumer| consumer.name() == name) {
        Some(consumer) => Ok(Arc::clone(consumer)),
        None => {
            let known: Vec<_> = all.iter().map(|consumer| consumer.name()).collect();
            bail!("there is no consumer `{name}`; there are: {}", known.join(", "))
        }
    }
}
