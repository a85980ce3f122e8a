//! Who asks, and what they have beside projects.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, SimpleObject};
use domain::id::{ProviderKind as ProviderIdKind, TenantKind, WorkspaceKind};
use projections::board::{ProviderRow, TenantRow, WorkspaceRow};
use time::OffsetDateTime;

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
