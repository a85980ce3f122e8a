//! A read model follows from the log alone.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::sync::mpsc;
use std::time::Duration;

use projections::generations::{self, Built, Generation, RebuildError, Rebuilder, Step};
use projections::{MODELS, Model, board};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::{World, contents};

pub(crate) async fn rebuild(world: &World, model: &Model, accept: bool) -> Result<Built, RebuildError> {
    let mut told = |_| {};
    let rebuilder = Rebuilder::new(&world.log, &world.database.url, model, &mut told).await.unwrap();
    rebuilder.rebuild(false, accept).await
}

pub(crate) async fn roll_back(world: &World, model: &Model) -> Result<Built, RebuildError> {
    let mut told = |_| {};
    Rebuilder::new(&world.log, &world.database.url, model, &mut told).await.unwrap().roll_back().await
}

/// Number and state of each generation that is for this code.
pub(crate) async fn generations_of(world: &World, model: &Model) -> Vec<(i32, String)> {
    let mut connection = world.log.worker_pool().acquire().await.unwrap();
    let all = generations::list(&mut connection, model).await.unwrap();
    let mine = all.into_iter().filter(|generation| generation.code == model.code);
    mine.map(|Generation { generation, state, .. }| (generation, state)).collect()
}

/// The number of the generation that serves this code.
pub(crate) async fn serving(world: &World, model: &Model) -> i32 {
    let all = generations_of(world, model).await;
    all.into_iter().find(|(_, state)| state == "serving").unwrap().0
}

/// A world in which things have happened, and what the read models made of it.
async fn lived(seed: u64, partitions: i32) -> (World, Vec<(String, String)>) {
    let mut world = World::of(seed, partitions).await;
    let following = world.follow();
    for _ in 0..300 {
        world.random().await;
    }
    following.caught_up(&world).await;
    following.shutdown.cancel();
    let live = contents(&world.database).await;
    (world, live)
}

fn assert_same(one: &[(String, String)], other: &[(String, String)], of: &str) {
    assert_eq!(one.len(), other.len(), "{of}");
    for ((table, was), (_, is)) in one.iter().zip(other) {
        for (was, is) in was.lines().zip(is.lines()) {
            assert_eq!(was, is, "{of}, table {table}");
        }
        assert_eq!(was.lines().count(), is.lines().count(), "{of}, table {table}");
    }
}

