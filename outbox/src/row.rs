//! An event from its row, taken from the bytes of the wire: replays do this millions of times.

use domain::id::CommandId;
use domain::{EventId, TenantId};
use schemas::evidence::Hash;
use schemas::{Metadata, Recorded};
use serde_json::value::RawValue;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::LogError;

/// The columns of a [`Recorded`], in the order in which [`recorded`] takes them.
macro_rules! events {
    ($rest:literal) => {
        concat!(
            "SELECT partition, position, tenant, id, aggregate_type, stream, version, event_type, event_version, actor, \
             command, correlation, causation, traceparent, occurred_at, recorded_at, digest, chain, payload \
             FROM log.events ",
            $rest
        )
    };
}
pub(crate) use events;

/// Where the database's times begin.
const EPOCH: OffsetDateTime = datetime!(2000-01-01 00:00 UTC);

/// What `COPY` in binary form begins with, and the length of what follows that in front of the first row.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const FLAGS: usize = 8;

/// The event of a row of [`events`], from a prepared statement: its values are in binary form.
pub(crate) fn recorded(row: &PgRow) -> Result<Recorded, LogError> {
    let mut next = 0;
    event(Values(|| {
        let value = row.try_get_raw(next)?;
        next += 1;
        // Without bytes it is NULL.
        Ok(value.as_bytes().ok())
    }))
}

/// The event of a message of a `COPY` of [`events`] in binary form, which is a row; none at the end.
pub(crate) fn copied(message: &[u8]) -> Result<Option<Recorded>, LogError> {
    let row = message.strip_prefix(SIGNATURE).map_or(Some(message), |rest| rest.get(FLAGS..));
    let (columns, mut rest) = row.and_then(|row| row.split_first_chunk()).ok_or_else(cut)?;
    // Instead of the number of columns, the end has -1.
    if i16::from_be_bytes(*columns) < 0 {
        return Ok(None);
    }
    let next = || {
        let (length, behind) = rest.split_first_chunk().ok_or_else(cut)?;
        rest = behind;
        // NULL has the length -1.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Ok(None) };
        let (value, behind) = rest.split_at_checked(length).ok_or_else(cut)?;
        rest = behind;
        Ok(Some(value))
    };
    event(Values(next)).map(Some)
}

fn cut() -> LogError {
    LogError::Row("a copied row is cut off".to_owned())
}

/// The event of its values, in the order of the columns.
fn event<'r, N: FnMut() -> Result<Option<&'r [u8]>, LogError>>(mut values: Values<N>) -> Result<Recorded, LogError> {
    let partition = values.i32()?;
    let position = values.i64()?;
    let tenant = TenantId::from_uuid(values.uuid()?);
    let id = EventId::from_uuid(values.uuid()?);
    let aggregate_type = values.text()?.to_owned();
    let stream = values.uuid()?;
    let version = values.i64()?;
    let event_type = values.text()?.to_owned();
    let event_version = event_version(values.i32()?)?;
    let actor = values.text()?.parse().map_err(|error| LogError::Row(format!("actor: {error}")))?;
    let command = CommandId::from_uuid(values.uuid()?);
    let correlation = values.uuid()?;
    let causation = values.optional()?.map(fixed).transpose()?.map(|bytes| EventId::from_uuid(Uuid::from_bytes(bytes)));
    let traceparent = values.optional()?.map(text).transpose()?.map(str::to_owned);
    let occurred_at = values.time()?;
    let recorded_at = values.time()?;
    let digest = Hash(values.fixed()?);
    let chain = Hash(values.fixed()?);
    let payload: Box<RawValue> =
        serde_json::from_str(values.text()?).map_err(|error| LogError::Row(error.to_string()))?;
    let metadata = Metadata { tenant, actor, command, correlation, causation, traceparent, occurred_at };
    Ok(Recorded {
        partition,
        position,
        id,
        aggregate_type,
        stream,
        version,
        event_type,
        event_version,
        metadata,
        recorded_at,
        digest,
        chain,
        payload,
    })
}

/// The version of a payload, from its column.
pub(crate) fn event_version(version: i32) -> Result<u16, LogError> {
    u16::try_from(version).map_err(|_| LogError::Row(format!("event version {version}")))
}

/// Takes a row's values one after the other, as a function gives them.
struct Values<N>(N);

impl<'r, N: FnMut() -> Result<Option<&'r [u8]>, LogError>> Values<N> {
    fn optional(&mut self) -> Result<Option<&'r [u8]>, LogError> {
        (self.0)()
    }

    fn bytes(&mut self) -> Result<&'r [u8], LogError> {
        self.optional()?.ok_or_else(|| LogError::Row("a column is NULL".to_owned()))
    }

    fn fixed<const L: usize>(&mut self) -> Result<[u8; L], LogError> {
        fixed(self.bytes()?)
    }

    fn text(&mut self) -> Result<&'r str, LogError> {
        text(self.bytes()?)
    }

    fn uuid(&mut self) -> Result<Uuid, LogError> {
        Ok(Uuid::from_bytes(self.fixed()?))
    }

    fn i32(&mut self) -> Result<i32, LogError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    fn i64(&mut self) -> Result<i64, LogError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    fn time(&mut self) -> Result<OffsetDateTime, LogError> {
        let micros = self.i64()?;
        let at = EPOCH.checked_add(Duration::microseconds(micros));
        at.ok_or_else(|| LogError::Row(format!("a time of {micros} microseconds")))
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], LogError> {
    bytes.try_into().map_err(|_| LogError::Row(format!("{} bytes instead of {N}", bytes.len())))
}

fn text(bytes: &[u8]) -> Result<&str, LogError> {
    std::str::from_utf8(bytes).map_err(|error| LogError::Row(error.to_string()))
}
