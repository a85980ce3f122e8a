//! `agentworks queue`: what waits for a worker and what is under way, tenant by tenant, and what an operator may do to it.

use anyhow::bail;
use domain::{RunId, TenantId};
use sqlx::PgPool;
use time::format_description::well_known::Rfc3339;
use workers::lanes;

use super::say;
use crate::config::Config;
use crate::roles;

/// Runs of a lane that are shown, at most.
const SHOWN: i64 = 1_000;

/// Arguments of `agentworks queue`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    /// Show this tenant's runs, in the order in which they come next; without it, one line a tenant.
    tenant: Option<TenantId>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Let no run of a tenant start; what is under way goes on.
    Pause {
        /// The tenant.
        tenant: TenantId,
    },
    /// Let a tenant's runs start again.
    Resume {
        /// The tenant.
        tenant: TenantId,
    },
    /// Put a waiting run before all others of its tenant.
    First {
        /// The run.
        run: RunId,
    },
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let (log, _servers) = roles::reader(&config).await?;
    let pool = log.worker_pool();
    match (args.what, args.tenant) {
        (None, None) => list(pool).await,
        (None, Some(tenant)) => show(pool, tenant).await,
        (Some(What::Pause { tenant }), _) => pause(pool, tenant, true).await,
        (Some(What::Resume { tenant }), _) => pause(pool, tenant, false).await,
        (Some(What::First { run }), _) => {
            if !lanes::put_first(pool, run).await? {
                bail!("{run} does not wait in the queue");
            }
            say(format_args!("{run} is the next of its tenant"))?;
            Ok(())
        }
    }
}

async fn list(pool: &PgPool) -> anyhow::Result<()> {
    for lane in lanes::lanes(pool, None).await? {
        say_lane(&lane)?;
    }
    Ok(())
}

async fn show(pool: &PgPool, tenant: TenantId) -> anyhow::Result<()> {
    for lane in lanes::lanes(pool, Some(tenant)).await? {
        say_lane(&lane)?;
    }
    for place in lanes::places(pool, tenant, SHOWN).await? {
        let lanes::Place { run, attempt, under_way, priority, since, due } = place;
        let late = due > since;
        let since = since.format(&Rfc3339)?;
        match (under_way, late) {
            (true, _) => say(format_args!("{run} under way since {since}, attempt {attempt}"))?,
            (false, true) => {
                let due = due.format(&Rfc3339)?;
                say(format_args!("{run} waits since {since}, due {due}, attempt {attempt}, priority {priority}"))?;
            }
            (false, false) => say(format_args!("{run} waits since {since}, attempt {attempt}, priority {priority}"))?,
        }
    }
    Ok(())
}

async fn pause(pool: &PgPool, tenant: TenantId, paused: bool) -> anyhow::Result<()> {
    let (now, already) = if paused { ("is paused", "was paused") } else { ("goes on", "was not paused") };
    let changed = lanes::pause(pool, tenant, paused).await?;
    say(format_args!("{tenant} {}", if changed { now } else { already }))?;
    Ok(())
}

fn say_lane(lane: &lanes::Lane) -> anyhow::Result<()> {
    let lanes::Lane { tenant, weight, limit, under_way, waiting, paused_since, estimate_seconds } = lane;
    let paused = match paused_since {
        Some(since) => format!(", paused since {}", since.format(&Rfc3339)?),
        None => String::new(),
    };
    say(format_args!(
        "{tenant} {under_way} of {limit} under way, {waiting} waiting, weight {weight}, about {estimate_seconds} s a run{paused}"
    ))?;
    Ok(())
}
