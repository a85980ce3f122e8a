//! Who asks, and what they have beside projects.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use domain::WorkspaceId;
use domain::id::{ProviderKind as ProviderIdKind, TenantKind, WorkspaceKind};
use projections::board::{ProviderRow, TenantRow, WorkspaceRow};
use time::OffsetDateTime;

use super::page::{self, Connection, Wanted};
use super::project::ProjectsOf;
use crate::loader::{Providers, Workspaces, named};
use crate::scalar::{id, int};

/// What a token allows.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything in its tenant.
    Owner,
    /// Reading everything in its tenant.
    Auditor,
}

/// Who is asking.
#[derive(SimpleObject)]
pub(super) struct Me {
    /// The tenant that everything answered here belongs to; null as long as its creation is not visible yet.
    pub(super) tenant: Option<Tenant>,
    /// Who acts, such as `operator:ada`.
    pub(super) actor: String,
    /// What the token allows; null for a role that this API does not know.
    pub(super) role: Option<Role>,
}

/// Every workspace, the oldest first.
pub(super) async fn workspaces(ctx: &Context<'_>) -> Result<Vec<Workspace>> {
    Ok(named(ctx, Workspaces).await?.unwrap_or_default().into_iter().map(Workspace).collect())
}

/// Every account with a model vendor, the oldest first.
pub(super) async fn providers(ctx: &Context<'_>) -> Result<Vec<Provider>> {
    Ok(named(ctx, Providers).await?.unwrap_or_default().into_iter().map(Provider).collect())
}

/// Billing and isolation: everything belongs to one tenant.
pub(super) struct Tenant(pub(super) TenantRow);

/// Billing and isolation: everything belongs to one tenant.
#[Object]
impl Tenant {
    /// `tnt_…`
    pub(super) async fn id(&self) -> ID {
        id::<TenantKind>(self.0.id)
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Its workspaces, the oldest first.
    #[graphql(complexity = "20 + 10 * child_complexity")]
    async fn workspaces(&self, ctx: &Context<'_>) -> Result<Vec<Workspace>> {
        workspaces(ctx).await
    }

    /// Its accounts with model vendors, the oldest first.
    #[graphql(complexity = "20 + 10 * child_complexity")]
    async fn providers(&self, ctx: &Context<'_>) -> Result<Vec<Provider>> {
        providers(ctx).await
    }

    /// Its projects, the oldest first.
    #[graphql(complexity = "page::cost_among(first, last, child_complexity)")]
    async fn projects(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
    ) -> Result<Connection<ProjectsOf>> {
        Connection::of(ctx, ProjectsOf(None), Wanted { first, after, last, before }).await
    }

    /// Whether it may read but not work.
    async fn suspended(&self) -> bool {
        self.0.suspended
    }

    /// When it was created.
    async fn created_at(&self) -> OffsetDateTime {
        self.0.created_at
    }

    /// The version, for `If-Match` of a command.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }
}

/// A client or a team inside the tenant.
pub(super) struct Workspace(pub(super) Arc<WorkspaceRow>);

/// A client or a team inside the tenant.
#[Object]
impl Workspace {
    /// `wsp_…`
    pub(super) async fn id(&self) -> ID {
        id::<WorkspaceKind>(self.0.workspace)
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Its projects, the oldest first.
    #[graphql(complexity = "page::cost_among(first, last, child_complexity)")]
    async fn projects(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the range, 1 to 200; 50 when neither this nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this edge's cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the range, 1 to 200.")] last: Option<i32>,
        #[graphql(desc = "Only those before this edge's cursor.")] before: Option<String>,
    ) -> Result<Connection<ProjectsOf>> {
        let list = ProjectsOf(Some(WorkspaceId::from_uuid(self.0.workspace)));
        Connection::of(ctx, list, Wanted { first, after, last, before }).await
    }

    /// Whether it takes no new projects.
    async fn archived(&self) -> bool {
        self.0.archived
    }

    /// When it was created.
    async fn created_at(&self) -> OffsetDateTime {
        self.0.created_at
    }

    /// The version, for `If-Match` of a command.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }
}

/// An account with a model vendor. Its key cannot be read.
pub(super) struct Provider(pub(super) Arc<ProviderRow>);

/// An account with a model vendor. Its key cannot be read.
#[Object]
impl Provider {
    /// `prv_…`
    pub(super) async fn id(&self) -> ID {
        id::<ProviderIdKind>(self.0.provider)
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The vendor's protocol: `anthropic` or `openai`.
    async fn kind(&self) -> &str {
        &self.0.kind
    }

    /// Where the vendor's API is; the vendor's public address when null.
    async fn base_url(&self) -> Option<&str> {
        self.0.base_url.as_deref()
    }

    /// The model to use where a project names none.
    async fn default_model(&self) -> &str {
        &self.0.default_model
    }

    /// Whether runs may use it.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// When it was registered.
    async fn created_at(&self) -> OffsetDateTime {
        self.0.created_at
    }

    /// The version, for `If-Match` of a command.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }
}
