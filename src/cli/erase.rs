//! `agentworks erase`: makes what is kept for a person in a tenant unreadable for ever.

use std::sync::Arc;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use command_api::order::SubjectOrder;
use command_api::vault::Vault;
use command_api::{Caller, DispatchError, Dispatcher, Order, Request};
use domain::id::UserId;
use domain::{Actor, SubjectId, TenantId};
use outbox::{Progress, subjects};
use tokio_util::sync::CancellationToken;

use super::say;
use crate::config::Config;
use crate::facts::ReadModels;
use crate::roles;

/// Arguments of `agentworks erase`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where.
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    #[command(flatten)]
    whom: Whom,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// A data subject, as a card's history names it.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<SubjectId>,
    /// A user.
    #[arg(long, value_name = "USER")]
    user: Option<UserId>,
    /// An operator, by the name in the token.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    operator: Option<String>,
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let (log, _servers) = roles::reader(&config).await?;
    let vault =
        Vault::open(log.app_pool().clone(), &config.master_key_file()).context("the master key is not usable")?;
    let subject = args.whom.subject(&vault).context("name a subject, a user or an operator")?;
    let stop = CancellationToken::new();
    let facts = ReadModels::new(log.clone(), Progress::start(log.clone(), None, &[], stop.clone()));
    let dispatcher = Dispatcher::new(log.clone(), Arc::new(facts), vault.clone());
    // Nobody's name: whoever is called by it would be kept as a person.
    let caller = Caller { tenant: args.tenant, actor: Actor::System("cli".into()), role: access::Role::Operator };
    let order = Order::Subject(SubjectOrder::Erase { subject });
    match Box::pin(dispatcher.dispatch(&caller, Request::fresh(), order)).await {
        Err(DispatchError::NotFound) => anyhow::bail!("nothing personal is kept for {subject} in {}", args.tenant),
        erased => erased?,
    };
    vault.erase(args.tenant, subject).await?;
    let purged = subjects::purge(&log).await?;
    stop.cancel();
    say(format_args!("{subject} is erased in {}", args.tenant))?;
    if !purged {
        say(format_args!(
            "a reader still sees the key; it leaves the database's files with the next erasure or start"
        ))?;
    }
    Ok(())
}

impl Whom {
    fn subject(&self, vault: &Vault) -> Option<SubjectId> {
        let named = self.operator.as_ref().map(|name| vault.veil(&Actor::Operator(name.clone())));
        let actor = self.user.map(Actor::User).or(named);
        self.subject.or_else(|| SubjectId::of(&actor?))
    }
}
