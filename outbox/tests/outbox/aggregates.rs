//! Aggregates in memory: bounded, per tenant, and told of what others do.

use std::time::Duration;

use domain::tenant::{Tenant, TenantEvent, TenantRenamed};
use outbox::{Aggregates, Append, MemorySettings, NewEvent, Verdict};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Database, Nats, connect, eventually, first, metadata, name, tenant, uuid};

const LONG: MemorySettings = MemorySettings { max_bytes: 1 << 20, fact_life: Duration::MAX };

/// Decides a rename on what is remembered, else on what is loaded, and appends it.
async fn rename(aggregates: &Aggregates, tenant: domain::TenantId, to: &str) -> Verdict {
    let stream = tenant.uuid();
    let seen = match aggregates.seen::<Tenant>(tenant, stream) {
        Some(seen) => seen,
        None => aggregates.load::<Tenant>(tenant, stream).await.unwrap(),
    };
    let event = TenantEvent::from(TenantRenamed { name: name(to) });
    let append = Append {
        metadata: metadata(tenant),
        expected_version: seen.version,
        expected_chain: seen.chain,
        events: vec![NewEvent::of(domain::EventId::from_uuid(uuid()), &event).unwrap()],
        ..first(tenant, stream, 1)
    };
    aggregates.append(append, &seen, &[event]).await.unwrap()
}

#[tokio::test]
async fn what_is_remembered_is_what_the_log_says() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let aggregates = Aggregates::new(log.clone(), LONG);
    let tenant = tenant();
    log.append(first(tenant, tenant.uuid(), 3)).await.unwrap();
    for turn in 0..3 {
        assert!(matches!(rename(&aggregates, tenant, &format!("turn {turn}")).await, Verdict::Stored(_)));
        let seen = aggregates.seen::<Tenant>(tenant, tenant.uuid()).unwrap();
        assert_eq!(*seen, log.load::<Tenant>(tenant, tenant.uuid()).await.unwrap());
    }
}

#[tokio::test]
async fn an_old_memory_is_a_conflict_and_then_forgotten() {
    let database = Database::with(1).await;
    let (here, there) = (connect(&database).await, connect(&database).await);
    let (here, there) = (Aggregates::new(here, LONG), Aggregates::new(there, LONG));
    let tenant = tenant();
    assert!(matches!(rename(&here, tenant, "a").await, Verdict::Stored(_)));
    assert!(matches!(rename(&there, tenant, "b").await, Verdict::Stored(_)));
    assert_eq!(rename(&here, tenant, "c").await, Verdict::Conflict { version: 2 });
    assert!(here.seen::<Tenant>(tenant, tenant.uuid()).is_none());
    assert!(matches!(rename(&here, tenant, "c").await, Verdict::Stored(_)));
}

#[tokio::test]
async fn memory_is_bounded_by_bytes_and_keeps_what_was_used_last() {
    let database = Database::with(1).await;
    let settings = MemorySettings { max_bytes: 4_096, ..LONG };
    let aggregates = Aggregates::new(connect(&database).await, settings);
    let tenants: Vec<_> = (0..40).map(|_| tenant()).collect();
    for of in &tenants {
        rename(&aggregates, *of, "x").await;
        assert!(aggregates.seen::<Tenant>(tenants[0], tenants[0].uuid()).is_some(), "it is used all the time");
    }
    let kept = tenants.iter().filter(|of| aggregates.seen::<Tenant>(**of, of.uuid()).is_some()).count();
    assert!((2..=4_096 / 256).contains(&kept), "{kept}");
    let off = Aggregates::new(connect(&database).await, MemorySettings { max_bytes: 0, ..LONG });
    assert!(matches!(rename(&off, tenants[0], "y").await, Verdict::Stored(_)));
    assert!(off.seen::<Tenant>(tenants[0], tenants[0].uuid()).is_none());
}

#[tokio::test]
async fn nothing_is_remembered_for_another_tenant_or_of_what_does_not_exist() {
    let database = Database::with(1).await;
    let aggregates = Aggregates::new(connect(&database).await, LONG);
    let (mine, other) = (tenant(), tenant());
    rename(&aggregates, mine, "x").await;
    assert!(aggregates.seen::<Tenant>(other, mine.uuid()).is_none());
    assert!(aggregates.seen::<domain::card::Card>(mine, mine.uuid()).is_none(), "it is no card");
    assert_eq!(aggregates.load::<Tenant>(other, mine.uuid()).await.unwrap().version, 0);
    assert!(aggregates.seen::<Tenant>(other, mine.uuid()).is_none());
}

#[tokio::test]
async fn a_fact_is_forgotten_when_the_bus_tells_of_a_newer_one_and_not_believed_beyond_its_life() {
    let database = Database::with(1).await;
    let nats = Nats::start().await;
    let (here, there) = (connect(&database).await, connect(&database).await);
    let bus = nats.bus().await;
    let (here, there) = (Aggregates::new(here, LONG), Aggregates::new(there, LONG));
    let stop = CancellationToken::new();
    let (follower, followed) = (here.clone(), bus.clone());
    let _following = stop.clone().drop_guard();
    let told = stop.clone();
    tokio::spawn(async move { follower.follow(&followed, told).await });
    tokio::spawn(outbox::relay::run(there.log().clone(), bus, 0, Uuid::nil(), stop.clone()));

    let tenant = tenant();
    rename(&here, tenant, "a").await;
    assert!(here.recent::<Tenant>(tenant, tenant.uuid()).is_some());
    // The listening begins at some moment; from then on one change is enough.
    eventually("here is told of what happened there", || async {
        rename(&there, tenant, "b").await;
        here.recent::<Tenant>(tenant, tenant.uuid()).is_none()
    })
    .await;

    let doubts = Aggregates::new(connect(&database).await, MemorySettings { fact_life: Duration::ZERO, ..LONG });
    doubts.load::<Tenant>(tenant, tenant.uuid()).await.unwrap();
    assert!(doubts.seen::<Tenant>(tenant, tenant.uuid()).is_some());
    assert!(doubts.recent::<Tenant>(tenant, tenant.uuid()).is_none());
}
