//! The same request again changes nothing and answers the same.

use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::json;
use std::sync::atomic::Ordering;

use crate::support::{CREDENTIAL, KEY, World};

#[tokio::test]
async fn the_same_key_gets_the_same_answer_even_after_the_state_has_changed() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "One").await;
    let path = shop.at(&card, "/move");
    let key = [("idempotency-key", "move-1")];
    let first = world.call("POST", &path, &shop.token, &key, &json!({ "lane": "ready" })).await;
    assert_eq!((first.status, first.version()), (StatusCode::OK, 2));
    assert!(!first.headers.contains_key("idempotent-replayed"));
    world.post(&shop, &path, json!({ "lane": "review" })).await.version();
    world.post(&shop, &shop.at(&card, "/archive"), json!({})).await.version();

    let before = world.head().await;
    let again = world.call("POST", &path, &shop.token, &key, &json!({ "lane": "ready" })).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["etag"], first.headers["etag"]);
    assert_eq!(world.head().await, before);

    // The same with an expected version that has passed meanwhile.
    let headers = [("idempotency-key", "move-1"), ("if-match", "\"1\"")];
    let again = world.call("POST", &path, &shop.token, &headers, &json!({ "lane": "ready" })).await;
    assert_eq!(again.body, first.body);
}

#[tokio::test]
async fn the_same_key_for_another_request_is_refused() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "One").await;
    let path = shop.at(&card, "/move");
    let key = [("idempotency-key", "k")];
    world.call("POST", &path, &shop.token, &key, &json!({ "lane": "ready" })).await.version();
    let before = world.head().await;
    for (path, body) in [
        (path.clone(), json!({ "lane": "review" })),
        (shop.at(&card, "/rank"), json!({})),
        ("/v1/workspaces".to_owned(), json!({ "name": "x" })),
    ] {
        let reply = world.call("POST", &path, &shop.token, &key, &body).await;
        assert_eq!(reply.refusal(), (422, "idempotency_key_reused"));
    }
    assert_eq!(world.head().await, before);
    // Another tenant's keys are its own.
    let other = world.shop().await;
    world.call("POST", "/v1/workspaces", &other.token, &key, &json!({ "name": "x" })).await.version();
}

#[tokio::test]
async fn the_same_key_at_the_same_time_creates_one_thing() {
    let world = World::new().await;
    let shop = world.shop().await;
    let path = format!("/v1/projects/{}/cards", shop.project);
    let before = world.head().await;
    let body = json!({ "title": "Once" });
    let key = [("idempotency-key", "once")];
    let replies = join_all((0..16).map(|_| world.call("POST", &path, &shop.token, &key, &body))).await;
    assert_eq!(world.head().await, before + 1);
    for reply in &replies {
        assert_eq!((reply.status, &reply.body), (StatusCode::CREATED, &replies[0].body));
        assert_eq!(reply.headers["location"], format!("{path}/{}", reply.id()));
    }
    let fresh = replies.iter().filter(|reply| !reply.headers.contains_key("idempotent-replayed"));
    assert_eq!(fresh.count(), 1);
}

#[tokio::test]
async fn without_a_key_every_request_is_its_own() {
    let world = World::new().await;
    let shop = world.shop().await;
    assert_ne!(world.card(&shop, "Same").await, world.card(&shop, "Same").await);
}

#[tokio::test]
async fn a_repeated_run_is_the_same_run() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "One").await;
    let path = shop.at(&card, "/run");
    let key = [("idempotency-key", "run")];
    let first = world.call("POST", &path, &shop.token, &key, &json!({})).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    let run = first.body["run"].as_str().unwrap();
    assert!(run.starts_with("run_"));
    let active = world.load(&shop, &card).await.known().unwrap().active_run.clone().unwrap();
    assert_eq!(active.0.to_string(), run);
    let again = world.call("POST", &path, &shop.token, &key, &json!({})).await;
    assert_eq!((again.status, again.body), (StatusCode::ACCEPTED, first.body));
    let other = world.post(&shop, &path, json!({})).await;
    assert_eq!(other.refusal(), (409, "run_already_active"));
}

#[tokio::test]
async fn a_repeated_project_asks_the_repository_only_once_and_keeps_one_credential() {
    let world = World::new().await;
    let shop = world.shop().await;
    let asked = world.probe.asked.load(Ordering::Relaxed);
    let body = json!({
        "workspace": shop.workspace, "name": "Private",
        "repository": { "url": "https://private.example/x.git", "credential": CREDENTIAL, "default_branch": "release" },
    });
    let key = [("idempotency-key", "project")];
    let first = world.call("POST", "/v1/projects", &shop.token, &key, &body).await;
    let again = world.call("POST", "/v1/projects", &shop.token, &key, &body).await;
    assert_eq!((first.status, &first.body), (StatusCode::CREATED, &again.body));
    assert_eq!(world.probe.asked.load(Ordering::Relaxed), asked + 1);

    let path = format!("/v1/projects/{}/repository", first.id());
    let body = json!({ "url": "https://private.example/y.git", "credential": CREDENTIAL });
    let key = [("idempotency-key", "repository")];
    let first = world.call("PUT", &path, &shop.token, &key, &body).await;
    let again = world.call("PUT", &path, &shop.token, &key, &body).await;
    assert_eq!((first.version(), &first.body), (2, &again.body));
    assert_eq!(world.probe.asked.load(Ordering::Relaxed), asked + 2);

    let mut admin = world.database.admin().await;
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM vault.secrets").fetch_one(&mut admin).await.unwrap();
    assert_eq!(stored, 3, "the provider's key and two credentials");
}

#[tokio::test]
async fn a_tenant_is_created_once() {
    let world = World::new().await;
    let operator = world.operator();
    let key = [("idempotency-key", "tenant")];
    let create = |name| world.call("POST", "/v1/tenants", &operator, &key, name);
    let name = json!({ "name": "Shop Ltd" });
    let (first, again) = (create(&name).await, create(&name).await);
    assert_eq!((first.status, &first.body), (StatusCode::CREATED, &again.body));
    assert_eq!(world.head().await, 1);
    assert_eq!(create(&json!({ "name": "Other" })).await.refusal(), (422, "idempotency_key_reused"));
}

#[tokio::test]
async fn a_repeated_request_with_another_secret_is_another_request() {
    let world = World::new().await;
    let shop = world.shop().await;
    let key = [("idempotency-key", "provider")];
    let body = |key: &str| json!({ "name": "A", "kind": "openai", "default_model": "m", "key": key });
    world.call("POST", "/v1/providers", &shop.token, &key, &body(KEY)).await.id();
    let reply = world.call("POST", "/v1/providers", &shop.token, &key, &body("sk-other")).await;
    assert_eq!(reply.refusal(), (422, "idempotency_key_reused"));
}
