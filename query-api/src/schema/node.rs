//! Anything that has an id of its own.

use async_graphql::{Context, ID, Interface, Result};
use domain::id::{CardKind, EnvironmentKind, ProjectKind, ProviderKind, RunKind, TenantKind, WorkspaceKind};
use futures::future::try_join_all;

use super::card::Card;
use super::environment::Environment;
use super::page::MOST;
use super::project::Project;
use super::run::Run;
use super::tenant::{Provider, Tenant, Workspace};
use crate::error::coded;
use crate::{loader, scalar};

/// Anything that has an id of its own. The id says what it is, such as `prj_…`, and is the same everywhere.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Names it and nothing else."))]
pub(super) enum Node {
    Tenant(Tenant),
    Workspace(Workspace),
    Provider(Provider),
    Project(Project),
    Card(Card),
    Run(Run),
    Environment(Environment),
}

/// What the id names, when it exists here.
pub(super) async fn node(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    macro_rules! find {
        ($($kind:ident => $node:ident)*) => {
            $(if let Some(id) = scalar::named::<$kind>(id) {
                return Ok(loader::named(ctx, id).await?.map($node).map(Node::$node));
            })*
        };
    }
    find! {
        TenantKind => Tenant
        WorkspaceKind => Workspace
        ProviderKind => Provider
        ProjectKind => Project
        CardKind => Card
        RunKind => Run
        EnvironmentKind => Environment
    }
    Ok(None)
}

/// What the ids name, in their order: the loader fetches all of a kind together.
///
/// # Errors
/// `page_invalid`, when they are too many.
pub(super) async fn nodes(ctx: &Context<'_>, ids: &[ID]) -> Result<Vec<Option<Node>>> {
    if i32::try_from(ids.len()).is_ok_and(|count| count <= MOST) {
        return try_join_all(ids.iter().map(|id| node(ctx, id))).await;
    }
    Err(coded("page_invalid", format!("at most {MOST} things may be asked for at once, not {}", ids.len())))
}
