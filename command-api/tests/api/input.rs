//! Bad input is refused with a named reason.

use access::{ApiGrant, Role, SigningKey};
use axum::body::Body;
use axum::http::Request;
use domain::Actor;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::support::{MAX_BODY, World, now, uuid};

#[tokio::test]
async fn values_and_shapes_are_checked() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "a").await;
    let project = format!("/v1/projects/{}", shop.project);
    let cards = format!("{project}/cards");
    let at = |rest: &str| shop.at(&card, rest);
    let repository = |url: &str| json!({ "workspace": shop.workspace, "name": "x", "repository": { "url": url } });
    let with = |mut body: Value, name: &str, value: Value| {
        body[name] = value;
        body
    };
    let git = || repository("https://git.example/x.git");
    let gone = "wsp_01h455vb4pex5vsknk084sn02q";
    let provider = || json!({ "name": "x", "kind": "openai", "default_model": "m", "key": "k" });
    let cases: Vec<(&str, String, Value, u16, &str, &str)> = vec![
        // Cards.
        ("POST", cards.clone(), json!({ "title": "" }), 422, "title_empty", "title"),
        ("POST", cards.clone(), json!({ "title": "  " }), 422, "title_empty", "title"),
        ("POST", cards.clone(), json!({ "title": "x".repeat(1_000_000) }), 422, "title_too_long", "title"),
        ("POST", cards.clone(), json!({ "title": "x".repeat(MAX_BODY) }), 413, "body_too_large", ""),
        ("POST", cards.clone(), json!({ "title": "a\nb" }), 422, "title_control_character", "title"),
        ("POST", cards.clone(), json!({ "title": 1 }), 400, "json_invalid", "title"),
        ("POST", cards.clone(), json!({ "title": null }), 400, "json_invalid", "title"),
        ("POST", cards.clone(), json!({}), 400, "json_invalid", ""),
        ("POST", cards.clone(), json!([]), 400, "json_invalid", ""),
        ("POST", cards.clone(), json!(["x"]), 400, "json_invalid", ""),
        ("POST", at("/archive"), json!([]), 400, "json_invalid", ""),
        (
            "POST",
            "/v1/projects".into(),
            with(git(), "repository", json!(["https://git.example/x"])),
            400,
            "json_invalid",
            "repository",
        ),
        (
            "PUT",
            format!("{project}/lanes"),
            json!({ "lanes": [["done", "Done", "done"]] }),
            400,
            "json_invalid",
            "lanes[0]",
        ),
        ("POST", cards.clone(), json!({ "title": "x", "colour": "red" }), 400, "json_invalid", "colour"),
        ("POST", cards.clone(), json!({ "title": "x", "lane": "nowhere" }), 422, "lane_unknown", ""),
        ("POST", cards.clone(), json!({ "title": "x", "lane": "No Lane" }), 422, "lane_invalid", "lane"),
        (
            "POST",
            cards.clone(),
            json!({ "title": "x", "description": "a\u{0}b" }),
            422,
            "text_control_character",
            "description",
        ),
        (
            "POST",
            cards.clone(),
            json!({ "title": "x", "description": "x".repeat(65_537) }),
            422,
            "text_too_long",
            "description",
        ),
        ("PATCH", at(""), json!({}), 422, "nothing_to_edit", ""),
        ("PATCH", at(""), json!({ "title": "" }), 422, "title_empty", "title"),
        ("POST", at("/move"), json!({ "lane": "nowhere" }), 422, "lane_unknown", ""),
        ("POST", at("/move"), json!({ "lane": "ready", "after": "nonsense" }), 400, "json_invalid", "after"),
        ("POST", at("/move"), json!({ "lane": "ready", "after": shop.project }), 400, "json_invalid", "after"),
        ("POST", at("/move"), json!({ "lane": ["ready"] }), 400, "json_invalid", "lane"),
        ("POST", at("/rank"), json!({ "lane": "ready" }), 400, "json_invalid", "lane"),
        ("POST", at("/run"), json!({ "now": true }), 400, "json_invalid", "now"),
        ("POST", at("/block"), json!({ "reason": " " }), 422, "reason_empty", "reason"),
        ("POST", at("/comments"), json!({ "text": " " }), 422, "text_empty", "text"),
        ("PUT", at("/agent"), json!({ "name": "x", "model": "" }), 422, "model_invalid", "model"),
        (
            "PUT",
            at("/agent"),
            json!({ "name": "x", "provider": gone.replace("wsp", "prv") }),
            422,
            "provider_not_usable",
            "",
        ),
        // Projects.
        (
            "POST",
            "/v1/projects".into(),
            repository("https://missing.example/x.git"),
            422,
            "repository_not_found",
            "repository.url",
        ),
        (
            "POST",
            "/v1/projects".into(),
            repository("https://private.example/x.git"),
            422,
            "repository_unauthorized",
            "repository.credential",
        ),
        (
            "POST",
            "/v1/projects".into(),
            repository("https://down.example/x.git"),
            422,
            "repository_unreachable",
            "repository.url",
        ),
        (
            "POST",
            "/v1/projects".into(),
            repository("https://empty.example/x.git"),
            422,
            "repository_empty",
            "repository.url",
        ),
        (
            "POST",
            "/v1/projects".into(),
            repository("file:///etc/passwd"),
            422,
            "repository_url_invalid",
            "repository.url",
        ),
        (
            "POST",
            "/v1/projects".into(),
            repository("https://u:p@git.example/x"),
            422,
            "repository_url_invalid",
            "repository.url",
        ),
        ("POST", "/v1/projects".into(), with(git(), "workspace", json!(gone)), 422, "workspace_not_found", ""),
        ("POST", "/v1/projects".into(), with(git(), "workspace", json!("x")), 400, "json_invalid", "workspace"),
        ("POST", "/v1/projects".into(), with(git(), "name", json!("")), 422, "name_empty", "name"),
        (
            "POST",
            "/v1/projects".into(),
            with(git(), "policy", json!({ "max_steps": 0 })),
            422,
            "policy_out_of_range",
            "policy.max_steps",
        ),
        (
            "POST",
            "/v1/projects".into(),
            with(git(), "policy", json!({ "max_steps": "many" })),
            400,
            "json_invalid",
            "policy.max_steps",
        ),
        ("POST", "/v1/projects".into(), with(git(), "lanes", json!([])), 422, "lanes_empty", "lanes"),
        (
            "POST",
            "/v1/projects".into(),
            with(git(), "lanes", json!([{ "key": "a", "name": "", "role": "done" }])),
            422,
            "name_empty",
            "lanes[0].name",
        ),
        (
            "POST",
            "/v1/projects".into(),
            with(git(), "lanes", json!([{ "key": "a", "name": "a", "role": "hero" }])),
            400,
            "json_invalid",
            "lanes[0].role",
        ),
        (
            "PUT",
            format!("{project}/repository"),
            json!({ "url": "https://git.example/x", "default_branch": "gone" }),
            422,
            "branch_unknown",
            "repository.default_branch",
        ),
        (
            "PUT",
            format!("{project}/repository"),
            json!({ "url": "https://git.example/x", "default_branch": "a..b" }),
            422,
            "branch_invalid",
            "repository.default_branch",
        ),
        (
            "PUT",
            format!("{project}/repository"),
            json!({ "url": "https://git.example/x", "credential": "" }),
            422,
            "credential_invalid",
            "repository.credential",
        ),
        (
            "PUT",
            format!("{project}/model"),
            json!({ "provider": gone.replace("wsp", "prv") }),
            422,
            "provider_not_usable",
            "",
        ),
        (
            "PUT",
            format!("{project}/policy"),
            json!({ "allowed_tools": ["fly"] }),
            400,
            "json_invalid",
            "allowed_tools[0]",
        ),
        // Providers.
        ("POST", "/v1/providers".into(), with(provider(), "key", json!("a b")), 422, "key_invalid", "key"),
        ("POST", "/v1/providers".into(), with(provider(), "kind", json!("mind")), 400, "json_invalid", "kind"),
        (
            "POST",
            "/v1/providers".into(),
            with(provider(), "base_url", json!("host")),
            422,
            "base_url_invalid",
            "base_url",
        ),
        (
            "POST",
            "/v1/providers".into(),
            with(provider(), "default_model", json!("")),
            422,
            "model_invalid",
            "default_model",
        ),
    ];
    let before = world.head().await;
    for (method, path, body, status, code, field) in cases {
        let reply = world.call(method, &path, &shop.token, &[], &body).await;
        let said = body.to_string().chars().take(200).collect::<String>();
        assert_eq!(reply.refusal(), (status, code), "{method} {path} {said}: {}", reply.body);
        assert_eq!(reply.body["field"].as_str().unwrap_or_default(), field, "{method} {path} {said}: {}", reply.body);
        assert!(reply.body.to_string().len() < 1_000, "{method} {path} {said}");
    }
    assert_eq!(world.head().await, before, "nothing has changed");
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let world = World::new().await;
    let shop = world.shop().await;
    let send = |content_type: Option<&'static str>, body: Vec<u8>| {
        let (world, shop) = (&world, &shop);
        async move {
            let mut request = Request::post("/v1/workspaces").header("authorization", format!("Bearer {}", shop.token));
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let reply = world.raw(request.body(Body::from(body)).unwrap()).await;
            let (status, code) = reply.refusal();
            (status, code.to_owned())
        }
    };
    let json = Some("application/json");
    for body in ["{", "nonsense", "{\"name\":\"x\"} x", "{\"name\":\"x\",}", "\u{1}"] {
        assert_eq!(send(json, body.into()).await, (400, "json_malformed".into()), "{body}");
    }
    assert_eq!(send(json, vec![b'"', 0xff, b'"']).await, (400, "json_malformed".into()));
    assert_eq!(send(json, vec![]).await, (400, "json_invalid".into()));
    let deep = "[".repeat(100_000);
    assert_eq!(send(json, deep.into()).await, (400, "json_malformed".into()));
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        assert_eq!(send(content_type, b"{}".to_vec()).await, (415, "content_type_unsupported".into()));
    }
    assert_eq!(send(Some("Application/JSON; charset=utf-8"), b"{}".to_vec()).await, (400, "json_invalid".into()));
    assert_eq!(send(json, vec![b' '; MAX_BODY + 1]).await, (413, "body_too_large".into()));
}

