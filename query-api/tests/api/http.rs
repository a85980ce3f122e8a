//! How requests come in, and how they are refused.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::api::Api;
use crate::support::World;

const ME: &str = r#"{"query":"{ me { actor } }"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_or_asks_in_another_way_gets_a_problem() {
    let mut world = World::new(1).await;
    let tenant = world.tenant().await;
    let api = Api::start(&world).await;
    let (owner, operator) = (api.owner(tenant), api.token(None, time::Duration::HOUR));
    let expired = api.token(Some(tenant), time::Duration::seconds(-60));
    let deep = format!(r#"{{"query": "{{ me {{ actor }} }}", "variables": {}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let large = json!({ "query": " ".repeat(300 * 1024) }).to_string();
    let json = "application/json";
    let cases = [
        (None, json, ME, 401, "token_missing"),
        (Some("nonsense".to_owned()), json, ME, 401, "token_malformed"),
        (Some(expired), json, ME, 401, "token_expired"),
        (Some(operator), json, ME, 403, "forbidden"),
        (Some(owner.clone()), "text/plain", ME, 415, "content_type_unsupported"),
        (Some(owner.clone()), "multipart/form-data; boundary=x", ME, 415, "content_type_unsupported"),
        (Some(owner.clone()), json, "{", 400, "json_malformed"),
        (Some(owner.clone()), json, "", 400, "json_malformed"),
        (Some(owner.clone()), json, r#"[{"query":"{ me { actor } }"}]"#, 400, "json_malformed"),
        (Some(owner.clone()), json, r#"["{ me { actor } }", null, null]"#, 400, "json_malformed"),
        (Some(owner.clone()), json, "{}", 400, "json_malformed"),
        (Some(owner.clone()), json, r#"{"query": 7}"#, 400, "json_malformed"),
        (Some(owner.clone()), json, r#"{"query": "{ me { actor } }", "variables": "x"}"#, 400, "json_malformed"),
        (Some(owner.clone()), json, &deep, 400, "json_malformed"),
        (Some(owner.clone()), json, &large, 413, "body_too_large"),
    ];
    for (token, kind, body, status, code) in cases {
        let mut request = Request::post("/graphql").header("content-type", kind);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = api.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{}", answer.body);
        assert_eq!(answer.kind, "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_takes_queries_only() {
    let mut world = World::new(2).await;
    let tenant = world.tenant().await;
    let api = Api::start(&world).await;
    let get = |query: &str| {
        Request::get(format!("/graphql?{query}"))
            .header("authorization", format!("Bearer {}", api.owner(tenant)))
            .body(Body::empty())
            .unwrap()
    };
    let answer = api.send(get("query=%7Bme%7Bactor%7D%7D")).await;
    assert_eq!((answer.status, &answer.body), (200, &json!({ "data": { "me": { "actor": "operator:ada" } } })));
    let by_variable = "query=query%20Q(%24id%3AID!)%7Bcard(id%3A%24id)%7Bid%7D%7D&variables=%7B%22id%22%3A%22x%22%7D";
    assert_eq!(api.send(get(by_variable)).await.body, json!({ "data": { "card": null } }));
    for (query, status, code) in [
        ("query=mutation%7Bx%7D", 405, "method_not_allowed"),
        ("query=subscription%7BrunProgress(run%3A%22x%22)%7Bcursor%7D%7D", 405, "method_not_allowed"),
        ("", 400, "request_malformed"),
        ("query=%7Bme%7Bactor%7D%7D&variables=%5B1%5D", 400, "request_malformed"),
        ("query=%7Bme%7Bactor%7D%7D&variables=x", 400, "request_malformed"),
    ] {
        let answer = api.send(get(query)).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{}", answer.body);
    }
    let unread = api.send(get("query=%7Bme")).await;
    assert_eq!(unread.body["errors"][0]["extensions"]["code"], "invalid_query");
    let deep = format!("query={}", "%7Ba".repeat(2_000));
    assert_eq!(api.send(get(&deep)).await.body["errors"][0]["extensions"]["code"], "invalid_query");
    let nobody = Request::get("/graphql?query=%7Bme%7Bactor%7D%7D").body(Body::empty()).unwrap();
    assert_eq!(api.send(nobody).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_costs_too_much_or_fits_not_is_refused_with_a_code() {
    let mut world = World::new(3).await;
    let tenant = world.tenant().await;
    let api = Api::start(&world).await;
    let deep = format!("{{ card(id: \"x\") {} id {} }}", "{ activeRun { card ".repeat(10), "} } ".repeat(10));
    let wide: String = (0..40).map(|i| format!("a{i}: me {{ actor }} ")).collect();
    let long: String = (0..60).map(|i| format!("a{i}: actor ")).collect();
    let bomb: String = (0..50).map(|i| format!("fragment F{i} on Me {{ ...F{n} ...F{n} }} ", n = i + 1)).collect();
    for query in [
        "",
        "{ nothing }",
        "{ me }",
        "{ project { id } }",
        "{ board(project: 7, waitFor: true) { cursor } }",
        "{ me(waitFor: \"nonsense\") { actor } }",
        "query A { me { actor } } query B { me { actor } }",
        "mutation { x }",
        "subscription { runProgress(run: \"x\") { cursor } }",
        &deep,
        &format!("{{ {wide} }}"),
        &format!("{{ me {{ {long} }} }}"),
        &format!("{{ me {{ ...F0 }} }} {bomb} fragment F50 on Me {{ actor }}"),
        // The same, but spread by nobody.
        &format!("{{ me {{ actor }} }} {bomb} fragment F50 on Me {{ actor }}"),
        &"{a".repeat(30_000),
        "{ board(project: \"x\") { lanes { cards { dependsOn { dependsOn { dependsOn { id } } } } } } }",
    ] {
        assert_eq!(api.code(tenant, query, Value::Null).await, "invalid_query", "{}", &query[..query.len().min(100)]);
    }
    for (query, code) in [
        ("{ projects(first: 0) { nodes { id } } }", "page_invalid"),
        ("{ projects(first: 201) { nodes { id } } }", "page_invalid"),
        ("{ projects(after: \"x\") { nodes { id } } }", "cursor_invalid"),
        ("{ me(waitFor: \"p7z1\") { actor } }", "cursor_invalid"),
        ("{ usage(from: \"2026-01-02\", to: \"2026-01-01\") { from } }", "range_invalid"),
        ("{ usage(from: \"2020-01-01\", to: \"2026-01-01\") { from } }", "range_invalid"),
        ("{ usage(from: \"-9999-01-01\", to: \"-9999-01-02\") { from } }", "range_invalid"),
    ] {
        assert_eq!(api.code(tenant, query, Value::Null).await, code, "{query}");
    }
    // Nothing is suggested, so a typing error tells nothing of the schema.
    let answer = api.ask(tenant, "{ projectz { id } }", Value::Null).await;
    assert!(!answer.to_string().contains("Did you mean"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_speaks_the_newer_media_type_gets_it() {
    let mut world = World::new(4).await;
    let tenant = world.tenant().await;
    let api = Api::start(&world).await;
    for (query, status) in [("{ me { actor } }", 200), ("{ nothing }", 400)] {
        let request = Request::post("/graphql")
            .header("content-type", "application/json; charset=utf-8")
            .header("accept", "application/graphql-response+json, application/json;q=0.9")
            .header("authorization", format!("bearer {}", api.owner(tenant)))
            .body(Body::from(json!({ "query": query }).to_string()))
            .unwrap();
        let answer = api.send(request).await;
        assert_eq!((answer.status, answer.kind.as_str()), (status, "application/graphql-response+json"));
    }
    let page = api.send(Request::get("/graphiql").body(Body::empty()).unwrap()).await;
    assert_eq!(page.status, 200);
    assert!(page.body.as_str().unwrap().contains("GraphiQL"));
}
