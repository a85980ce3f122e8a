//! The queue and the reaper, on a real Postgres.

mod fairness;
mod lanes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::environment::{Driver, Environment, EnvironmentCommand, Purpose};
use domain::run::{Ending, FailureKind, Run, RunCommand, RunEvent};
use domain::{EnvironmentId, PersonalText, RunId, TenantId};
use outbox::consumer;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::queue::{self, Lease, NewJob};
use super::reaper;
use super::wake::Wakes;
use crate::ids;
use crate::process::{RunCard, sender};
use crate::testing::{World, id, until};

const LEASE: Duration = Duration::from_secs(60);
const NO_LEASE: Duration = Duration::ZERO;

async fn enqueue(world: &World, tenant: TenantId) -> RunId {
    let job = NewJob { run: id(), project: id(), origin: world.origin() };
    let mut connection = world.pool().acquire().await.unwrap();
    queue::enqueue(&mut connection, tenant, &job).await.unwrap();
    queue::enqueue(&mut connection, tenant, &job).await.unwrap();
    job.run
}

async fn claim(world: &World, holder: Uuid, lease: Duration) -> Option<queue::Job> {
    queue::claim(world.pool(), holder, &[id()], lease).await.unwrap().pop()
}

async fn extend(world: &World, holder: Uuid, environment: EnvironmentId) -> Lease {
    let learned = queue::extend(world.pool(), holder, &[environment], LEASE).await.unwrap();
    learned.get(&environment).copied().unwrap_or(Lease::Gone)
}

#[tokio::test]
async fn the_oldest_job_of_the_lane_that_is_least_far_comes_first_within_the_limit() {
    let world = World::new().await;
    queue::set_limit(world.pool(), 2).await.unwrap();
    let (greedy, modest) = (id(), id());
    let mut expected = vec![enqueue(&world, greedy).await];
    let second = enqueue(&world, greedy).await;
    let third = enqueue(&world, greedy).await;
    expected.extend([enqueue(&world, modest).await, second]);
    let holder = ids::fresh();
    let mut claimed = vec![];
    while let Some(job) = claim(&world, holder, LEASE).await {
        assert_eq!(job.attempt, 1);
        claimed.push(job.run);
    }
    assert_eq!(claimed, expected, "the third job of a tenant waits, since two are under way");
    let mut connection = world.pool().acquire().await.unwrap();
    queue::dequeue(&mut connection, greedy, second).await.unwrap();
    assert_eq!(claim(&world, holder, LEASE).await.unwrap().run, third);
}

#[tokio::test]
async fn a_job_is_claimed_by_one_worker_only() {
    let world = World::new().await;
    for _ in 0..40 {
        enqueue(&world, id()).await;
    }
    let claims = (0..60).map(|_| claim(&world, ids::fresh(), LEASE));
    let claimed: Vec<RunId> =
        futures::future::join_all(claims).await.into_iter().flatten().map(|job| job.run).collect();
    assert_eq!(claimed.iter().map(|run| run.uuid()).collect::<BTreeSet<_>>().len(), claimed.len());
    let rest = async {
        let mut rest = 0;
        while claim(&world, ids::fresh(), LEASE).await.is_some() {
            rest += 1;
        }
        rest
    };
    assert_eq!(claimed.len() + rest.await, 40);
}

#[tokio::test]
async fn who_lost_a_lease_can_do_nothing_with_it() {
    let world = World::new().await;
    let tenant = id();
    let run = enqueue(&world, tenant).await;
    let (first_holder, second_holder) = (ids::fresh(), ids::fresh());
    let first = claim(&world, first_holder, LEASE).await.unwrap();
    assert_eq!(extend(&world, first_holder, first.environment).await, Lease::Held { pod_silent: None });
    assert!(queue::pod_seen(world.pool(), tenant, run, first.environment).await.unwrap());
    let Lease::Held { pod_silent: Some(silent) } = extend(&world, first_holder, first.environment).await else {
        panic!("the pod was seen")
    };
    assert!(silent < Duration::from_secs(20));

    let mut connection = world.pool().acquire().await.unwrap();
    queue::requeue(&mut connection, tenant, run, 2, Duration::ZERO).await.unwrap();
    assert_eq!(extend(&world, first_holder, first.environment).await, Lease::Gone);
    let second = claim(&world, second_holder, LEASE).await.unwrap();
    assert_eq!((second.run, second.attempt), (run, 2));
    queue::release(world.pool(), tenant, run, first.environment, 1).await.unwrap();
    assert!(!queue::pod_seen(world.pool(), tenant, run, first.environment).await.unwrap());
    queue::forget(world.pool(), &[&first]).await.unwrap();
    // The word of the first attempt's loss, once more.
    queue::requeue(&mut connection, tenant, run, 2, Duration::ZERO).await.unwrap();
    let held = Lease::Held { pod_silent: None };
    assert_eq!(extend(&world, second_holder, second.environment).await, held);
    // Another tenant's queue does not have it, and another worker does not hold it.
    queue::dequeue(&mut connection, id(), run).await.unwrap();
    assert_eq!(extend(&world, first_holder, second.environment).await, Lease::Gone);
    assert_eq!(extend(&world, second_holder, second.environment).await, held);
}