#[tokio::test]
async fn headers_are_checked() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "a").await;
    let long = "k".repeat(256);
    for (name, value, code) in [
        ("idempotency-key", "", "idempotency_key_invalid"),
        ("idempotency-key", "two words", "idempotency_key_invalid"),
        ("idempotency-key", long.as_str(), "idempotency_key_invalid"),
        ("if-match", "1", "if_match_invalid"),
        ("if-match", "*", "if_match_invalid"),
        ("if-match", "W/\"1\"", "if_match_invalid"),
        ("if-match", "\"-1\"", "if_match_invalid"),
        ("if-match", "\"1\", \"2\"", "if_match_invalid"),
        ("if-match", "\"99999999999999999999\"", "if_match_invalid"),
    ] {
        let body = json!({ "title": "b" });
        let reply = world.call("PATCH", &shop.at(&card, ""), &shop.token, &[(name, value)], &body).await;
        assert_eq!(reply.refusal(), (400, code), "{name}: {value}");
    }
}

#[tokio::test]
async fn malformed_ids_and_unknown_paths_name_nothing() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "a").await;
    let wrong_kind = card.replace("crd_", "prj_");
    let title = json!({ "title": "x" });
    for (path, body) in [
        ("/v1/projects/nonsense/cards".to_owned(), &title),
        (format!("/v1/projects/{card}/cards"), &title),
        (format!("/v1/projects/{wrong_kind}/cards"), &title),
        (format!("/v1/projects/{}/cards/{}/run", shop.project, shop.project), &json!({})),
        (format!("/v1/projects/{wrong_kind}/archive"), &json!({})),
        (format!("/v1/projects/{}/cards/%00/run", shop.project), &json!({})),
        (format!("/v1/projects/{}/cards/%FF/run", shop.project), &json!({})),
        ("/v1/runs/run_/cancel".to_owned(), &json!({})),
    ] {
        let reply = world.post(&shop, &path, body.clone()).await;
        assert_eq!(reply.refusal(), (404, "not_found"), "{path}");
    }
    assert_eq!(world.post(&shop, "/v1/nothing", json!({})).await.refusal(), (404, "path_unknown"));
    let reply = world.call("GET", "/v1/projects", &shop.token, &[], &json!({})).await;
    assert_eq!(reply.refusal(), (405, "method_not_allowed"));
    assert_eq!(reply.headers["allow"], "POST");
}

