//! Dispatches what process managers have stored.
//!
//! Guarantees: each command is dispatched at least once, and by its id takes effect once; one that a rule refuses is
//! told of and dropped, since the same fact would be refused again; one that fails otherwise is tried again, later and
//! later. Several processes may send at once. Never: two senders on the same letter in the same moment.

use std::sync::Arc;

use command_api::{Caller, DispatchError};
use domain::TenantId;
use domain::id::{CommandId, EventId};
use outbox::crash;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::RUN_CARD;
use super::order::Letter;
use crate::control::{Control, Origin};
use crate::jobs::wake::Wakes;

/// Sends until `shutdown`.
pub(crate) async fn run(pool: PgPool, control: Control, wakes: Arc<Wakes>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match send_next(&pool, &control).await {
            Ok(true) => {}
            Ok(false) => {
                shutdown.run_until_cancelled(wakes.wait_for_letters()).await;
            }
            Err(error) => {
                warn!(%error, "outgoing commands wait for the database");
                shutdown.run_until_cancelled(tokio::time::sleep(crate::jobs::wake::LOOK)).await;
            }
        }
    }
}

/// Takes the next letter that is due and dispatches it, holding its row meanwhile. False when there is none.
pub(crate) async fn send_next(pool: &PgPool, control: &Control) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let row = sqlx::query(
        "SELECT * FROM work.outgoing WHERE available_at <= now() ORDER BY available_at, id LIMIT 1
         FOR UPDATE SKIP LOCKED",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(false) };
    let (id, tries): (i64, i32) = (row.try_get("id")?, row.try_get("tries")?);
    match dispatch(&row, control).await {
        Ok(()) => {
            crash::point("process.dispatched");
            delete(&mut tx, id).await?;
        }
        Err(error) => {
            warn!(%error, tries, "an outgoing command is tried again later");
            postpone(&mut tx, id, tries).await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}

async fn dispatch(row: &PgRow, control: &Control) -> Result<(), DispatchError> {
    let letter = match read(row) {
        Ok(letter) => letter,
        // Written by a newer release, perhaps: that one's senders take it.
        Err(error) => {
            return Err(DispatchError::Log(error.into()));
        }
    };
    let caller = Caller::system(letter.tenant, RUN_CARD);
    let request = letter.origin.request(letter.command);
    match control.dispatch_once(&caller, request, letter.order.into_order()).await {
        Ok(_) => Ok(()),
        Err(refused @ (DispatchError::Refused(_) | DispatchError::NotFound)) => {
            warn!(command = %letter.command, tenant = %letter.tenant, %refused, "a process manager's command was refused");
            Ok(())
        }
        Err(DispatchError::KeyReused | DispatchError::Forbidden) => {
            error!(command = %letter.command, "a process manager's command is malformed: a defect");
            Ok(())
        }
        Err(error) => {
            debug!(command = %letter.command, %error, "not now");
            Err(error)
        }
    }
}

fn read(row: &PgRow) -> Result<Letter, sqlx::Error> {
    let order: serde_json::Value = row.try_get("order")?;
    Ok(Letter {
        tenant: TenantId::from_uuid(row.try_get("tenant")?),
        command: CommandId::from_uuid(row.try_get("command")?),
        order: serde_json::from_value(order).map_err(|error| sqlx::Error::Decode(error.into()))?,
        origin: Origin {
            correlation: row.try_get("correlation")?,
            causation: Some(EventId::from_uuid(row.try_get("causation")?)),
            traceparent: row.try_get("traceparent")?,
        },
    })
}

async fn delete(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM work.outgoing WHERE id = $1").bind(id).execute(connection).await.map(drop)
}

/// 0.2 s, then twice as long each time, up to a minute.
async fn postpone(connection: &mut PgConnection, id: i64, tries: i32) -> Result<(), sqlx::Error> {
    let wait = (0.2 * f64::from(2_i32.saturating_pow(tries.clamp(0, 10).cast_unsigned()))).min(60.0);
    sqlx::query(
        "UPDATE work.outgoing SET tries = tries + 1, available_at = now() + make_interval(secs => $2) WHERE id = $1",
    )
    .bind(id)
    .bind(wait)
    .execute(connection)
    .await
    .map(drop)
}
