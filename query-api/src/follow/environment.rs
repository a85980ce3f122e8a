//! Environments of a project as they come and go.

use std::sync::Arc;

use async_graphql::Result;
use domain::{ProjectId, TenantId};
use projections::environments;
use uuid::Uuid;

use super::thing::{Followed, Read};
use crate::error::OrInternal as _;
use crate::scalar::Cursor;
use crate::schema::EnvironmentsFrame;
use crate::snapshot::Snapshot;

/// Environments that a frame holds as changes, at most.
const MOST: i64 = 500;

/// The environments of a project.
pub(crate) struct EnvironmentsFollowed(pub(crate) ProjectId);

impl Followed for EnvironmentsFollowed {
    type Frame = EnvironmentsFrame;

    fn sources(&self, _: TenantId) -> Vec<(&'static str, Uuid)> {
        vec![(environments::NAME, self.0.uuid())]
    }

    async fn read(&mut self, snapshot: &mut Snapshot, seen: i64, cursor: Cursor) -> Result<Read<EnvironmentsFrame>> {
        let tenant = snapshot.tenant;
        let mut rows = environments::changed(snapshot.conn(), tenant, self.0, seen, MOST + 1).await.or_internal()?;
        let resync = i64::try_from(rows.len()).unwrap_or(i64::MAX) > MOST && seen > 0;
        if resync {
            rows = environments::changed(snapshot.conn(), tenant, self.0, 0, MOST).await.or_internal()?;
        }
        let (whole, news) = (seen == 0 || resync, !rows.is_empty());
        let environments = rows.into_iter().map(Arc::new).collect();
        Ok(Read { frame: EnvironmentsFrame { cursor, whole, resync, environments }, news, over: false })
    }
}
