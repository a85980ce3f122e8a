//! Readers and writers go on while another generation comes to serve.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use domain::{CardId, TenantId};
use outbox::{Progress, consumer};
use projections::{MODELS, board, generations};

use crate::rebuild::{generations_of, rebuild, roll_back, serving};
use crate::support::World;

/// Reads a card again and again, each time waiting for the last position written; how often.
async fn read_on(
    log: outbox::Log,
    progress: Progress,
    (tenant, card): (TenantId, CardId),
    written: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
) -> u64 {
    let partition = log.partition_of(tenant);
    let (mut reads, mut seen) = (0, (0, 0));
    while !stop.load(Ordering::Relaxed) {
        let wanted = written.load(Ordering::Acquire);
        progress.wait(board::NAME, partition, wanted, Duration::from_secs(20)).await.unwrap();
        let mut tx = projections::read(&log, tenant).await.unwrap();
        let position = consumer::position(&mut tx, board::NAME, partition).await.unwrap();
        let row = board::card(&mut tx, tenant, card).await.unwrap().unwrap();
        assert!(position >= wanted, "the model stands at {position}, and had {wanted}");
        assert!(row.position >= wanted, "a row of {} was read that had been changed at {wanted}", row.position);
        assert!((position, row.version) >= seen, "back from {seen:?} to {position}, {}", row.version);
        seen = (position, row.version);
        reads += 1;
    }
    reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_no_switch_and_no_way_back() {
    let mut world = World::of(7, 2).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    for _ in 0..100 {
        world.random().await;
    }
    let following = world.follow();
    following.caught_up(&world).await;
    world.move_card(tenant, card, "ready").await;
    let (written, stop) = (Arc::new(AtomicI64::new(world.position)), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (log, progress) = (world.log.clone(), following.progress.clone());
            tokio::spawn(read_on(log, progress, (tenant, card), written.clone(), stop.clone()))
        })
        .collect();
    let model = &MODELS[0];
    let switches = AtomicU64::new(0);
    let (log, url) = (world.log.clone(), world.database.url.clone());
    let switching = async {
        for back in [false, false, true, true, false, true] {
            let mut told = |_| {};
            let rebuilder = generations::Rebuilder::new(&log, &url, model, &mut told).await.unwrap();
            let built = if back { rebuilder.roll_back().await } else { rebuilder.rebuild(false, false).await }.unwrap();
            assert!(back || built.proven);
            switches.fetch_add(1, Ordering::Relaxed);
        }
    };
    let writing = async {
        // One event after the other, as long as anything is switched.
        while switches.load(Ordering::Relaxed) < 6 {
            for lane in ["review", "ready"] {
                world.move_card(tenant, card, lane).await;
                written.store(world.position, Ordering::Release);
            }
            world.random().await;
        }
    };
    tokio::join!(switching, writing);
    following.caught_up(&world).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    let states: Vec<_> = generations_of(&world, model).await.into_iter().map(|(_, state)| state).collect();
    assert_eq!(states.iter().filter(|state| *state == "serving").count(), 1, "{states:?}");
    assert_eq!(states.len(), 4);
    // The one that was left last is again what a rebuild makes.
    let built = rebuild(&world, model, false).await.unwrap();
    assert!(built.proven && built.difference.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_generation_is_kept_until_it_is_dropped() {
    let mut world = World::new(8).await;
    let tenant = world.tenant().await;
    let following = world.follow();
    following.caught_up(&world).await;
    let model = &MODELS[0];
    let first = serving(&world, model).await;
    rebuild(&world, model, false).await.unwrap();
    let mut owner = outbox::migrate::owner(&world.database.url).await.unwrap();
    assert_eq!(generations::drop_retired(&mut owner, model, Duration::from_secs(60)).await.unwrap(), []);
    let dropped = generations::drop_retired(&mut owner, model, Duration::ZERO).await.unwrap();
    assert_eq!(dropped.iter().map(|it| it.generation).collect::<Vec<_>>(), [first]);
    assert_eq!(generations_of(&world, model).await, [(first + 1, "serving".to_owned())]);
    assert!(roll_back(&world, model).await.is_err());
    let mut tx = projections::read(&world.log, tenant).await.unwrap();
    assert!(board::tenant(&mut tx, tenant).await.unwrap().is_some());
}