/// What was built event by event while things happened equals what is built afterwards, in one go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn built_again_from_the_log_every_table_is_the_same() {
    for (seed, partitions) in [(0, 1), (1, 1), (2, 3), (3, 3)] {
        let (world, live) = lived(seed, partitions).await;
        for (table, rows) in &live {
            assert!(!rows.is_empty(), "seed {seed}: nothing in {table}");
            assert!(!rows.contains("5ec4e7"), "seed {seed}: a secret's reference in {table}");
        }
        for model in &MODELS {
            let first = serving(&world, model).await;
            let built = rebuild(&world, model, false).await.unwrap();
            assert_eq!((built.generation, built.before, built.proven), (first + 1, Some(first), true), "seed {seed}");
        }
        assert_same(&live, &contents(&world.database).await, &format!("seed {seed}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_is_named_and_stops_the_switch_unless_it_is_accepted() {
    let (world, live) = lived(4, 1).await;
    let mut admin = world.database.admin().await;
    let first = serving(&world, &MODELS[0]).await;
    let spoil = format!(
        "UPDATE board_{first}.cards SET title = 'Another' \
         WHERE card = (SELECT min(card::text)::uuid FROM board_{first}.cards) RETURNING tenant, card"
    );
    let (tenant, card): (Uuid, Uuid) = sqlx::query_as(AssertSqlSafe(spoil)).fetch_one(&mut admin).await.unwrap();
    let Err(RebuildError::Differs(found)) = rebuild(&world, &MODELS[0], false).await else { panic!("not refused") };
    assert_eq!((found.table.as_str(), found.column.as_deref()), ("cards", Some("title")), "{found}");
    assert_eq!(
        (&found.key, &found.serving),
        (&json!({ "tenant": tenant, "card": card }), &json!("Another")),
        "{found}"
    );
    let states = [(first, "serving".to_owned()), (first + 1, "building".to_owned())];
    assert_eq!(generations_of(&world, &MODELS[0]).await, states);

    let empty = format!("DELETE FROM usage_{}.usage", serving(&world, &MODELS[3]).await);
    sqlx::raw_sql(AssertSqlSafe(empty)).execute(&mut admin).await.unwrap();
    let Err(RebuildError::Differs(found)) = rebuild(&world, &MODELS[3], false).await else { panic!("not refused") };
    assert_eq!((found.table.as_str(), found.column.as_deref()), ("usage", None), "{found}");

    for model in [&MODELS[0], &MODELS[3]] {
        let built = rebuild(&world, model, true).await.unwrap();
        assert!(built.difference.is_some());
    }
    assert_same(&live, &contents(&world.database).await, "after the switch");
}

/// Ends a rebuild as a kill would, as soon as it says that it comes to `step`.
async fn killed_at(world: &World, step: fn(&Step) -> bool) {
    let (log, url) = (world.log.clone(), world.database.url.clone());
    let (reached, at) = mpsc::channel();
    let rebuilding = tokio::spawn(async move {
        let mut told = |now: Step| {
            if step(&now) {
                reached.send(()).unwrap();
                // Nothing of this task is done any more but what its connections do as they close.
                std::panic::resume_unwind(Box::new("killed"));
            }
        };
        Rebuilder::new(&log, &url, &MODELS[0], &mut told).await.unwrap().rebuild(false, false).await.map(drop)
    });
    assert!(rebuilding.await.is_err());
    at.recv_timeout(Duration::from_secs(1)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_dies_leaves_what_serves_and_the_next_one_goes_on() {
    let (world, live) = lived(5, 2).await;
    let first = serving(&world, &MODELS[0]).await;
    for step in [
        (|step| matches!(step, Step::Apply { .. })) as fn(&Step) -> bool,
        |step| matches!(step, Step::Index),
        |step| matches!(step, Step::Prove),
        |step| matches!(step, Step::Switch),
    ] {
        killed_at(&world, step).await;
        let states = [(first, "serving".to_owned()), (first + 1, "building".to_owned())];
        assert_eq!(generations_of(&world, &MODELS[0]).await, states);
        assert_same(&live, &contents(&world.database).await, "after a death");
    }
    let built = rebuild(&world, &MODELS[0], false).await.unwrap();
    assert_eq!((built.generation, built.proven), (first + 1, true));
    assert_same(&live, &contents(&world.database).await, "after all");
}

/// As for a release whose code of the model is of another version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_nothing_serves_is_made_and_fills_itself() {
    let (world, live) = lived(10, 2).await;
    let mut owner = outbox::migrate::owner(&world.database.url).await.unwrap();
    let first = serving(&world, &MODELS[0]).await;
    generations::prepare(&mut owner).await.unwrap();
    assert_eq!(generations_of(&world, &MODELS[0]).await, [(first, "serving".to_owned())]);
    let older = "UPDATE read.models SET code = code - 1 WHERE model = 'board'; \
        UPDATE log.consumers SET name = 'board' WHERE name = 'board-2'";
    sqlx::raw_sql(older).execute(&mut owner).await.unwrap();
    let old = async |owner: &mut PgConnection| -> Vec<i64> {
        let positions = "SELECT position FROM log.consumers WHERE name = 'board' ORDER BY partition";
        sqlx::query_scalar(positions).fetch_all(owner).await.unwrap()
    };
    let left = old(&mut owner).await;
    let drop = async |owner: &mut PgConnection| generations::drop_retired(owner, &MODELS[0], Duration::ZERO).await;
    assert_eq!(drop(&mut owner).await.unwrap(), [], "dropped while it may be the only one that serves");
    generations::prepare(&mut owner).await.unwrap();
    assert_eq!(generations_of(&world, &MODELS[0]).await, [(first + 1, "serving".to_owned())]);
    world.follow().caught_up(&world).await;
    assert_same(&live, &contents(&world.database).await, "filled");
    assert_eq!(old(&mut owner).await, left, "the older release goes on where it was");
    let dropped = drop(&mut owner).await.unwrap();
    assert_eq!(dropped.iter().map(|it| it.generation).collect::<Vec<_>>(), [first]);
    assert_eq!(old(&mut owner).await, [0; 0], "nothing waits for who is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_generation_has_the_same_tables() {
    const SHAPE: &str = "SELECT concat_ws(' ', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), \
            a.attnotnull, a.attcollation, c.relrowsecurity, c.relforcerowsecurity, \
            (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(c.relacl) a)) FROM pg_class c \
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' \
        UNION ALL SELECT replace(indexdef, $1 || '.', '') FROM pg_indexes WHERE schemaname = $1 \
        UNION ALL SELECT concat_ws(' ', tablename, policyname, roles, cmd, qual, with_check) FROM pg_policies WHERE schemaname = $1 \
        UNION ALL SELECT replace(pg_get_constraintdef(oid), $1 || '.', '') FROM pg_constraint WHERE connamespace = $1::text::regnamespace \
        ORDER BY 1";
    let world = World::new(6).await;
    let mut admin = world.database.admin().await;
    for model in &MODELS {
        let first = serving(&world, model).await;
        let built = rebuild(&world, model, false).await.unwrap();
        let mut shapes = Vec::new();
        for generation in [first, built.generation] {
            let schema = format!("{}_{generation}", model.name);
            let shape: Vec<String> = sqlx::query_scalar(SHAPE).bind(schema).fetch_all(&mut admin).await.unwrap();
            shapes.push(shape);
        }
        assert!(shapes[0].len() > 5);
        assert_eq!(shapes[0], shapes[1], "{}", model.name);
    }
}

/// An event that no release can read parks its tenant in both alike, and nobody else; a switch takes that over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_parked_stays_so_and_hinders_no_rebuild() {
    let mut world = World::new(9).await;
    let (poisoned, sound) = (world.tenant().await, world.tenant().await);
    let project = world.project(poisoned).await;
    world.nonsense(poisoned).await;
    world.rename_project(poisoned, project, "Never seen").await;
    world.project(sound).await;
    let following = world.follow();
    following.caught_up(&world).await;
    let model = &MODELS[0];
    let parked = async || {
        let all = outbox::consumer::parking::parked(&world.log).await.unwrap();
        all.into_iter().map(|parked| (parked.consumer, parked.tenant, parked.position)).collect::<Vec<_>>()
    };
    let mut mine = parked().await;
    mine.retain(|(consumer, ..)| consumer == board::NAME);
    assert_eq!(mine.len(), 1);
    let first = serving(&world, model).await;
    let built = rebuild(&world, model, false).await.unwrap();
    assert_eq!((built.proven, built.difference), (true, None));
    let all = parked().await;
    assert!(all.contains(&mine[0]), "{all:?}");
    assert!(all.contains(&(format!("board_{first}"), mine[0].1, mine[0].2)), "{all:?}");
    let mut tx = projections::read(&world.log, poisoned).await.unwrap();
    let row = projections::board::project(&mut tx, poisoned, project).await.unwrap().unwrap();
    assert_eq!(row.name, "Project");
    // What is new is still left out, and of the others nothing is.
    drop(tx);
    world.rename_project(poisoned, project, "Neither").await;
    let other = world.project(sound).await;
    following.caught_up(&world).await;
    let mut tx = projections::read(&world.log, poisoned).await.unwrap();
    let row = projections::board::project(&mut tx, poisoned, project).await.unwrap().unwrap();
    assert_eq!(row.name, "Project");
    drop(tx);
    let mut tx = projections::read(&world.log, sound).await.unwrap();
    assert!(projections::board::project(&mut tx, sound, other).await.unwrap().is_some());
}
