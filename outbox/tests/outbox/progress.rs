//! Who waits for a consumer learns when it has come far enough.

use std::sync::Arc;
use std::time::Duration;

use outbox::{Log, Progress, Verdict};
use tokio_util::sync::CancellationToken;

use crate::support::seen::{NAME, Seen};
use crate::support::{Database, Nats, connect, eventually, fill, first, tenant, uuid};

const LONG: Duration = Duration::from_secs(20);

async fn set_up() -> (Database, Log, Arc<Seen>, CancellationToken) {
    let database = Database::with(1).await;
    Seen::table(&database).await;
    let log = connect(&database).await;
    (database, log, Arc::default(), CancellationToken::new())
}

#[tokio::test]
async fn waiting_ends_when_the_position_is_reached_or_the_time_is_over() {
    let (_database, log, seen, stop) = set_up().await;
    let _stop = stop.clone().drop_guard();
    let progress = Progress::start(log.clone(), None, &[NAME], stop);
    fill(&log, tenant(), 3).await;
    assert_eq!(progress.wait(NAME, 0, 3, Duration::from_millis(50)).await, Err(0));
    let _running = seen.run(&log, None);
    assert_eq!(progress.wait(NAME, 0, 3, LONG).await, Ok(()));
    assert_eq!(progress.wait(NAME, 0, 3, Duration::ZERO).await, Ok(()));
    assert_eq!(progress.wait(NAME, 0, 4, Duration::from_millis(50)).await, Err(3));
    assert_eq!(progress.wait("nobody", 0, 1, LONG).await, Err(0));
    assert_eq!(progress.wait(NAME, 1, 1, LONG).await, Err(0));
}

#[tokio::test]
async fn over_the_bus_it_is_quick_and_says_what_changed() {
    let (_database, log, seen, stop) = set_up().await;
    let _stop = stop.clone().drop_guard();
    let nats = Nats::start().await;
    let bus = nats.bus().await;
    tokio::spawn(outbox::relay::run(log.clone(), bus.clone(), 0, uuid(), stop.clone()));
    let progress = Progress::start(log.clone(), Some(bus.clone()), &[NAME], stop);
    let mut reached = progress.subscribe(NAME, 0);
    let _running = seen.run(&log, Some(bus));
    fill(&log, tenant(), 1).await;
    assert_eq!(progress.wait(NAME, 0, 1, LONG).await, Ok(()));
    while reached.recv().await.unwrap().position < 1 {}

    let stream = uuid();
    let Ok(Verdict::Stored(appended)) = log.append(first(tenant(), stream, 1)).await else { panic!("not stored") };
    progress.wait(NAME, 0, appended.position, LONG).await.unwrap();
    // Only a message knows the topics; a look at the positions does not.
    let message = reached.recv().await.unwrap();
    assert_eq!((message.position, &*message.topics), (2, &[stream][..]));
}

#[tokio::test]
async fn a_rebuild_takes_it_back() {
    let (_database, log, seen, stop) = set_up().await;
    let _stop = stop.clone().drop_guard();
    let progress = Progress::start(log.clone(), None, &[NAME], stop);
    fill(&log, tenant(), 2).await;
    outbox::consumer::rebuild(&log, &*seen).await.unwrap();
    assert_eq!(progress.wait(NAME, 0, 2, LONG).await, Ok(()));
    sqlx::raw_sql("UPDATE log.consumers SET position = 0").execute(log.worker_pool()).await.unwrap();
    eventually("the position is known to be lower", || async {
        progress.wait(NAME, 0, 1, Duration::ZERO).await == Err(0)
    })
    .await;
}
