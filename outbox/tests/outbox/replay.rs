//! The library call gives what the bus gives, in the same order.

use futures::StreamExt as _;
use schemas::{Recorded, subject};
use tokio_util::sync::CancellationToken;

use crate::support::{Database, Nats, connect, fill, first, tenant, uuid};

fn json(event: &Recorded) -> String {
    serde_json::to_string(event).unwrap()
}

#[tokio::test]
async fn a_replay_ends_at_the_end_and_goes_on_when_asked_again() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    // Enough that pages are copied in the end.
    fill(&log, tenant(), 9_000).await;
    let mut replay = log.replay(0, 7);
    let (mut events, mut pages) = (Vec::new(), 0);
    while let page = replay.page().await.unwrap()
        && !page.is_empty()
    {
        pages += 1;
        events.extend(page);
    }
    assert!(pages > 4, "{pages}");
    assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), (8..=9_000).collect::<Vec<_>>());
    let read = log.read(0, 7, 10_000).await.unwrap();
    assert_eq!(events.iter().map(json).collect::<Vec<_>>(), read.iter().map(json).collect::<Vec<_>>());
    fill(&log, tenant(), 2).await;
    assert_eq!(replay.page().await.unwrap().len(), 2);
    assert_eq!(replay.position(), 9_002);
    let events: Vec<_> = log.replay(0, 0).events().map(|event| event.unwrap().position).collect().await;
    assert_eq!(events, (1..=9_002).collect::<Vec<_>>());
    assert_eq!(log.replay(0, 9_999).events().count().await, 0);
}

#[tokio::test]
async fn the_bus_and_the_library_give_the_same() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    let messages = bus.client().subscribe(subject::EVENTS).await.unwrap();
    fill(&log, tenant(), 20).await;
    log.append(first(tenant(), uuid(), 30)).await.unwrap();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(outbox::relay::run(log.clone(), bus, 0, uuid(), stop));
    let told: Vec<_> = messages.take(50).map(|message| outbox::event_of(&message).unwrap()).collect().await;
    let read: Vec<_> = log.replay(0, 0).events().map(|event| event.unwrap()).collect().await;
    assert_eq!(told.iter().map(json).collect::<Vec<_>>(), read.iter().map(json).collect::<Vec<_>>());
    assert!(read.iter().all(|event| event.digest == event.expected_digest()));
}
