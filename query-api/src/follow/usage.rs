//! Usage as it adds up.

use async_graphql::Result;
use domain::{ProjectId, TenantId};
use projections::usage::{self, UsageRow};
use uuid::Uuid;

use super::thing::{Followed, Range, Read};
use crate::error::OrInternal as _;
use crate::schema::{Days, UsageFrame};
use crate::snapshot::Snapshot;

/// The usage of some days, of the tenant or of one project.
pub(crate) struct UsageFollowed {
    days: Days,
    project: Option<ProjectId>,
    /// What the last frame said.
    said: Vec<UsageRow>,
}

impl UsageFollowed {
    pub(crate) fn new(days: Days, project: Option<ProjectId>) -> Self {
        Self { days, project, said: vec![] }
    }
}

impl Followed for UsageFollowed {
    type Frame = UsageFrame;

    fn sources(&self, tenant: TenantId) -> Vec<(&'static str, Uuid)> {
        vec![(usage::NAME, self.project.map_or_else(|| tenant.uuid(), domain::Id::uuid))]
    }

    async fn read(&mut self, snapshot: &mut Snapshot, range: Range) -> Result<Read<UsageFrame>> {
        let (tenant, (from, to)) = (snapshot.tenant, self.days.range());
        let rows = usage::usage(snapshot.conn(), tenant, from, to, self.project).await.or_internal()?;
        let news = self.said != rows;
        self.said.clone_from(&rows);
        Ok(Read { frame: UsageFrame::new(range.upto, from, to, rows), news, over: false })
    }
}
