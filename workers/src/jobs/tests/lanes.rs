//! Lanes on a real Postgres: that their counts are right whatever happens, and that they choose as the model does.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{RunId, TenantId};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use sqlx::{PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::{LEASE, NewJob, World, claim, enqueue, ids, queue};
use crate::jobs::lanes::{self, pause, put_first};
use crate::jobs::model::Queue;
use crate::testing::{id, until};

/// Lanes whose counts are not those of their jobs.
async fn miscounted(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM work.lanes lane, LATERAL (
             SELECT count(*) FILTER (WHERE ready) AS ready,
                    count(*) FILTER (WHERE holder IS NOT NULL AND NOT ended) AS running
             FROM work.jobs WHERE tenant = lane.tenant) counted
         WHERE (lane.ready, lane.running) <> (counted.ready, counted.running)",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[derive(Debug, Clone)]
enum Act {
    Enqueue { lane: usize, age: i64 },
    Claim(usize),
    Finish { which: usize, spent: i64 },
    PutBack { which: usize, spent: i64 },
    Pause(usize),
    Resume(usize),
    First(usize),
}

/// Weights and limits of the lanes.
const LANES: [(i64, usize); 5] = [(1, 2), (2, 3), (3, 50), (1, 5), (7, 1)];

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let lane = 0..LANES.len();
    let spent = prop_oneof![0..5_i64, 0..600_000_000_i64];
    let act = prop_oneof![
        6 => (lane.clone(), 0..5_i64).prop_map(|(lane, age)| Act::Enqueue { lane, age }),
        4 => (1..12_usize).prop_map(Act::Claim),
        4 => (any::<usize>(), spent.clone()).prop_map(|(which, spent)| Act::Finish { which, spent }),
        1 => (any::<usize>(), spent).prop_map(|(which, spent)| Act::PutBack { which, spent }),
        1 => lane.clone().prop_map(Act::Pause),
        1 => lane.prop_map(Act::Resume),
        1 => any::<usize>().prop_map(Act::First),
    ];
    proptest::collection::vec(act, 1..80)
}

/// Both queues, side by side; in one transaction, in which time stands still.
struct Pair<'a> {
    world: &'a World,
    tx: &'a mut PgConnection,
    model: Queue,
    tenants: Vec<TenantId>,
    waiting: BTreeMap<Uuid, TenantId>,
    held: Vec<queue::Job>,
}

impl Pair<'_> {
    async fn begin(&mut self) {
        for (weight, limit) in LANES {
            let tenant: TenantId = id();
            self.tenants.push(tenant);
            self.model.lane(tenant.uuid(), weight, limit);
            sqlx::query("INSERT INTO work.lanes (tenant, weight, own_limit, run_limit) VALUES ($1, $2, $3, $3)")
                .bind(tenant.uuid())
                .bind(i32::try_from(weight).unwrap())
                .bind(i32::try_from(limit).unwrap())
                .execute(&mut *self.tx)
                .await
                .unwrap();
        }
    }

    async fn act(&mut self, act: &Act) {
        match *act {
            Act::Enqueue { lane, age } => self.enqueue(self.tenants[lane], age).await,
            Act::Claim(wanted) => self.claim(wanted).await,
            Act::Finish { which, spent } if !self.held.is_empty() => {
                let job = self.take(which, spent).await;
                queue_finish(self.tx, &job).await;
                self.model.finish(job.run.uuid(), spent);
            }
            Act::PutBack { which, spent } if !self.held.is_empty() => {
                let job = self.take(which, spent).await;
                let environment = Some(job.environment.uuid());
                sqlx::query("SELECT work.put_back($1, $2, $3, $4, '0 s')")
                    .bind(job.tenant.uuid())
                    .bind(job.run.uuid())
                    .bind(environment)
                    .bind(1_i32)
                    .execute(&mut *self.tx)
                    .await
                    .unwrap();
                self.model.put_back(job.run.uuid(), spent);
                self.waiting.insert(job.run.uuid(), job.tenant);
            }
            Act::Pause(lane) => self.pause(self.tenants[lane], true).await,
            Act::Resume(lane) => self.pause(self.tenants[lane], false).await,
            Act::First(which) if !self.waiting.is_empty() => {
                let (run, tenant) = self.waiting.iter().nth(which % self.waiting.len()).unwrap();
                sqlx::query("SELECT work.put_first($1)").bind(run).execute(&mut *self.tx).await.unwrap();
                self.model.put_first(tenant.uuid(), *run);
            }
            _ => {}
        }
    }

    async fn enqueue(&mut self, tenant: TenantId, age: i64) {
        let job = NewJob { run: id(), project: id(), origin: self.world.origin() };
        queue::enqueue(self.tx, tenant, &job).await.unwrap();
        sqlx::query("UPDATE work.jobs SET due_at = now() - $2 * interval '1 s' WHERE run = $1")
            .bind(job.run.uuid())
            .bind(age)
            .execute(&mut *self.tx)
            .await
            .unwrap();
        self.model.enqueue(tenant.uuid(), job.run.uuid(), -age);
        self.waiting.insert(job.run.uuid(), tenant);
    }

    async fn claim(&mut self, wanted: usize) {
        let environments: Vec<_> = (0..wanted).map(|_| id()).collect();
        let jobs = queue::claim_unlocked(&mut *self.tx, ids::fresh(), &environments, LEASE).await.unwrap();
        let claimed: Vec<_> = jobs.iter().map(|job| (job.tenant.uuid(), job.run.uuid())).collect();
        let expected: Vec<_> = (0..wanted).map_while(|_| self.model.claim()).collect();
        assert_eq!(claimed, expected, "the database chooses otherwise than the model");
        for job in &jobs {
            self.waiting.remove(&job.run.uuid());
        }
        self.held.extend(jobs);
    }

    /// One of the held jobs, which has cost so much.
    async fn take(&mut self, which: usize, spent: i64) -> queue::Job {
        let job = self.held.swap_remove(which % self.held.len());
        sqlx::query("UPDATE work.jobs SET claimed_at = now() - $2 * interval '1 microsecond' WHERE run = $1")
            .bind(job.run.uuid())
            .bind(spent)
            .execute(&mut *self.tx)
            .await
            .unwrap();
        job
    }

    async fn pause(&mut self, tenant: TenantId, paused: bool) {
        let query = sqlx::query("SELECT work.pause($1, $2)").bind(tenant.uuid()).bind(paused);
        query.execute(&mut *self.tx).await.unwrap();
        self.model.pause(tenant.uuid(), paused);
    }

    async fn compare(&mut self) {
        assert_eq!(miscounted(self.tx).await, 0);
        let rows = sqlx::query("SELECT * FROM work.lanes ORDER BY tenant").fetch_all(&mut *self.tx).await.unwrap();
        for row in rows {
            let lane = &self.model.lanes[&row.get::<Uuid, _>("tenant")];
            let count = |name: &str| usize::try_from(row.get::<i32, _>(name)).unwrap();
            assert_eq!((count("ready"), count("running")), (lane.ready(), lane.running));
            assert_eq!((row.get::<i64, _>("vtime"), row.get::<i64, _>("estimate")), (lane.vtime, lane.estimate));
        }
    }
}

