//! Environments.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result};
use domain::id::EnvironmentKind;
use domain::{EnvironmentId, ProjectId, RunId, TenantId};
use projections::Page;
use projections::environments::{self, EnvironmentRow};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::project::Project;
use super::run::Run;
use crate::error::cursor_invalid;
use crate::list::List;
use crate::loader::named;
use crate::scalar::{id, int};

/// How far an environment is.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EnvironmentState {
    /// It is wanted.
    Requested,
    /// It is being made.
    Provisioning,
    /// It is usable.
    Ready,
    /// It is being taken down.
    Stopping,
    /// It is gone in good order.
    Stopped,
    /// It could not be made, or died.
    Failed,
}

impl EnvironmentState {
    fn of(state: &str) -> Self {
        match state {
            "provisioning" => Self::Provisioning,
            "ready" => Self::Ready,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "failed" => Self::Failed,
            _ => Self::Requested,
        }
    }
}

/// An isolated place where an attempt of a run works or worked.
pub(super) struct Environment(pub(super) Arc<EnvironmentRow>);

/// An isolated place where an attempt of a run works or worked.
#[Object]
impl Environment {
    /// `env_…`
    pub(super) async fn id(&self) -> ID {
        id::<EnvironmentKind>(self.0.environment)
    }

    /// The project of its run.
    #[graphql(complexity = "5 + child_complexity")]
    async fn project(&self, ctx: &Context<'_>) -> Result<Option<Project>> {
        Ok(named(ctx, ProjectId::from_uuid(self.0.project)).await?.map(Project))
    }

    /// The run that works in it.
    #[graphql(complexity = "5 + child_complexity")]
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        Ok(named(ctx, RunId::from_uuid(self.0.run)).await?.map(Run))
    }

    /// Which attempt of the run, from 1.
    async fn attempt(&self) -> i32 {
        self.0.attempt
    }

    /// What it is made with, such as `local`.
    async fn driver(&self) -> &str {
        &self.0.driver
    }

    /// How far it is.
    async fn state(&self) -> EnvironmentState {
        EnvironmentState::of(&self.0.state)
    }

    /// What confines it, such as `namespaces`; nothing before it is ready.
    async fn confinement(&self) -> &[String] {
        &self.0.confinement
    }

    /// What went wrong and, where known, what to do; null unless it failed.
    async fn failure(&self) -> Option<&str> {
        self.0.failure.as_deref()
    }

    /// When it was asked for.
    async fn requested_at(&self) -> OffsetDateTime {
        self.0.requested_at
    }

    /// When its driver began to make it.
    async fn provisioning_at(&self) -> Option<OffsetDateTime> {
        self.0.provisioning_at
    }

    /// When it was usable.
    async fn ready_at(&self) -> Option<OffsetDateTime> {
        self.0.ready_at
    }

    /// When it began to be taken down.
    async fn stopping_at(&self) -> Option<OffsetDateTime> {
        self.0.stopping_at
    }

    /// When it was gone, in good order or not.
    async fn ended_at(&self) -> Option<OffsetDateTime> {
        self.0.ended_at
    }

    /// The version of its stream.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }
}

/// The environments of a project, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EnvironmentsOf(pub(super) ProjectId);

impl List for EnvironmentsOf {
    type Place = EnvironmentId;
    type Row = Arc<EnvironmentRow>;
    type Node = Environment;

    fn place(&self, cursor: &str) -> Result<EnvironmentId> {
        cursor.parse().map_err(|_| cursor_invalid())
    }

    fn cursor(&self, row: &Arc<EnvironmentRow>) -> String {
        EnvironmentId::from_uuid(row.environment).to_string()
    }

    fn node(row: Arc<EnvironmentRow>) -> Environment {
        Environment(row)
    }

    async fn pages(
        conn: &mut PgConnection,
        tenant: TenantId,
        asked: &[(Self, Page<EnvironmentId>)],
    ) -> sqlx::Result<Vec<Vec<Arc<EnvironmentRow>>>> {
        let asked: Vec<_> = asked.iter().map(|(of, page)| (of.0, *page)).collect();
        let pages = environments::environments(conn, tenant, &asked).await?;
        Ok(pages.into_iter().map(|page| page.into_iter().map(Arc::new).collect()).collect())
    }

    async fn counts(conn: &mut PgConnection, tenant: TenantId, asked: &[Self]) -> sqlx::Result<Vec<i64>> {
        let projects: Vec<_> = asked.iter().map(|of| of.0).collect();
        environments::counts(conn, tenant, &projects).await
    }
}
