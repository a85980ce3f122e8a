//! Versions, concurrency, and the facts that the dispatcher looks up.

use access::Role;
use axum::http::StatusCode;
use domain::card::Card;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Shop, World, id};

#[tokio::test]
async fn an_expected_version_is_kept_to() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "One").await;
    let edit = |version: &'static str, title: &'static str| {
        let (world, shop, path) = (&world, &shop, shop.at(&card, ""));
        async move { world.call("PATCH", &path, &shop.token, &[("if-match", version)], &json!({ "title": title })).await }
    };
    assert_eq!(edit("\"1\"", "Two").await.version(), 2);
    let stale = edit("\"1\"", "Three").await;
    assert_eq!(stale.refusal(), (412, "version_mismatch"));
    assert_eq!(stale.body["current_version"], 2);
    assert_eq!(world.load(&shop, &card).await.known().unwrap().title.as_str(), "Two");
    assert_eq!(edit("\"2\"", "Three").await.version(), 3);
}

#[tokio::test]
async fn concurrent_moves_are_all_taken_one_after_the_other() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "One").await;
    let path = shop.at(&card, "/move");
    let replies = join_all(["ready", "review"].map(|lane| world.post(&shop, &path, json!({ "lane": lane })))).await;
    let mut versions: Vec<_> = replies.iter().map(crate::support::Reply::version).collect();
    versions.sort_unstable();
    assert_eq!(versions, [2, 3]);
}

#[tokio::test]
async fn of_concurrent_moves_that_saw_the_same_version_one_is_taken() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "One").await;
    let path = shop.at(&card, "/move");
    let seen = [("if-match", "\"1\"")];
    let bodies = ["ready", "review", "in-progress", "done"].map(|lane| json!({ "lane": lane }));
    let replies = join_all(bodies.iter().map(|body| world.call("POST", &path, &shop.token, &seen, body))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status.is_success());
    assert_eq!((taken.len(), refused.len()), (1, 3));
    for reply in refused {
        assert_eq!(reply.refusal(), (412, "version_mismatch"));
        assert_eq!(reply.body["current_version"], 2);
    }
}

#[tokio::test]
async fn cards_are_placed_beside_their_neighbours() {
    let world = World::new().await;
    let shop = world.shop().await;
    let [a, b, c] = [world.card(&shop, "a").await, world.card(&shop, "b").await, world.card(&shop, "c").await];
    let order = || async {
        let mut cards = Vec::new();
        for card in [&a, &b, &c] {
            let known = world.load(&shop, card).await.known().unwrap().clone();
            cards.push((known.rank, known.title.as_str().to_owned()));
        }
        cards.sort();
        cards.into_iter().map(|(_, title)| title).collect::<String>()
    };
    assert_eq!(order().await, "abc");
    world.post(&shop, &shop.at(&c, "/rank"), json!({ "before": a })).await.version();
    assert_eq!(order().await, "cab");
    world.post(&shop, &shop.at(&c, "/move"), json!({ "lane": "backlog", "after": a, "before": b })).await.version();
    assert_eq!(order().await, "acb");
    world.post(&shop, &shop.at(&a, "/rank"), json!({})).await.version();
    assert_eq!(order().await, "cba");

    let refused = |card: &str, body: Value| {
        let (world, shop, path) = (&world, &shop, shop.at(card, "/rank"));
        async move {
            let reply = world.post(shop, &path, body).await;
            let (status, code) = reply.refusal();
            (status, code.to_owned())
        }
    };
    assert_eq!(refused(&c, json!({ "after": a, "before": b })).await, (409, "neighbours_out_of_order".into()));
    assert_eq!(refused(&c, json!({ "after": c })).await, (422, "neighbour_unknown".into()));
    assert_eq!(
        refused(&c, json!({ "after": "crd_01h455vb4pex5vsknk084sn02q" })).await,
        (422, "neighbour_unknown".into())
    );
    world.post(&shop, &shop.at(&a, "/move"), json!({ "lane": "done" })).await.version();
    assert_eq!(refused(&c, json!({ "after": a })).await, (409, "neighbour_elsewhere".into()));
}

async fn depend(world: &World, shop: &Shop, card: &str, on: &str) -> crate::support::Reply {
    world.put(shop, &shop.at(card, &format!("/dependencies/{on}")), json!({})).await
}

