//! How requests come in, and how they are refused.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use axum::body::Body;
use axum::http::Request;
use domain::TenantId;
use query_api::{Operations, Settings};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

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
        (Some(owner.clone()), json, r#" [{"query":"{ me { actor } }"}]"#, 400, "batch_unsupported"),
        (Some(owner.clone()), json, r#"["{ me { actor } }", null, null]"#, 400, "batch_unsupported"),
        (Some(owner.clone()), json, "{}", 400, "query_missing"),
        (Some(owner.clone()), json, r#"{"query": "{ me { actor } }", "extensions": [1]}"#, 400, "json_malformed"),
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
        ("", 400, "query_missing"),
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

/// A question that is posted, by somebody of the tenant's.
fn posted(api: &Api, tenant: TenantId, accept: &str, body: &Value) -> Request<Body> {
    Request::post("/graphql")
        .header("content-type", "application/json")
        .header("accept", accept)
        .header("authorization", format!("Bearer {}", api.owner(tenant)))
        .body(Body::from(body.to_string()))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_may_be_named_by_its_digest() {
    let mut world = World::new(6).await;
    let tenant = world.tenant().await;
    let text = "{ me { actor } }";
    let sha: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    let named = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": sha } } });
    let whole = json!({ "query": text, "extensions": named["extensions"] });
    let me = json!({ "data": { "me": { "actor": "operator:ada" } } });

    let api = Api::start(&world).await;
    let ask = |body: &Value| api.send(posted(&api, tenant, "*/*", body));
    let unknown = ask(&named).await;
    assert_eq!((unknown.status, &unknown.body["errors"][0]["message"]), (200, &json!("PersistedQueryNotFound")));
    assert_eq!(ask(&whole).await.body, me);
    assert_eq!(ask(&named).await.body, me);
    let extensions = format!("%7B%22persistedQuery%22%3A%7B%22version%22%3A1%2C%22sha256Hash%22%3A%22{sha}%22%7D%7D");
    let get = Request::get(format!("/graphql?extensions={extensions}"))
        .header("authorization", format!("Bearer {}", api.owner(tenant)))
        .body(Body::empty())
        .unwrap();
    assert_eq!(api.send(get).await.body, me);

    let operation = json!({ "id": sha, "name": "Me", "type": "query", "body": text });
    let list = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [operation] });
    let operations = Some(Operations::parse(&list.to_string()).unwrap());
    let strict = Api::with(&world, Settings { operations, ..Settings::default() }).await;
    for (body, code) in [
        (json!({ "query": text }), None),
        (named, None),
        (json!({ "query": "{ me { role } }" }), Some("operation_not_listed")),
        (json!({ "query": "{ __schema { types { name } } }" }), Some("operation_not_listed")),
    ] {
        let answer = strict.send(posted(&strict, tenant, "*/*", &body)).await;
        assert_eq!(answer.body["errors"][0]["extensions"]["code"].as_str(), code, "{}", answer.body);
    }
    let mut socket = strict.open(tenant).await;
    socket.subscribe("1", "{ me { role } }", Value::Null).await;
    let refused = socket.hear().await;
    assert_eq!(
        (&refused["type"], &refused["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("operation_not_listed"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_as_a_stream_to_who_takes_one() {
    let mut world = World::new(7).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.succeed(tenant, run, 1).await;
    let api = Api::start(&world).await;
    api.caught_up(&world).await;
    let events = "text/event-stream";
    let answer = api.send(posted(&api, tenant, events, &json!({ "query": "{ me { actor } }" }))).await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, events));
    let next = r#"event: next
data: {"data":{"me":{"actor":"operator:ada"}}}"#;
    assert_eq!(answer.body.as_str().unwrap(), format!("{next}\n\nevent: complete\ndata: {{}}\n\n"));
    // A run that is over: one frame, and the end.
    let query = format!("subscription {{ runProgress(run: \"{run}\") {{ ended run {{ state }} }} }}");
    let answer = api.send(posted(&api, tenant, events, &json!({ "query": query }))).await;
    let text = answer.body.as_str().unwrap();
    assert!(text.contains(r#"{"runProgress":{"ended":true,"run":{"state":"SUCCEEDED"}}}"#), "{text}");
    assert_eq!(text.matches("event: next").count(), 1);
    // What is not executed says why.
    let answer = api.send(posted(&api, tenant, events, &json!({ "query": "{ nothing }" }))).await;
    assert!(answer.body.as_str().unwrap().contains("invalid_query"));
    let refused = api.send(posted(&api, tenant, "text/html", &json!({ "query": "{ me { actor } }" }))).await;
    assert_eq!((refused.status, &refused.body["code"]), (406, &json!("not_acceptable")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_takes_too_long_ends() {
    let mut world = World::new(8).await;
    let tenant = world.tenant().await;
    let time = std::time::Duration::from_millis(50);
    let api = Api::with(&world, Settings { time, ..Settings::default() }).await;
    api.caught_up(&world).await;
    // It waits for what will not come.
    let ahead = schemas::Cursor { partition: 0, position: world.position + 1 };
    let body = json!({ "query": format!("{{ me(waitFor: \"{ahead}\") {{ actor }} }}") });
    for (accept, status) in [("application/json", 200), ("application/graphql-response+json", 503)] {
        let answer = api.send(posted(&api, tenant, accept, &body)).await;
        let code = &answer.body["errors"][0]["extensions"]["code"];
        assert_eq!((answer.status, code, answer.body.get("data")), (status, &json!("timed_out"), None));
    }
    let mut socket = api.open(tenant).await;
    socket.say(json!({ "type": "subscribe", "id": "1", "payload": body })).await;
    assert_eq!(socket.hear().await["payload"][0]["extensions"]["code"], "timed_out");
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
