//! `agentworks token`: mints a token for whoever can read the signing key.

use access::Role;
use clap::builder::NonEmptyStringValueParser;
use domain::TenantId;

use super::say;
use crate::config::{Auth, Config};
use crate::tokens;

/// Arguments of `agentworks token`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The tenant to act in.
    #[arg(long, value_name = "TENANT", required_unless_present = "operator")]
    tenant: Option<TenantId>,
    /// Mint an operator's token, which may create tenants; NAME goes into the log as who acted.
    #[arg(long, value_name = "NAME", conflicts_with = "tenant", value_parser = NonEmptyStringValueParser::new())]
    operator: Option<String>,
    /// May only read.
    #[arg(long, requires = "tenant")]
    auditor: bool,
    /// Life in hours; the configuration's `auth.token_hours` when absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Auth::MOST_HOURS)))]
    hours: Option<u32>,
}

pub(super) fn run(config: &Config, args: &Args) -> anyhow::Result<()> {
    let hours = args.hours.unwrap_or(config.auth.token_hours);
    let token = match (&args.tenant, &args.operator) {
        (Some(tenant), _) => {
            tokens::mint(config, Some(*tenant), if args.auditor { Role::Auditor } else { Role::Owner }, "cli", hours)?
        }
        (None, name) => tokens::mint(config, None, Role::Operator, name.as_deref().unwrap_or("cli"), hours)?,
    };
    say(format_args!("{token}"))?;
    Ok(())
}