#[tokio::test]
async fn dependencies_hold_runs_back_and_never_close_a_circle() {
    let world = World::new().await;
    let shop = world.shop().await;
    let [a, b, c] = [world.card(&shop, "a").await, world.card(&shop, "b").await, world.card(&shop, "c").await];
    assert_eq!(depend(&world, &shop, &b, &a).await.version(), 2);
    assert_eq!(depend(&world, &shop, &b, &a).await.version(), 2, "twice is once");
    assert_eq!(depend(&world, &shop, &c, &b).await.version(), 2);
    assert_eq!(depend(&world, &shop, &a, &c).await.refusal(), (409, "dependency_cycle"));
    assert_eq!(depend(&world, &shop, &a, &a).await.refusal(), (409, "dependency_cycle"));
    let elsewhere = world.shop().await;
    let foreign = world.card(&elsewhere, "x").await;
    assert_eq!(depend(&world, &shop, &a, &foreign).await.refusal(), (422, "dependency_unknown"));

    let run = shop.at(&b, "/run");
    let held = world.post(&shop, &run, json!({})).await;
    assert_eq!(held.refusal(), (409, "dependency_not_done"));
    assert!(held.body["detail"].as_str().unwrap().contains(&a));
    world.post(&shop, &shop.at(&a, "/move"), json!({ "lane": "done" })).await.version();
    assert_eq!(world.post(&shop, &run, json!({})).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn dependencies_added_at_the_same_time_close_no_circle() {
    let world = World::new().await;
    let shop = world.shop().await;
    let (a, b) = (world.card(&shop, "a").await, world.card(&shop, "b").await);
    let (one, other) = tokio::join!(depend(&world, &shop, &a, &b), depend(&world, &shop, &b, &a));
    assert!(one.status.is_success() != other.status.is_success(), "{one:?} {other:?}");
}

#[tokio::test]
async fn the_limit_of_active_runs_is_exact_within_a_process() {
    let world = World::new().await;
    let shop = world.shop().await;
    let policy = format!("/v1/projects/{}/policy", shop.project);
    world.put(&shop, &policy, json!({ "max_active_runs": 2 })).await.version();
    let mut cards = Vec::new();
    for i in 0..6 {
        cards.push(world.card(&shop, &format!("card {i}")).await);
    }
    let paths: Vec<_> = cards.iter().map(|card| shop.at(card, "/run")).collect();
    let replies = join_all(paths.iter().map(|path| world.post(&shop, path, json!({})))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status.is_success());
    assert_eq!((taken.len(), refused.len()), (2, 4));
    for reply in refused {
        assert_eq!(reply.refusal(), (429, "too_many_active_runs"));
        assert_eq!(reply.headers["retry-after"], "10");
    }
}

#[tokio::test]
async fn the_model_is_the_agents_else_the_projects_else_the_providers() {
    let world = World::new().await;
    let shop = world.shop().await;
    let other = json!({ "name": "B", "kind": "openai", "default_model": "other-default", "key": "k" });
    let other = world.post(&shop, "/v1/providers", other).await.id();
    let choose = format!("/v1/projects/{}/model", shop.project);
    let model = |card: String| {
        let (world, shop) = (&world, &shop);
        async move {
            let reply = world.post(shop, &shop.at(&card, "/run"), json!({})).await;
            assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
            let events =
                world.log.read_stream(shop.tenant, id::<domain::id::CardKind>(&card).uuid(), 0, 100).await.unwrap();
            let task = events.iter().rev().find_map(|event| match event.decode::<Card>().unwrap() {
                Some(domain::card::CardEvent::RunRequested(requested)) => Some(requested.task),
                _ => None,
            });
            let task = task.unwrap();
            (task.provider.to_string(), task.model.as_str().to_owned())
        }
    };
    let agent = |card: String, agent: Value| {
        let (world, shop) = (&world, &shop);
        async move {
            world.put(shop, &shop.at(&card, "/agent"), agent).await.version();
            card
        }
    };
    let new = || world.card(&shop, "x");
    assert_eq!(model(new().await).await, (shop.provider.clone(), "default-model".into()));
    world.put(&shop, &choose, json!({ "provider": shop.provider, "model": "project-model" })).await.version();
    assert_eq!(model(new().await).await, (shop.provider.clone(), "project-model".into()));
    let card = agent(new().await, json!({ "name": "x", "model": "agent-model" })).await;
    assert_eq!(model(card).await, (shop.provider.clone(), "agent-model".into()));
    let card = agent(new().await, json!({ "name": "x", "provider": other })).await;
    assert_eq!(model(card).await, (other.clone(), "other-default".into()));

    world.post(&shop, &format!("/v1/providers/{other}/disable"), json!({})).await.version();
    let card = new().await;
    let refused = world.put(&shop, &shop.at(&card, "/agent"), json!({ "name": "x", "provider": other })).await;
    assert_eq!(refused.refusal(), (422, "provider_not_usable"));
}

#[tokio::test]
async fn lanes_that_hold_cards_stay() {
    let world = World::new().await;
    let shop = world.shop().await;
    world.card(&shop, "a").await;
    let path = format!("/v1/projects/{}/lanes", shop.project);
    let lane = |key: &str, role: &str| json!({ "key": key, "name": key, "role": role });
    let without = json!({ "lanes": [lane("todo", "ready"), lane("done", "done")] });
    assert_eq!(world.put(&shop, &path, without).await.refusal(), (409, "lane_occupied"));
    let with = json!({ "lanes": [lane("backlog", "backlog"), lane("done", "done")] });
    assert_eq!(world.put(&shop, &path, with).await.version(), 2);
}

#[tokio::test]
async fn a_suspended_tenant_changes_nothing() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "a").await;
    let suspend = format!("/v1/tenants/{}/suspend", shop.tenant);
    let owner = world.post(&shop, &suspend, json!({ "reason": "x" })).await;
    assert_eq!(owner.refusal(), (403, "forbidden"));
    world.call("POST", &suspend, &world.operator(), &[], &json!({ "reason": "x" })).await.version();
    assert_eq!(world.post(&shop, &shop.at(&card, "/run"), json!({})).await.refusal(), (409, "tenant_not_active"));
    let workspace = world.post(&shop, "/v1/workspaces", json!({ "name": "x" })).await;
    assert_eq!(workspace.refusal(), (409, "tenant_not_active"));
    let renamed = world.call("PATCH", &shop.at(&card, ""), &shop.token, &[], &json!({ "title": "b" })).await;
    assert_eq!(renamed.refusal(), (409, "tenant_not_active"));
    let resume = format!("/v1/tenants/{}/resume", shop.tenant);
    world.call("POST", &resume, &world.operator(), &[], &json!({})).await.version();
    assert_eq!(world.post(&shop, &shop.at(&card, "/run"), json!({})).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn roles_are_kept_to() {
    let world = World::new().await;
    let shop = world.shop().await;
    let name = json!({ "name": "x" });
    let auditor = world.token(Some(shop.tenant), Role::Auditor);
    let own = format!("/v1/tenants/{}", shop.tenant);
    for (method, path) in [("POST", "/v1/workspaces"), ("PATCH", own.as_str()), ("POST", "/v1/tenants")] {
        assert_eq!(world.call(method, path, &auditor, &[], &name).await.refusal(), (403, "forbidden"), "{path}");
    }
    let operator = world.operator();
    assert_eq!(world.call("POST", "/v1/workspaces", &operator, &[], &name).await.refusal(), (403, "forbidden"));
    assert_eq!(world.post(&shop, "/v1/tenants", name.clone()).await.refusal(), (403, "forbidden"));
    assert_eq!(world.call("PATCH", &own, &shop.token, &[], &name).await.version(), 2);
    assert_eq!(world.call("PATCH", &own, &operator, &[], &json!({ "name": "y" })).await.version(), 3);
}

#[tokio::test]
async fn settings_of_a_provider_change_one_by_one() {
    let world = World::new().await;
    let shop = world.shop().await;
    let path = format!("/v1/providers/{}", shop.provider);
    let patch = |body: Value| {
        let (world, shop, path) = (&world, &shop, path.clone());
        async move { world.call("PATCH", &path, &shop.token, &[], &body).await }
    };
    let settings = || async {
        let provider = id::<domain::id::ProviderKind>(&shop.provider).uuid();
        match world.log.load::<domain::provider::Provider>(shop.tenant, provider).await.unwrap().state {
            domain::provider::Provider::Registered { settings, .. } => settings,
            domain::provider::Provider::Absent => panic!("no provider"),
        }
    };
    assert_eq!(patch(json!({ "base_url": "http://127.0.0.1:1/v1" })).await.version(), 2);
    assert_eq!(patch(json!({ "default_model": "m2" })).await.version(), 3);
    assert_eq!(patch(json!({})).await.version(), 3, "nothing said, nothing changed");
    let now = settings().await;
    assert_eq!((now.base_url.unwrap().as_str(), now.default_model.as_str()), ("http://127.0.0.1:1/v1", "m2"));
    assert_eq!(patch(json!({ "base_url": null })).await.version(), 4);
    assert!(settings().await.base_url.is_none());
}
