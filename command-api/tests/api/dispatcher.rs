//! The dispatcher as workers use it.

use command_api::{Caller, DispatchError, Order, Request};
use domain::card::RunResult;
use domain::environment::{Driver, EnvironmentCommand, Purpose};
use domain::id::{CardKind, CommandId, ProjectKind};
use domain::run::RunCommand;
use domain::{Actor, EnvironmentId, RunId};
use serde_json::json;

use crate::support::{World, id, uuid};

/// A connection to the same server, not to the same database.
async fn admin(world: &World) -> sqlx::PgConnection {
    use sqlx::ConnectOptions as _;
    let options: sqlx::postgres::PgConnectOptions = world.database.url.parse().unwrap();
    options.database("postgres").connect().await.unwrap()
}

fn request() -> Request {
    Request::internal(CommandId::from_uuid(uuid()), uuid(), None, None)
}

#[tokio::test]
async fn a_worker_carries_a_run_through() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "a").await;
    let reply = world.post(&shop, &shop.at(&card, "/run"), json!({})).await;
    let run: RunId = reply.body["run"].as_str().unwrap().parse().unwrap();
    let events = world.log.read_stream(shop.tenant, id::<CardKind>(&card).uuid(), 1, 10).await.unwrap();
    let requested = &events[0];
    let Some(domain::card::CardEvent::RunRequested(said)) = requested.decode::<domain::card::Card>().unwrap() else {
        panic!("no run requested")
    };

    let worker = Caller::system(shop.tenant, "run-card");
    let queue = || Order::Run {
        run,
        command: RunCommand::Queue {
            task: Box::new(said.task.clone()),
            requested_by: requested.metadata.actor.clone(),
        },
    };
    let first = world.dispatcher.dispatch(&worker, Request::because_of(requested, "queue"), queue()).await.unwrap();
    let again = world.dispatcher.dispatch(&worker, Request::because_of(requested, "queue"), queue()).await.unwrap();
    assert_eq!((first.version, first.repeated, again.repeated), (1, false, true));
    assert_eq!((again.stream, again.cursor), (first.stream, first.cursor));
    let stored = &world.log.read_stream(shop.tenant, run.uuid(), 0, 10).await.unwrap()[0];
    assert_eq!(stored.metadata.actor, Actor::System("run-card".into()));
    assert_eq!(stored.metadata.causation, Some(requested.id));
    assert_eq!(stored.metadata.correlation, requested.metadata.correlation);

    let environment = EnvironmentId::from_uuid(uuid());
    let purpose = Purpose { project: id::<ProjectKind>(&shop.project), run, attempt: 1 };
    let ask = EnvironmentCommand::Request { purpose, driver: Driver::Local };
    let order = Order::Environment { environment, command: ask };
    assert_eq!(world.dispatcher.dispatch(&worker, request(), order).await.unwrap().version, 1);
    let order = Order::Run { run, command: RunCommand::Dispatch { attempt: 1, environment } };
    assert_eq!(world.dispatcher.dispatch(&worker, request(), order).await.unwrap().version, 2);
    let agent = Caller::agent(shop.tenant, run);
    let start = Order::Run { run, command: RunCommand::Start { attempt: 1 } };
    assert_eq!(world.dispatcher.dispatch(&agent, request(), start).await.unwrap().version, 3);
    let cancel = world.post(&shop, &format!("/v1/runs/{run}/cancel"), json!({ "reason": "enough" })).await;
    assert_eq!(cancel.version(), 4);

    let finish =
        || Order::FinishCard { card: id::<CardKind>(&card), run, result: RunResult::Cancelled { reason: None } };
    let done = world.dispatcher.dispatch(&worker, request(), finish()).await.unwrap();
    assert!(done.version > 3 && !done.repeated);
    let nothing = world.dispatcher.dispatch(&worker, request(), finish()).await.unwrap();
    assert_eq!((nothing.version, nothing.cursor), (done.version, done.cursor), "fulfilled already");
    assert!(world.load(&shop, &card).await.known().unwrap().active_run.is_none());
}

#[tokio::test]
async fn a_late_attempt_is_refused_by_name_and_people_and_agents_may_not_what_is_the_systems() {
    let world = World::new().await;
    let shop = world.shop().await;
    let run = RunId::from_uuid(uuid());
    let start = || Order::Run { run, command: RunCommand::Start { attempt: 1 } };
    let worker = Caller::system(shop.tenant, "x");
    let missing = world.dispatcher.dispatch(&worker, request(), start()).await.unwrap_err();
    assert!(matches!(missing, DispatchError::NotFound), "{missing:?}");
    let person = Caller { actor: Actor::Operator("ada".into()), ..worker.clone() };
    let stranger = Caller::agent(shop.tenant, RunId::from_uuid(uuid()));
    for caller in [person, stranger] {
        let refused = world.dispatcher.dispatch(&caller, request(), start()).await.unwrap_err();
        assert!(matches!(refused, DispatchError::Forbidden), "{refused:?}");
    }
}

#[tokio::test]
async fn the_same_command_id_for_another_target_is_refused() {
    let world = World::new().await;
    let shop = world.shop().await;
    let worker = Caller::system(shop.tenant, "x");
    let command = CommandId::from_uuid(uuid());
    let ask = |run: RunId| {
        let purpose = Purpose { project: id::<ProjectKind>(&shop.project), run, attempt: 1 };
        let environment = EnvironmentId::from_uuid(run.uuid());
        Order::Environment { environment, command: EnvironmentCommand::Request { purpose, driver: Driver::Local } }
    };
    let send = |run| {
        let request = Request::internal(command, uuid(), None, None);
        world.dispatcher.dispatch(&worker, request, ask(run))
    };
    send(RunId::from_uuid(uuid())).await.unwrap();
    let other = send(RunId::from_uuid(uuid())).await.unwrap_err();
    assert!(matches!(other, DispatchError::KeyReused), "{other:?}");
}

#[tokio::test]
async fn without_a_database_it_says_when_to_come_back() {
    let world = World::new().await;
    let shop = world.shop().await;
    let mut admin = admin(&world).await;
    let gone = sqlx::AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", world.database.name));
    sqlx::raw_sql(gone).execute(&mut admin).await.unwrap();
    let reply = world.post(&shop, "/v1/workspaces", json!({ "name": "x" })).await;
    assert_eq!(reply.refusal(), (503, "log_unavailable"));
    assert_eq!(reply.headers["retry-after"], "2");
    assert!(!reply.body.to_string().contains(&world.database.name), "internal text stays inside");
}
