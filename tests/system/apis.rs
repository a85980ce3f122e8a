//! The APIs as they are served together: repetition, concurrency, foreign ids, bad input, the position of a command.

use futures::StreamExt;
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::support::{Installation, Stage, refusal, text, writes};

#[tokio::test]
async fn a_repeated_command_changes_nothing_and_answers_the_same() {
    let installation = Installation::shared().await;
    let stage = Stage::set(installation).await;
    let path = format!("/v1/projects/{}/cards", stage.project);
    let body = json!({ "title": "Once" });
    let key = [("Idempotency-Key", "the-same-key")];
    let answers = join_all((0..8).map(|_| stage.owner.send(Method::POST, &path, &key, Some(&body)))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.status == 201 && answer.body == answers[0].body), "{answers:?}");
    let created = installation.events(stage.tenant).iter().filter(|event| event["event_type"] == "CardCreated").count();
    assert_eq!(created, 1);
    let other = stage.owner.send(Method::POST, &path, &key, Some(&json!({ "title": "Twice" }))).await.unwrap();
    assert_eq!(other.body["code"], "idempotency_key_reused");
}

#[tokio::test]
async fn concurrent_moves_leave_versions_or_refusals_and_never_a_lost_update() {
    let installation = Installation::shared().await;
    let stage = Stage::set(installation).await;
    let card = stage.card("Moved about", &writes("a", "a")).await;
    let path = stage.of_card(&card, "move");
    let lanes = ["ready", "review", "done", "in-progress", "blocked", "backlog"];
    let bodies: Vec<_> = lanes.iter().cycle().take(40).map(|lane| json!({ "lane": lane })).collect();
    // Nobody said which version they meant: all are taken, one after the other.
    let moves = join_all(bodies.iter().map(|body| stage.owner.send(Method::POST, &path, &[], Some(body)))).await;
    let mut versions: Vec<_> =
        moves.iter().map(|answer| answer.as_ref().unwrap().body["version"].as_i64().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=41).collect::<Vec<_>>());
    // All mean version 41: one is taken.
    let mean = [("If-Match", "\"41\"")];
    let moves =
        join_all(bodies.iter().take(3).map(|body| stage.owner.send(Method::POST, &path, &mean, Some(body)))).await;
    let mut statuses: Vec<_> = moves.iter().map(|answer| answer.as_ref().unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412]);
}

#[tokio::test]
async fn a_foreign_id_answers_as_an_unknown_one() {
    let installation = Installation::shared().await;
    let (mine, theirs) = (Stage::set(installation).await, Stage::set(installation).await);
    let card = theirs.card("Secret", &writes("a", "a")).await;
    let unknown = "crd_01h455vb4pex5vsknk084sn02q";
    for verb in ["move", "run", "archive", "comments"] {
        let body = match verb {
            "move" => json!({ "lane": "done" }),
            "comments" => json!({ "text": "hello" }),
            _ => json!({}),
        };
        let foreign = mine.owner.send(Method::POST, &theirs.of_card(&card, verb), &[], Some(&body)).await.unwrap();
        let nothing = mine.owner.send(Method::POST, &mine.of_card(unknown, verb), &[], Some(&body)).await.unwrap();
        assert_eq!((foreign.status, &foreign.body["code"]), (404, &json!("not_found")), "{verb}");
        assert_eq!((nothing.status, nothing.body["code"].clone()), (404, foreign.body["code"].clone()), "{verb}");
    }
    for query in [
        "query($id: ID!) { card(id: $id) { title } }",
        "query($id: ID!) { cardHistory(card: $id, first: 10) { edges { cursor } } }",
    ] {
        let foreign = mine.owner.query(query, json!({ "id": card })).await.map_err(|error| error.to_string());
        let nothing = mine.owner.query(query, json!({ "id": unknown })).await.map_err(|error| error.to_string());
        assert_eq!(foreign, nothing, "{query}");
    }
    let foreign =
        mine.owner.query("query($id: ID!) { board(project: $id) { cursor } }", json!({ "id": theirs.project })).await;
    assert!(foreign.map_or(true, |data| data["board"].is_null()));
}

