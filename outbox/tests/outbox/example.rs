//! The example of the harness does what it says.

use crate::support::{Database, Nats, connect, eventually, fill, tenant};

#[expect(dead_code, reason = "it is a program too")]
#[expect(unreachable_pub, reason = "it is a program too")]
#[path = "../../examples/counts.rs"]
mod counts;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_counted_once_however_often_the_example_is_started() {
    let database = Database::with(3).await;
    let log = connect(&database).await;
    let nats = Nats::start().await;
    let mut total = 0;
    for round in 1..=4_i64 {
        let stop = tokio_util::sync::CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        // Two at once, one of them without a bus.
        for bus in [None, Some(nats.url())] {
            counts::count(&database.url, bus.as_deref(), stop.clone()).await.unwrap();
        }
        for _ in 0..3 {
            fill(&log, tenant(), 40).await;
            total += 40;
        }
        eventually("everything is counted", || async {
            let counted = sqlx::query_scalar("SELECT count FROM read.counts WHERE event_type = 'TenantRenamed'");
            counted.fetch_optional(log.worker_pool()).await.unwrap() == Some(total)
        })
        .await;
        assert_eq!(total, round * 120);
    }
    let types: i64 = sqlx::query_scalar("SELECT count(*) FROM read.counts").fetch_one(log.worker_pool()).await.unwrap();
    assert_eq!(types, 1);
}
