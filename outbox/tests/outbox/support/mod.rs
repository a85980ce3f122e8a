//! What the tests stand on: one private Postgres a test binary, a database a test, and nats-servers as wanted.

mod nats;
pub(crate) mod seen;
mod server;

use std::future::Future;
use std::time::Duration;

use domain::id::CommandId;
use domain::tenant::{TenantCommand, TenantRenamed};
use domain::value::Name;
use domain::{Actor, EventId, TenantId};
pub(crate) use nats::Nats;
use outbox::{Append, Log, LogSettings, NewEvent, Verdict};
use schemas::Metadata;
use schemas::evidence::Hash;
pub(crate) use server::Database;
use time::OffsetDateTime;
use uuid::Uuid;

#[expect(clippy::disallowed_methods, reason = "the tests' room for ids")]
pub(crate) fn uuid() -> Uuid {
    Uuid::now_v7()
}

#[expect(clippy::disallowed_methods, reason = "the tests' room for the clock")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) fn tenant() -> TenantId {
    TenantId::from_uuid(uuid())
}

pub(crate) fn metadata(tenant: TenantId) -> Metadata {
    Metadata {
        tenant,
        actor: Actor::System("test".into()),
        command: CommandId::from_uuid(uuid()),
        correlation: uuid(),
        causation: None,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        occurred_at: now(),
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn rename(text: &str) -> TenantCommand {
    TenantCommand::Rename { name: name(text) }
}

/// An append of `count` events to a new stream.
pub(crate) fn first(tenant: TenantId, stream: Uuid, count: usize) -> Append {
    let event = |i| {
        let event = TenantRenamed { name: name(&format!("name {i}")) }.into();
        NewEvent::of::<domain::tenant::TenantEvent>(EventId::from_uuid(uuid()), &event).unwrap()
    };
    Append {
        metadata: metadata(tenant),
        fingerprint: [1; 32],
        aggregate_type: "tenant",
        stream,
        expected_version: 0,
        expected_chain: Hash::ZERO,
        events: (0..count).map(event).collect(),
    }
}

/// An append of `count` events to a stream as it is now.
pub(crate) async fn next(log: &Log, tenant: TenantId, stream: Uuid, count: usize) -> Append {
    let loaded = log.load::<domain::tenant::Tenant>(tenant, stream).await.unwrap();
    Append { expected_version: loaded.version, expected_chain: loaded.chain, ..first(tenant, stream, count) }
}

/// Appends single events to new streams of one tenant.
pub(crate) async fn fill(log: &Log, tenant: TenantId, count: usize) {
    let appends = (0..count).map(|_| log.append(first(tenant, uuid(), 1)));
    for verdict in futures::future::join_all(appends).await {
        assert!(matches!(verdict.unwrap(), Verdict::Stored(_)));
    }
}

pub(crate) async fn connect(database: &Database) -> Log {
    Log::connect(&LogSettings { url: database.url.clone(), max_connections: 8, notify: true }).await.unwrap()
}

/// Waits until `condition` holds; fails after half a minute.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}
