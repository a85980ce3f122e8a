//! One moment of a read model, and how far the model was at that moment.

use std::time::Duration;

use async_graphql::Context;
use domain::TenantId;
use outbox::{LogError, consumer};
use schemas::Cursor;
use sqlx::PgConnection;
use tokio::time::Instant;

use crate::error::{OrInternal as _, cursor_invalid, not_yet_visible, of_log};
use crate::reader::{Reader, Turn};
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

/// A tenant's rows as of one moment, the same for all that a request reads. Dropping it lets the request read on.
pub(crate) struct Snapshot {
    turn: Turn,
    pub(crate) tenant: TenantId,
    /// How far the read model was.
    pub(crate) cursor: Cursor,
}

impl Snapshot {
    /// The request's moment of `consumer`'s read model; with `wait_for`, a moment when the model had at least that.
    ///
    /// # Errors
    /// `cursor_invalid`, `not_yet_visible`, `internal`.
    pub(crate) async fn open(
        ctx: &Context<'_>,
        consumer: &'static str,
        wait_for: Option<scalar::Cursor>,
    ) -> async_graphql::Result<Self> {
        let (reading, tenant) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?.tenant);
        let wait_for = wait_for.map(|cursor| cursor.0);
        match ctx.data_opt::<Reader>() {
            Some(reader) => Self::with(reading, reader, tenant, consumer, wait_for).await,
            // What begins a subscription is not executed, only its frames are.
            None => Self::of(reading, tenant, consumer, wait_for).await,
        }
    }

    /// As [`Snapshot::open`], outside of a request.
    pub(crate) async fn of(
        reading: &Reading,
        tenant: TenantId,
        consumer: &'static str,
        wait_for: Option<Cursor>,
    ) -> async_graphql::Result<Self> {
        Self::with(reading, &Reader::new(reading.log.clone(), tenant), tenant, consumer, wait_for).await
    }

    async fn with(
        reading: &Reading,
        reader: &Reader,
        tenant: TenantId,
        consumer: &'static str,
        wait_for: Option<Cursor>,
    ) -> async_graphql::Result<Self> {
        let partition = reading.log.partition_of(tenant);
        if wait_for.is_some_and(|cursor| cursor.partition != partition) {
            return Err(cursor_invalid());
        }
        let wanted = wait_for.map_or(0, |cursor| cursor.position);
        Self::of_reader(reading, reader, tenant, consumer, wanted).await.map_err(|behind| match behind {
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
        Self::of_reader(reading, &Reader::new(reading.log.clone(), tenant), tenant, consumer, wanted).await
    }

    async fn of_reader(
        reading: &Reading,
        reader: &Reader,
        tenant: TenantId,
        consumer: &'static str,
        wanted: i64,
    ) -> Result<Self, Behind> {
        let partition = reading.log.partition_of(tenant);
        let deadline = Instant::now() + reading.wait;
        let mut told = false;
        let mut turn = reader.turn().await?;
        loop {
            let position = consumer::tenant_position(turn.conn(), consumer, partition, tenant).await?;
            if position >= wanted {
                return Ok(Self { turn, tenant, cursor: Cursor { partition, position } });
            }
            // Given back before waiting: the wait may be long and connections are few.
            drop(turn);
            reader.rest();
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
            turn = reader.turn_of_now().await?;
        }
    }

    /// What queries run on.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        self.turn.conn()
    }
}

/// Waits until `consumer`'s read model has what the client wants to see, if it wants to: what the request reads from then
/// on has it.
///
/// # Errors
/// As [`Snapshot::open`].
pub(crate) async fn visible(
    ctx: &Context<'_>,
    consumer: &'static str,
    wait_for: Option<scalar::Cursor>,
) -> async_graphql::Result<()> {
    if wait_for.is_some() {
        Snapshot::open(ctx, consumer, wait_for).await?;
    }
    Ok(())
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
