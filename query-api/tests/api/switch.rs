//! Clients see nothing of a read model that is rebuilt, switched and switched back.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::sync::atomic::{AtomicBool, Ordering};

use projections::MODELS;
use projections::generations::Rebuilder;
use query_api::Settings;
use serde_json::{Value, json};

use crate::api::{Api, Socket};
use crate::nats::Nats;
use crate::support::World;

const CARD: &str = "query Q($id: ID!, $project: ID!, $at: Cursor) {
    card(id: $id, waitFor: $at) { version }
    board(project: $project, waitFor: $at) { cursor lanes { cards { id version } } } }";
const BOARD: &str = "subscription B($id: ID!) {
    boardChanged(project: $id) { cursor cards { id version } snapshot { cursor } } }";

/// The versions of the only card, frame by frame, until one is seen.
async fn versions(mut socket: Socket, last: i64) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let frame = socket.frame().await;
        seen.extend(frame["cards"].as_array().unwrap().iter().map(|card| card["version"].as_i64().unwrap()));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_and_subscriptions_go_on_while_another_generation_comes_to_serve() {
    let nats = Nats::start().await;
    let mut world = World::new(21).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let api = Api::on(&world, Settings::default(), Some(nats.bus().await)).await;
    api.caught_up(&world).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = api.open(tenant).await;
        socket.subscribe("1", BOARD, json!({ "id": project })).await;
        socket.frame().await;
        sockets.push(socket);
    }
    let (log, url, over) = (world.log.clone(), world.database.url.clone(), AtomicBool::new(false));
    let switching = async {
        for back in [false, true, true, false, true] {
            let mut told = |_| {};
            let rebuilder = Rebuilder::new(&log, &url, &MODELS[0], &mut told).await.unwrap();
            if back { rebuilder.roll_back().await } else { rebuilder.rebuild(false, false).await }.unwrap();
        }
        over.store(true, Ordering::Relaxed);
    };
    let asking = async {
        let mut version = 1;
        while !over.load(Ordering::Relaxed) {
            for lane in ["ready", "backlog"] {
                world.move_card(tenant, card, lane).await;
                version += 1;
                let at = schemas::Cursor { partition: 0, position: world.position };
                let answer = api.data(tenant, CARD, json!({ "id": card, "project": project, "at": at })).await;
                assert_eq!(answer["card"]["version"], version);
                let lanes = answer["board"]["lanes"].as_array().unwrap();
                let cards: Vec<&Value> = lanes.iter().flat_map(|lane| lane["cards"].as_array().unwrap()).collect();
                assert_eq!(cards, [&json!({ "id": card, "version": version })]);
            }
        }
        version
    };
    let ((), last) = tokio::join!(switching, asking);
    for socket in sockets {
        let seen = versions(socket, last).await;
        assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
    }
}
