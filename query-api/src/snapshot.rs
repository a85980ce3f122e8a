//! One moment of a read model, and how far the model was at that moment.

use std::time::Duration;

use async_graphql::Context;
use domain::TenantId;
use outbox::{LogError, consumer};
use schemas::Cursor;
use sqlx::{PgConnection, Postgres, Transaction};
use tokio::time::Instant;

use crate::error::{OrInternal as _, cursor_invalid, not_yet_visible, of_log};
use crate::state::Reading;
use crate::viewer::Viewer;
use crate::{error, scalar};

/// How often a model that is being rebuilt is looked at.
const REBUILDING: Duration = Duration::from_millis(50);

/// Why there is no such moment of a read model.
#[derive(Debug)]
pub(crate) enum Behind {
    /// It has got this far and no further in time.
    NotYet(Cursor),
    /// The database failed.
    Log(LogError),
}

impl From<LogError> for Behind {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<sqlx::Error> for Behind {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// A tenant's rows as of one moment. Dropping it ends the transaction.
pub(crate) struct Snapshot {
    tx: Transaction<'static, Postgres>,
    pub(crate) tenant: TenantId,
    /// How far the read model was.
    pub(crate) cursor: Cursor,
}

impl Snapshot {
    /// The present moment of `consumer`'s read model for whoever asks; with `wait_for`, a moment when the model had at
    /// least that.
    ///
    /// # Errors
    /// `cursor_invalid`, `not_yet_visible`, `internal`.
    pub(crate) async fn open(
        ctx: &Context<'_>,
        consumer: &'static str,
        wait_for: Option<scalar::Cursor>,
    ) -> async_graphql::Result<Self> {
        let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
        Self::of(reading, viewer.tenant, consumer, wait_for.map(|cursor| cursor.0)).await
    }

    /// As [`Snapshot::open`], outside of a request.
    pub(crate) async fn of(
        reading: &Reading,
        tenant: TenantId,
        consumer: &'static str,
        wait_for: Option<Cursor>,
    ) -> async_graphql::Result<Self> {
        let partition = reading.log.partition_of(tenant);
        if wait_for.is_some_and(|cursor| cursor.partition != partition) {
            return Err(cursor_invalid());
        }
        let wanted = wait_for.map_or(0, |cursor| cursor.position);
        Self::reached(reading, tenant, consumer, wanted).await.map_err(|behind| match behind {
            Behind::NotYet(reached) => not_yet_visible(reached),
            Behind::Log(error) => of_log(error),
        })
    }

    /// A moment when the read model of `consumer` had reached a position of the tenant's partition.
    ///
    /// # Errors
    /// When it does not get there in time, or the database fails.
    pub(crate) async fn reached(
        reading: &Reading,
        tenant: TenantId,
        consumer: &'static str,
        wanted: i64,
    ) -> Result<Self, Behind> {
        let partition = reading.log.partition_of(tenant);
        let deadline = Instant::now() + reading.wait;
        let mut told = false;
        loop {
            let mut tx = projections::read(&reading.log, tenant).await?;
            let position = consumer::tenant_position(&mut tx, consumer, partition, tenant).await?;
            if position >= wanted {
                return Ok(Self { tx, tenant, cursor: Cursor { partition, position } });
            }
            // Given back before waiting: the wait may be long and connections are few.
            tx.rollback().await?;
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = match reading.progress.wait(consumer, partition, wanted, left).await {
                // What was told and what is there differ only while the model is being rebuilt: no hurry then.
                Ok(()) if left.is_zero() => Err(position),
                Ok(()) if told => {
                    tokio::time::sleep(REBUILDING.min(left)).await;
                    Ok(())
                }
                waited => waited,
            };
            told = true;
            if let Err(position) = waited {
                return Err(Behind::NotYet(Cursor { partition, position }));
            }
        }
    }

    /// What queries run on.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

/// A position that a client goes on from: a cursor of its tenant's partition. One from ahead of the log is of another log
/// (or of this one before it was restored); who waited for it would silently miss what comes before.
///
/// # Errors
/// `cursor_invalid`.
pub(crate) async fn since(
    reading: &Reading,
    tenant: TenantId,
    since: Option<scalar::Cursor>,
) -> async_graphql::Result<Option<i64>> {
    match since {
        Some(scalar::Cursor(cursor)) if cursor.partition != reading.log.partition_of(tenant) => {
            Err(error::cursor_invalid())
        }
        Some(scalar::Cursor(cursor)) => {
            let head = reading.log.head(cursor.partition).await.or_internal()?;
            if cursor.position > head { Err(error::cursor_invalid()) } else { Ok(Some(cursor.position)) }
        }
        None => Ok(None),
    }
}
