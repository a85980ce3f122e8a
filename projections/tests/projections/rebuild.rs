//! A read model follows from the log alone.

use crate::support::{World, contents};

/// What was built event by event while things happened equals what is built afterwards, in pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn built_again_from_the_log_every_table_is_the_same() {
    for seed in 0..4 {
        let mut world = World::new(seed).await;
        let following = world.follow();
        for _ in 0..300 {
            world.random().await;
        }
        following.caught_up(&world).await;
        following.shutdown.cancel();
        let live = contents(&world.database).await;
        for (table, rows) in &live {
            assert!(!rows.is_empty(), "seed {seed}: nothing in {table}");
            assert!(!rows.contains("5ec4e7"), "seed {seed}: a secret's reference in {table}");
        }
        for model in projections::all() {
            outbox::consumer::rebuild(&world.log, &*model).await.unwrap();
        }
        let again = contents(&world.database).await;
        for ((table, was), (_, is)) in live.iter().zip(&again) {
            for (was, is) in was.lines().zip(is.lines()) {
                assert_eq!(was, is, "seed {seed}, table {table}");
            }
            assert_eq!(was.lines().count(), is.lines().count(), "seed {seed}, table {table}");
        }
    }
}