#[tokio::test]
async fn lost_and_stale_jobs_are_found() {
    let world = World::new().await;
    let run = enqueue(&world, id()).await;
    assert_eq!(queue::stale(world.pool(), LEASE, 10).await.unwrap(), []);
    assert_eq!(queue::stale(world.pool(), NO_LEASE, 10).await.unwrap()[0].run, run);
    let holder = ids::fresh();
    claim(&world, holder, LEASE).await.unwrap();
    assert_eq!(queue::stale(world.pool(), NO_LEASE, 10).await.unwrap(), []);
    assert_eq!(queue::lost(world.pool(), None, 10).await.unwrap(), []);
    assert_eq!(queue::lost(world.pool(), Some(ids::fresh()), 10).await.unwrap(), []);
    assert_eq!(queue::lost(world.pool(), Some(holder), 10).await.unwrap()[0].run, run);
}

/// The process manager, its sender and the reaper at work.
struct Shell {
    shutdown: CancellationToken,
}

impl Shell {
    fn start(world: &World, dispatch_timeout: Duration) -> Self {
        let shutdown = CancellationToken::new();
        let wakes = Arc::new(Wakes::new(None));
        let process = Arc::new(RunCard::new(world.log.clone(), Arc::clone(&wakes)));
        tokio::spawn(consumer::run(world.log.clone(), None, process, 0, shutdown.clone()));
        tokio::spawn(sender::run(world.pool().clone(), world.control.clone(), wakes, shutdown.clone()));
        tokio::spawn(reaper::run(world.pool().clone(), world.control.clone(), dispatch_timeout, shutdown.clone()));
        Self { shutdown }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn next_job(world: &World, lease: Duration) -> queue::Job {
    until("a job", async || claim(world, ids::fresh(), lease).await).await
}

#[tokio::test]
async fn a_wish_becomes_a_job_and_the_end_of_the_run_is_told_to_the_card() {
    let world = World::new().await;
    let _shell = Shell::start(&world, LEASE);
    let run = id();
    let task = world.task(run, "https://git.example/shop.git", None).await;
    world.press_run(run, &task).await;
    let holder = ids::fresh();
    let job = until("a job", async || claim(&world, holder, LEASE).await).await;
    assert_eq!((job.run, job.tenant, job.project, job.attempt), (run, world.tenant, task.project, 1));
    let wish = &world.log.read_stream(world.tenant, task.card.uuid(), 1, 1).await.unwrap()[0];
    assert_eq!(job.origin.correlation, wish.metadata.correlation, "one correlation from the wish to the job");

    world.tell(run, RunCommand::Cancel { reason: Some(PersonalText::plain("enough")) }).await;
    until("the card knows", async || {
        let events = world.log.read_stream(world.tenant, task.card.uuid(), 2, 10).await.unwrap();
        events.iter().any(|event| event.event_type == "CardRunFinished").then_some(())
    })
    .await;
    assert_eq!(extend(&world, holder, job.environment).await, Lease::Gone);
    until("the letters are gone", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM work.outgoing").fetch_one(world.pool()).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_card_that_refuses_does_not_hold_up_the_letters() {
    let world = World::new().await;
    let _shell = Shell::start(&world, LEASE);
    let (lonely, run) = (id(), id());
    // This run has no card that could be told of its end.
    let task = world.task(lonely, "https://git.example/shop.git", None).await;
    world.queue(lonely, &task).await;
    world.tell(lonely, RunCommand::Cancel { reason: None }).await;
    let task = world.task(run, "https://git.example/shop.git", None).await;
    world.press_run(run, &task).await;
    until("the other run's job", async || {
        // The first run's may be claimed before its end has taken it out of the queue.
        claim(&world, ids::fresh(), LEASE).await.filter(|job| job.run == run)
    })
    .await;
}

#[tokio::test]
async fn an_attempt_whose_worker_died_is_followed_by_another_and_the_last_fails_the_run() {
    let world = World::new().await;
    let _shell = Shell::start(&world, LEASE);
    let run = id();
    let task = world.task(run, "https://git.example/shop.git", None).await;
    world.press_run(run, &task).await;
    for attempt in 1..=task.policy.max_attempts {
        let job = until("the next attempt", async || {
            // Long enough to dispatch it, and soon over.
            claim(&world, ids::fresh(), Duration::from_secs(1)).await
        })
        .await;
        assert_eq!(job.attempt, attempt);
        world.tell(run, RunCommand::Dispatch { attempt, environment: job.environment }).await;
        until("it is reaped", async || (!world.run(run).await.is_current(attempt)).then_some(())).await;
    }
    let events = world.run_events(run).await;
    let lost = events.iter().filter(|event| matches!(event, RunEvent::AttemptLost(_))).count();
    assert_eq!(lost, 1);
    assert!(matches!(world.run(run).await, Run::Ended { ending: Ending::Failed(FailureKind::PodLost), .. }));
    until("the queue is empty", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM work.jobs").fetch_one(world.pool()).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_life_gives_up_at_once_what_the_old_one_held() {
    let world = World::new().await;
    let _shell = Shell::start(&world, LEASE);
    let (run, holder) = (id(), ids::fresh());
    let task = world.task(run, "https://git.example/shop.git", None).await;
    world.press_run(run, &task).await;
    let job = until("a job", async || claim(&world, holder, LEASE).await).await;
    world.tell(run, RunCommand::Dispatch { attempt: 1, environment: job.environment }).await;
    reaper::reap_former_self(world.pool(), &world.control, holder).await.unwrap();
    let next = next_job(&world, LEASE).await;
    assert_eq!((next.run, next.attempt), (run, 2));
}

#[tokio::test]
async fn an_environment_whose_run_ended_before_its_worker_died_is_ended_by_the_next_life() {
    let world = World::new().await;
    let _shell = Shell::start(&world, LEASE);
    let (run, holder) = (id(), ids::fresh());
    let task = world.task(run, "https://git.example/shop.git", None).await;
    world.press_run(run, &task).await;
    let job = until("a job", async || claim(&world, holder, LEASE).await).await;
    let purpose = Purpose { project: task.project, run, attempt: 1 };
    let request = EnvironmentCommand::Request { purpose, driver: Driver::Local };
    let told = world.control.tell_environment(world.tenant, job.environment, "request", &job.origin, &request).await;
    told.unwrap();
    world.tell(run, RunCommand::Dispatch { attempt: 1, environment: job.environment }).await;
    world.tell(run, RunCommand::Cancel { reason: None }).await;
    until("the worker could know of the end", async || {
        (extend(&world, holder, job.environment).await == Lease::Gone).then_some(())
    })
    .await;
    reaper::reap_former_self(world.pool(), &world.control, holder).await.unwrap();
    assert_eq!(world.environment(job.environment).await, Environment::Failed);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM work.jobs").fetch_one(world.pool()).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_run_that_no_worker_takes_times_out() {
    let world = World::new().await;
    let _shell = Shell::start(&world, Duration::from_millis(1));
    let run = id();
    let task = world.task(run, "https://git.example/shop.git", None).await;
    world.press_run(run, &task).await;
    until("it times out", async || {
        matches!(world.run(run).await, Run::Ended { ending: Ending::TimedOut, .. }).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_from_the_log_leaves_the_queue_as_it_is_to_be() {
    let world = World::new().await;
    let (waiting, ended) = (id(), id());
    for run in [waiting, ended] {
        let task = world.task(run, "https://git.example/shop.git", None).await;
        world.queue(run, &task).await;
    }
    world.tell(ended, RunCommand::Cancel { reason: None }).await;
    let process = RunCard::new(world.log.clone(), Arc::new(Wakes::new(None)));
    for _ in 0..2 {
        consumer::rebuild(&world.log, &process).await.unwrap();
        let left: Vec<Uuid> = sqlx::query_scalar("SELECT run FROM work.jobs").fetch_all(world.pool()).await.unwrap();
        assert_eq!(left, [waiting.uuid()]);
    }
}
