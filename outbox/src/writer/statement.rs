//! The one statement that writes the log: a call of `log.append`.

use schemas::evidence::META;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgConnection, PgHasArrayType, PgRow, PgTypeInfo};
use sqlx::{Encode, Postgres, Row as _, Type};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::append::Sealed;
use crate::{Appended, Verdict};

const APPEND: &str = "SELECT append, verdict, type, stream, version, position FROM log.append($1, $2, $3, $4, $5, $6, $7, \
                      $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)";

/// What became of a group.
#[derive(Debug)]
pub(super) enum Answer {
    /// All of it is stored, from the position after this one on.
    Stored {
        /// The position before the group's first event.
        before: i64,
    },
    /// Nothing is stored, because of these: their places in the group, in order, and their verdicts.
    Refused(Vec<(usize, Verdict)>),
}

/// The arrays with one element an append.
#[derive(Default)]
struct Appends<'a> {
    tenant: Vec<Uuid>,
    command: Vec<Uuid>,
    fingerprint: Vec<&'a [u8]>,
    aggregate_type: Vec<&'a str>,
    stream: Vec<Uuid>,
    expected_version: Vec<i64>,
    expected_chain: Vec<&'a [u8]>,
    actor: Vec<String>,
    correlation: Vec<Uuid>,
    causation: Vec<Option<Uuid>>,
    traceparent: Vec<Option<&'a str>>,
    occurred_at: Vec<OffsetDateTime>,
    /// Which event is its last, from 1.
    end: Vec<i32>,
}

/// The arrays with one element an event.
#[derive(Default)]
struct Events<'a> {
    id: Vec<Uuid>,
    /// Which append it is of, from 1.
    append: Vec<i32>,
    version: Vec<i64>,
    event_type: Vec<&'a str>,
    event_version: Vec<i32>,
    payload: Vec<Json<'a>>,
    digest: Vec<&'a [u8]>,
    chain: Vec<&'a [u8]>,
}

impl<'a> Appends<'a> {
    fn push(&mut self, sealed: &'a Sealed, end: i32) {
        let append = &sealed.append;
        let metadata = &append.metadata;
        self.tenant.push(metadata.tenant.uuid());
        self.command.push(metadata.command.uuid());
        self.fingerprint.push(&append.fingerprint);
        self.aggregate_type.push(append.aggregate_type);
        self.stream.push(append.stream);
        self.expected_version.push(append.expected_version);
        self.expected_chain.push(&append.expected_chain.0);
        self.actor.push(metadata.actor.to_string());
        self.correlation.push(metadata.correlation);
        self.causation.push(metadata.causation.map(domain::Id::uuid));
        self.traceparent.push(metadata.traceparent.as_deref());
        self.occurred_at.push(metadata.occurred_at);
        self.end.push(end);
    }
}

impl<'a> Events<'a> {
    fn push(&mut self, sealed: &'a Sealed, nth_append: i32) {
        let append = &sealed.append;
        let events = append.events.iter().zip(&sealed.proofs).zip(append.expected_version + 1..);
        for ((event, (digest, chain)), version) in events {
            self.id.push(event.id.uuid());
            self.append.push(nth_append);
            self.version.push(version);
            self.event_type.push(event.event_type);
            self.event_version.push(event.event_version.into());
            self.payload.push(Json(&event.payload));
            self.digest.push(&digest.0);
            self.chain.push(&chain.0);
        }
    }
}

/// One round trip, autocommitted.
pub(super) async fn execute(
    connection: &mut PgConnection,
    partition: i32,
    notify: bool,
    group: impl Iterator<Item = &Sealed>,
) -> Result<Answer, sqlx::Error> {
    let (mut appends, mut events) = (Appends::default(), Events::default());
    for (sealed, nth) in group.zip(1..) {
        events.push(sealed, nth);
        appends.push(sealed, i32::try_from(events.id.len()).unwrap_or(i32::MAX));
    }
    let rows = sqlx::query(APPEND)
        .bind(partition)
        .bind(notify)
        .bind(Json(META))
        .bind(appends.tenant)
        .bind(appends.command)
        .bind(appends.fingerprint)
        .bind(appends.aggregate_type)
        .bind(appends.stream)
        .bind(appends.expected_version)
        .bind(appends.expected_chain)
        .bind(appends.actor)
        .bind(appends.correlation)
        .bind(appends.causation)
        .bind(appends.traceparent)
        .bind(appends.occurred_at)
        .bind(appends.end)
        .bind(events.id)
        .bind(events.append)
        .bind(events.version)
        .bind(events.event_type)
        .bind(events.event_version)
        .bind(events.payload)
        .bind(events.digest)
        .bind(events.chain)
        .fetch_all(connection)
        .await?;
    match rows.as_slice() {
        [stored] if stored.try_get::<i32, _>("append")? == 0 => {
            Ok(Answer::Stored { before: stored.try_get("position")? })
        }
        refused => refused.iter().map(|row| refusal(row, partition)).collect::<Result<_, _>>().map(Answer::Refused),
    }
}

fn refusal(row: &PgRow, partition: i32) -> Result<(usize, Verdict), sqlx::Error> {
    let verdict = match row.try_get("verdict")? {
        "repeated" => Verdict::Repeated(Appended {
            aggregate_type: row.try_get("type")?,
            stream: row.try_get("stream")?,
            version: row.try_get("version")?,
            position: row.try_get("position")?,
            partition,
        }),
        "mismatch" => Verdict::Mismatch,
        "conflict" => Verdict::Conflict { version: row.try_get("version")? },
        other => return Err(sqlx::Error::Protocol(format!("log.append answered `{other}`"))),
    };
    let nth: i32 = row.try_get("append")?;
    let place =
        usize::try_from(nth - 1).map_err(|_| sqlx::Error::Protocol(format!("log.append refused append {nth}")))?;
    Ok((place, verdict))
}

/// A text that the database keeps as `json`, byte for byte, when it is JSON.
struct Json<'a>(&'a str);

impl Type<Postgres> for Json<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(114))
    }
}

impl PgHasArrayType for Json<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(199))
    }
}

impl Encode<'_, Postgres> for Json<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}
