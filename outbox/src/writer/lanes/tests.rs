//! Turns, bounds, and what may stand in one group.

use std::pin::Pin;

use domain::{Actor, EventId};
use futures::FutureExt as _;
use futures::future::join_all;
use schemas::Metadata;
use schemas::evidence::Hash;

use super::*;
use crate::{Append, NewEvent};

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

/// An append whose stream and command are those numbers.
fn append(tenant: TenantId, stream: u128, command: u128, payload: &str) -> Sealed {
    let metadata = Metadata {
        tenant,
        actor: Actor::System("test".into()),
        command: CommandId::from_uuid(Uuid::from_u128(command)),
        correlation: Uuid::nil(),
        causation: None,
        traceparent: None,
        occurred_at: time::OffsetDateTime::UNIX_EPOCH,
    };
    let event = NewEvent {
        id: EventId::from_uuid(Uuid::nil()),
        event_type: "CardArchived",
        event_version: 1,
        payload: payload.to_owned(),
    };
    Sealed::new(Append {
        metadata,
        fingerprint: [0; 32],
        aggregate_type: "card",
        stream: Uuid::from_u128(stream),
        expected_version: 0,
        expected_chain: Hash::ZERO,
        events: vec![event],
    })
    .unwrap()
}

/// The tenant and the stream of each append of the next group.
fn group(lanes: &Lanes) -> Vec<(u128, u128)> {
    let group = lanes.next_group().now_or_never().flatten().unwrap_or_default();
    let name = |waiting: &Waiting| {
        let append = &waiting.sealed.append;
        (append.metadata.tenant.uuid().as_u128(), append.stream.as_u128())
    };
    group.iter().map(name).collect()
}

/// Callers that have come as far as they can. They go when this is dropped.
fn callers(lanes: &Lanes, appends: impl Iterator<Item = Sealed>) -> Vec<Pin<Box<dyn Future<Output = ()> + '_>>> {
    let call = |sealed| {
        let mut call = Box::pin(async { drop(tokio::task::unconstrained(lanes.append(sealed)).await) });
        assert!(call.as_mut().now_or_never().is_none());
        call as Pin<Box<dyn Future<Output = ()>>>
    };
    appends.map(call).collect()
}

#[tokio::test]
async fn a_flood_of_one_tenant_leaves_the_others_their_turns() {
    let lanes = Lanes::new();
    let flood = callers(&lanes, (0..5_000).map(|n| append(tenant(1), n, n, "{}")));
    let others = callers(&lanes, (2..12).map(|n| append(tenant(n), 0, 0, "{}")));
    let group = group(&lanes);
    assert_eq!(group.len(), MAX_GROUP);
    let expected: Vec<_> = (1..12).map(|tenant| (tenant, 0)).collect();
    assert_eq!(group[..11], expected);
    drop((flood, others));
}

#[tokio::test]
async fn what_waits_is_counted_and_the_first_wakes_the_writer() {
    let lanes = Lanes::new();
    // The third is of the first one's stream.
    let waiting = callers(&lanes, (0..3).map(|n| append(tenant(1), n % 2, n, "{}")));
    assert_eq!(lanes.waiting(), 3);
    assert_eq!(group(&lanes), [(1, 0), (1, 1)]);
    assert_eq!(lanes.waiting(), 1);
    assert_eq!(group(&lanes), [(1, 0)]);
    assert_eq!(lanes.waiting(), 0);
    drop(waiting);
    // The writer sleeps now; the first that comes wakes it.
    let mut next = Box::pin(lanes.next_group());
    assert!(next.as_mut().now_or_never().is_none());
    let waiting = callers(&lanes, (3..5).map(|n| append(tenant(n), 0, n, "{}")));
    assert_eq!(next.as_mut().now_or_never().flatten().map(|group| group.len()), Some(2));
    drop((waiting, next));
    let waiting = callers(&lanes, (4..6).map(|n| append(tenant(n), 0, n, "{}")));
    lanes.abandon();
    assert_eq!(lanes.waiting(), 0);
    drop(waiting);
}

#[tokio::test]
async fn what_waits_is_bounded_and_the_rest_waits_outside() {
    let lanes = Lanes::new();
    let flood = callers(&lanes, (0..5_000).map(|n| append(tenant(1), n, n, "{}")));
    let held = |tenant| lanes.state().lanes.get(&tenant).map_or(0, |lane| lane.waiting.len());
    assert_eq!(held(tenant(1)), LANE);
    // Many tenants that each send a lot.
    let many = (0..40_000).map(|n| append(tenant(2 + n % 40), n, n, "{}"));
    let crowd = callers(&lanes, many);
    let total = |lanes: &Lanes| lanes.state().lanes.values().map(|lane| lane.waiting.len()).sum::<usize>();
    assert_eq!(total(&lanes), ALL_LANES);
    drop((flood, crowd));
    // Whoever has gone away wants no answer; what it sent is still taken, and then nothing is left.
    while !group(&lanes).is_empty() {}
    assert!(lanes.state().lanes.is_empty());
    assert_eq!(lanes.room.available_permits(), ALL_LANES);
}

#[tokio::test]
async fn a_stream_and_a_command_stand_in_a_group_once_and_keep_their_order() {
    let lanes = Lanes::new();
    let of = |stream, command| append(tenant(1), stream, command, "{}");
    let waiting = callers(&lanes, [of(1, 1), of(1, 2), of(1, 3), of(2, 1), of(3, 4)].into_iter());
    assert_eq!(group(&lanes), [(1, 1), (1, 3)]);
    assert_eq!(group(&lanes), [(1, 1), (1, 2)]);
    assert_eq!(group(&lanes), [(1, 1)]);
    assert_eq!(group(&lanes), []);
    drop(waiting);
}

#[tokio::test]
async fn a_large_append_has_its_turn_too() {
    let lanes = Lanes::new();
    let large = "x".repeat(MAX_GROUP_BYTES);
    let small = callers(&lanes, (0..10).map(|n| append(tenant(1), n, n, "{}")));
    let big = callers(&lanes, (0..2).map(|n| append(tenant(2), n, n, &large)));
    assert_eq!(group(&lanes), [(1, 0)]);
    assert_eq!(group(&lanes), [(2, 0)]);
    assert_eq!(group(&lanes), [(1, 1)]);
    assert_eq!(group(&lanes), [(2, 1)]);
    assert_eq!(group(&lanes).len(), 8);
    drop((small, big));
}

#[tokio::test]
async fn when_nobody_writes_any_more_all_are_told() {
    let lanes = Lanes::new();
    let mut flood = join_all((0..2_000).map(|n| lanes.append(append(tenant(1), n, n, "{}"))));
    assert!((&mut flood).now_or_never().is_none());
    lanes.abandon();
    assert!(flood.await.iter().all(|verdict| matches!(verdict, Err(LogError::Stopped))));
    assert!(matches!(lanes.append(append(tenant(2), 0, 0, "{}")).await, Err(LogError::Stopped)));
}
