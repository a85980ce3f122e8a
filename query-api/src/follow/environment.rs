//! Environments of a project as they come and go.

use std::sync::Arc;

use async_graphql::Result;
use domain::{ProjectId, TenantId};
use projections::environments;
use uuid::Uuid;

use super::thing::{Followed, Range, Read};
use crate::error::OrInternal as _;
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

    async fn read(&mut self, snapshot: &mut Snapshot, range: Range) -> Result<Read<EnvironmentsFrame>> {
        let tenant = snapshot.tenant;
        let Range { after, upto: cursor, resync } = range;
        let mut rows = environments::changed(snapshot.conn(), tenant, self.0, after, MOST + 1).await.or_internal()?;
        let much = after > 0 && i64::try_from(rows.len()).unwrap_or(i64::MAX) > MOST;
        if much {
            rows = environments::changed(snapshot.conn(), tenant, self.0, 0, MOST).await.or_internal()?;
        }
        let (news, whole) = (much || !rows.is_empty(), much || after == 0);
        let environments = rows.into_iter().map(Arc::new).collect();
        let frame = EnvironmentsFrame { cursor, whole, resync: Some(resync).filter(|_| much), environments };
        Ok(Read { frame, news, over: false })
    }
}