async fn queue_finish(connection: &mut PgConnection, job: &queue::Job) {
    sqlx::query("SELECT work.finish($1, $2, $3)")
        .bind(vec![job.tenant.uuid()])
        .bind(vec![job.run.uuid()])
        .bind(vec![job.environment.uuid()])
        .execute(connection)
        .await
        .unwrap();
}

#[test]
fn the_database_chooses_as_the_model_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&acts(), |acts| {
        runtime.block_on(async {
            let mut tx = world.pool().begin().await.unwrap();
            let (tenants, waiting, held) = (vec![], BTreeMap::new(), vec![]);
            let mut pair = Pair { world: &world, tx: &mut tx, model: Queue::default(), tenants, waiting, held };
            pair.begin().await;
            for act in &acts {
                pair.act(act).await;
                pair.compare().await;
            }
            tx.rollback().await.unwrap();
        });
        Ok(())
    });
    outcome.unwrap();
}

/// Does to the queue what workers and processes do, until nothing is left.
async fn churn(pool: PgPool, seed: usize) {
    let holder = ids::fresh();
    for round in seed.. {
        let environments: Vec<_> = (0..round % 7 + 1).map(|_| id()).collect();
        // A connection that was killed is no error of this test.
        let Ok(jobs) = queue::claim(&pool, holder, &environments, LEASE).await else { continue };
        if jobs.is_empty() {
            let left: Result<i64, _> =
                sqlx::query_scalar("SELECT count(*) FROM work.jobs WHERE holder IS NULL OR holder = $1")
                    .bind(holder)
                    .fetch_one(&pool)
                    .await;
            match left {
                Ok(0) => return,
                _ => {
                    // What a killed connection claimed without its answer.
                    for job in queue::lost(&pool, Some(holder), 100).await.unwrap_or_default() {
                        let _again = queue::forget(&pool, &[&job]).await;
                    }
                    continue;
                }
            }
        }
        for (number, job) in jobs.iter().enumerate() {
            let Ok(mut connection) = pool.acquire().await else { continue };
            let _killed = match (round + number) % 5 {
                0 => queue::release(&pool, job.tenant, job.run, job.environment, job.attempt).await,
                1 if job.attempt < 3 => {
                    let delay = Duration::from_millis(10);
                    queue::requeue(&mut connection, job.tenant, job.run, job.attempt + 1, delay).await
                }
                2 => queue::dequeue(&mut connection, job.tenant, job.run).await,
                _ => Ok(()),
            };
        }
        let _killed = queue::forget(&pool, &jobs.iter().collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn counts_are_right_whatever_dies() {
    let world = World::new().await;
    let tenants: Vec<TenantId> = (0..5).map(|_| id()).collect();
    for number in 0..300 {
        enqueue(&world, tenants[number % tenants.len()]).await;
    }
    let work = futures::future::join_all((0..4).map(|seed| churn(world.pool().clone(), seed)));
    let kill = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _itself = sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND query LIKE '%work.%' AND datname = current_database()
                 ORDER BY random() LIMIT 1",
            )
            .execute(world.pool())
            .await;
        }
    };
    tokio::select! {
        _ = work => {}
        () = kill => {}
    }
    let mut connection = until("a connection", async || world.pool().acquire().await.ok()).await;
    assert_eq!(miscounted(&mut connection).await, 0);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM work.jobs").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_batch_is_claimed_from_several_lanes_in_turn() {
    let world = World::new().await;
    let (first, second) = (id(), id());
    let mut expected = vec![];
    for _ in 0..3 {
        expected.push(enqueue(&world, first).await);
        expected.push(enqueue(&world, second).await);
    }
    let environments: Vec<_> = (0..10).map(|_| id()).collect();
    let jobs = queue::claim(world.pool(), ids::fresh(), &environments, LEASE).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.run).collect::<Vec<_>>(), expected);
    let given: Vec<_> = jobs.iter().map(|job| job.environment).collect();
    assert_eq!(given, environments[..6]);
}

