//! The one statement that writes the log: a call of `log.append`.

use schemas::evidence::META;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::append::Sealed;
use crate::{Appended, Verdict};

const APPEND: &str = "SELECT verdict, type, stream, version, position FROM log.append($1, $2, $3, $4, $5, $6, $7, $8, \
                      $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)";

/// The statement's arrays: one element an event, what an append's events share repeated.
#[derive(Default)]
struct Rows<'a> {
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
    id: Vec<Uuid>,
    version: Vec<i64>,
    event_type: Vec<&'a str>,
    event_version: Vec<i32>,
    payload: Vec<&'a str>,
    meta: Vec<&'a str>,
    digest: Vec<&'a [u8]>,
    chain: Vec<&'a [u8]>,
    last: Vec<bool>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, sealed: &'a Sealed) {
        let append = &sealed.append;
        let metadata = &append.metadata;
        let actor = metadata.actor.to_string();
        let events = append.events.iter().zip(&sealed.proofs).zip(append.expected_version + 1..);
        for ((event, (digest, chain)), version) in events {
            self.tenant.push(metadata.tenant.uuid());
            self.command.push(metadata.command.uuid());
            self.fingerprint.push(&append.fingerprint);
            self.aggregate_type.push(append.aggregate_type);
            self.stream.push(append.stream);
            self.expected_version.push(append.expected_version);
            self.expected_chain.push(&append.expected_chain.0);
            self.actor.push(actor.clone());
            self.correlation.push(metadata.correlation);
            self.causation.push(metadata.causation.map(domain::Id::uuid));
            self.traceparent.push(metadata.traceparent.as_deref());
            self.occurred_at.push(metadata.occurred_at);
            self.id.push(event.id.uuid());
            self.version.push(version);
            self.event_type.push(event.event_type);
            self.event_version.push(event.event_version.into());
            self.payload.push(&event.payload);
            self.meta.push(META);
            self.digest.push(&digest.0);
            self.chain.push(&chain.0);
            self.last.push(false);
        }
        // An append has at least one event.
        if let Some(last) = self.last.last_mut() {
            *last = true;
        }
    }
}

/// One round trip, autocommitted: the verdicts in the order of the group.
pub(super) async fn execute(
    connection: &mut PgConnection,
    partition: i32,
    notify: bool,
    group: impl ExactSizeIterator<Item = &Sealed>,
) -> Result<Vec<Verdict>, sqlx::Error> {
    let count = group.len();
    let mut rows = Rows::default();
    group.for_each(|sealed| rows.push(sealed));
    let answer = sqlx::query(APPEND)
        .bind(partition)
        .bind(rows.tenant)
        .bind(rows.command)
        .bind(rows.fingerprint)
        .bind(rows.aggregate_type)
        .bind(rows.stream)
        .bind(rows.expected_version)
        .bind(rows.expected_chain)
        .bind(rows.actor)
        .bind(rows.correlation)
        .bind(rows.causation)
        .bind(rows.traceparent)
        .bind(rows.occurred_at)
        .bind(rows.id)
        .bind(rows.version)
        .bind(rows.event_type)
        .bind(rows.event_version)
        .bind(rows.payload)
        .bind(rows.meta)
        .bind(rows.digest)
        .bind(rows.chain)
        .bind(rows.last)
        .bind(notify)
        .fetch_all(connection)
        .await?;
    if answer.len() != count {
        return Err(sqlx::Error::Protocol(format!("{} verdicts for {count} appends", answer.len())));
    }
    answer.iter().map(|row| verdict(row, partition)).collect()
}

fn verdict(row: &PgRow, partition: i32) -> Result<Verdict, sqlx::Error> {
    let appended = || {
        Ok::<_, sqlx::Error>(Appended {
            aggregate_type: row.try_get("type")?,
            stream: row.try_get("stream")?,
            version: row.try_get("version")?,
            position: row.try_get("position")?,
            partition,
        })
    };
    Ok(match row.try_get("verdict")? {
        "stored" => Verdict::Stored(appended()?),
        "repeated" => Verdict::Repeated(appended()?),
        "mismatch" => Verdict::Mismatch,
        "conflict" => Verdict::Conflict { version: row.try_get("version")? },
        other => return Err(sqlx::Error::Protocol(format!("log.append answered `{other}`"))),
    })
}