#[tokio::test]
async fn bad_input_is_refused_with_a_named_reason() {
    let stage = Stage::set(Installation::shared().await).await;
    let card = stage.card("Fine", &writes("a", "a")).await;
    let cards = format!("/v1/projects/{}/cards", stage.project);
    let cases: [(&str, Value, u16, &str); 5] = [
        (&cards, json!({ "title": "  " }), 422, "title_empty"),
        (&cards, json!({ "title": "x", "lane": "nowhere" }), 422, "lane_unknown"),
        (&cards, json!({ "title": 7 }), 400, "json_invalid"),
        (&cards, json!({ "title": "x", "colour": "red" }), 400, "json_invalid"),
        (&stage.of_card(&card, "move"), json!({ "lane": "nowhere" }), 422, "lane_unknown"),
    ];
    for (path, body, status, code) in cases {
        assert_eq!(refusal(&stage.owner, Method::POST, path, &body).await, (status, code.into()), "{body}");
    }
    let huge = json!({ "title": "x".repeat(1_000_000) });
    let (status, code) = refusal(&stage.owner, Method::POST, &cards, &huge).await;
    assert!(matches!((status, code.as_str()), (413, "body_too_large") | (422, "title_too_long")), "{status} {code}");
    let missing = stage.owner.with_token("");
    assert_eq!(refusal(&missing, Method::POST, &cards, &json!({ "title": "x" })).await.0, 401);
    let workspace = stage.owner.post("/v1/workspaces", json!({ "name": "W" })).await.unwrap();
    let project = json!({
        "workspace": workspace["id"], "name": "Gone",
        "repository": { "url": format!("{}-gone.git", stage.git.url("work").trim_end_matches(".git")) },
    });
    let (status, code) = refusal(&stage.owner, Method::POST, "/v1/projects", &project).await;
    assert!(
        status == 422 && ["repository_not_found", "repository_unauthorized"].contains(&code.as_str()),
        "{status} {code}"
    );
}

#[tokio::test]
async fn a_subscriber_sees_a_move_and_resumes_where_it_was() {
    let stage = Stage::set(Installation::shared().await).await;
    let card = stage.card("Watched", &writes("a", "a")).await;
    let query = "subscription($project: ID!, $since: Cursor) { boardChanged(project: $project, since: $since) { cursor snapshot { project { id } } cards { id lane } } }";
    let mut frames = stage.owner.subscribe(query, json!({ "project": stage.project })).await.unwrap();
    let first = frames.next().await.unwrap().unwrap();
    assert!(!first["boardChanged"]["snapshot"].is_null(), "{first}");
    stage.owner.post(&stage.of_card(&card, "move"), json!({ "lane": "done" })).await.unwrap();
    let cursor = loop {
        let frame = frames.next().await.unwrap().unwrap()["boardChanged"].clone();
        let seen =
            frame["cards"].as_array().unwrap().iter().any(|seen| seen["id"] == card.as_str() && seen["lane"] == "done");
        if seen {
            break text(&frame, "cursor");
        }
    };
    drop(frames);
    stage.owner.post(&stage.of_card(&card, "move"), json!({ "lane": "ready" })).await.unwrap();
    let mut frames = stage.owner.subscribe(query, json!({ "project": stage.project, "since": cursor })).await.unwrap();
    loop {
        let frame = frames.next().await.unwrap().unwrap()["boardChanged"].clone();
        assert!(frame["snapshot"].is_null(), "a resumed subscription needs no snapshot: {frame}");
        if frame["cards"].as_array().unwrap().iter().any(|seen| seen["lane"] == "ready") {
            break;
        }
    }
}

#[tokio::test]
async fn everything_answers_on_one_address() {
    let installation = Installation::shared().await;
    let client = installation.operator();
    for (path, status) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/openapi.json", 200),
        ("/graphiql", 200),
        ("/v1/nothing", 404),
    ] {
        let answer = client.send(Method::GET, path, &[], None).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
}