/// What the requests' role is told.
async fn waiting(world: &World, tenant: TenantId, run: RunId) -> Option<(String, i32)> {
    let mut tx = world.log.app_pool().begin().await.unwrap();
    sqlx::query("SELECT set_config('agentworks.tenant', $1, true)")
        .bind(tenant.uuid().to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query_as("SELECT reason, ahead FROM work.waiting($1)")
        .bind(vec![run.uuid()])
        .fetch_optional(&mut *tx)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_run_says_why_it_waits() {
    let world = World::new().await;
    queue::set_limit(world.pool(), 1).await.unwrap();
    let (tenant, other) = (id(), id());
    let (first, second) = (enqueue(&world, tenant).await, enqueue(&world, tenant).await);
    let why = async |run| waiting(&world, tenant, run).await.unwrap();
    assert_eq!(why(first).await, ("no_worker".to_owned(), 0));
    let holder = ids::fresh();
    queue::extend(world.pool(), holder, &[], LEASE).await.unwrap();
    assert_eq!(why(first).await, ("environment".to_owned(), 0));
    assert_eq!(why(second).await, ("order".to_owned(), 1));
    assert_eq!(waiting(&world, other, first).await, None, "another tenant's run");

    assert!(put_first(world.pool(), second).await.unwrap());
    assert_eq!(why(first).await, ("order".to_owned(), 1));
    assert!(pause(world.pool(), tenant, true).await.unwrap());
    assert_eq!(why(second).await, ("paused".to_owned(), 0));
    assert!(claim(&world, holder, LEASE).await.is_none());
    assert!(!pause(world.pool(), tenant, true).await.unwrap(), "it is paused already");
    assert!(pause(world.pool(), tenant, false).await.unwrap());

    let job = claim(&world, holder, LEASE).await.unwrap();
    assert_eq!((job.tenant, job.run), (tenant, second));
    assert_eq!(waiting(&world, tenant, second).await, None, "it does not wait");
    assert_eq!(why(first).await, ("limit".to_owned(), 0));
    assert_eq!(
        lanes::places(world.pool(), tenant, 10).await.unwrap().iter().filter(|place| place.under_way).count(),
        1
    );

    let mut connection = world.pool().acquire().await.unwrap();
    enqueue(&world, other).await;
    queue::requeue(&mut connection, tenant, second, 2, Duration::from_secs(600)).await.unwrap();
    assert_eq!(why(second).await, ("not_due".to_owned(), 1));
    sqlx::query("UPDATE work.lanes SET vtime = vtime + 1 WHERE tenant = $1")
        .bind(tenant.uuid())
        .execute(&mut *connection)
        .await
        .unwrap();
    assert_eq!(why(first).await, ("share".to_owned(), 0));
}

#[tokio::test]
async fn what_is_not_due_or_paused_is_not_given_up() {
    let world = World::new().await;
    let (paused, late) = (id(), id());
    enqueue(&world, paused).await;
    let run = enqueue(&world, late).await;
    pause(world.pool(), paused, true).await.unwrap();
    let mut connection = world.pool().acquire().await.unwrap();
    queue::requeue(&mut connection, late, run, 2, Duration::from_secs(600)).await.unwrap();
    assert_eq!(queue::stale(world.pool(), Duration::ZERO, 10).await.unwrap(), []);
    pause(world.pool(), paused, false).await.unwrap();
    assert_eq!(queue::stale(world.pool(), Duration::ZERO, 10).await.unwrap().len(), 1);
}