#[tokio::test]
async fn tokens_are_asked_for_first() {
    let world = World::new().await;
    let shop = world.shop().await;
    let stranger = SigningKey::generate().unwrap();
    let mint = |key: &SigningKey, issued: OffsetDateTime| {
        let actor = Actor::Operator("ada".into());
        let grant = ApiGrant { actor, tenant: Some(shop.tenant), role: Role::Owner, lifetime: Duration::HOUR };
        format!("Bearer {}", key.mint_api(grant, issued, uuid()).unwrap())
    };
    let cases = [
        (None, "token_missing"),
        (Some("Bearer nonsense".to_owned()), "token_malformed"),
        (Some("Basic eDp5".to_owned()), "token_malformed"),
        (Some(mint(&world.key, OffsetDateTime::UNIX_EPOCH)), "token_expired"),
        (Some(mint(&stranger, now())), "token_invalid"),
    ];
    for (authorization, code) in cases {
        // Whatever else is wrong is not told to a stranger.
        for path in ["/v1/workspaces", "/v1/tenants", "/v1/runs/nonsense/cancel"] {
            let mut request = Request::post(path);
            if let Some(value) = &authorization {
                request = request.header("authorization", value);
            }
            let reply = world.raw(request.body(Body::from("nonsense")).unwrap()).await;
            assert_eq!(reply.refusal(), (401, code), "{path}");
            assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        }
    }
}
