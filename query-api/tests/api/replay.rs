//! Auditors' reads: a card's history from the log itself.

use axum::body::Body;
use axum::http::Request;
use domain::TenantId;
use schemas::Cursor;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::api::{Answer, Api};
use crate::support::World;

async fn get(api: &Api, tenant: TenantId, path: &str) -> Answer {
    let request = Request::get(path).header("authorization", format!("Bearer {}", api.owner(tenant)));
    api.send(request.body(Body::empty()).unwrap()).await
}

fn cursor(position: i64) -> String {
    Cursor { partition: 0, position }.to_string()
}

/// A card that was run once, and another tenant's card before, between and after.
async fn one_run() -> (World, TenantId, domain::CardId, Vec<schemas::Recorded>) {
    let mut world = World::new(31).await;
    let other = world.tenant().await;
    let others = world.project(other).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let beside = world.card(tenant, project, "Beside").await;
    let card = world.card(tenant, project, "First").await;
    world.card(other, others, "Foreign").await;
    world.move_card(tenant, card, "ready").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.move_card(tenant, beside, "ready").await;
    world.step(tenant, run, 1, 1).await;
    world.succeed(tenant, run, 1).await;
    let all = world.log.read_tenant(tenant, 0, 1_000).await.unwrap();
    let beside = beside.uuid();
    let concerns = |event: &schemas::Recorded| {
        ["card", "run", "environment"].contains(&event.aggregate_type.as_str()) && event.stream != beside
    };
    let events = all.into_iter().filter(concerns).collect();
    (world, tenant, card, events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_replayed_with_actor_cause_state_and_evidence() {
    let (world, tenant, card, events) = one_run().await;
    let api = Api::start(&world).await;
    let answer = get(&api, tenant, &format!("/v1/cards/{card}/replay")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let steps = answer.body["steps"].as_array().unwrap();
    assert_eq!(answer.body["next"], Value::Null);
    assert_eq!(answer.body["as_of"], cursor(world.position));
    assert_eq!(steps.len(), events.len());
    for (step, event) in steps.iter().zip(&events) {
        assert_eq!(step["cursor"], cursor(event.position));
        assert_eq!((&step["event"], &step["type"]), (&json!(event.id), &json!(event.event_type)));
        assert_eq!(step["actor"], event.metadata.actor.to_string());
        assert_eq!(step["cause"]["command"], json!(event.metadata.command));
        assert_eq!(step["cause"]["correlation"], json!(event.metadata.correlation));
        assert_eq!(step["cause"]["causation"], json!(event.metadata.causation));
        assert_eq!(
            step["payload"].to_string(),
            serde_json::from_str::<Value>(event.payload.get()).unwrap().to_string()
        );
        assert_eq!(step["evidence"]["digest"], event.digest.to_string());
        assert_eq!(step["evidence"]["chain"], event.chain.to_string());
    }
    // What the card was after each of its own events; the others did not change it.
    let lanes: Vec<_> = steps.iter().filter_map(|step| step["card"]["lane"].as_str()).collect();
    assert_eq!(lanes, ["backlog", "ready", "ready", "in-progress", "in-progress", "review"]);
    for step in steps {
        assert_eq!(step.get("card").is_some(), step["aggregate"] == "card", "{step}");
    }

    // The same by GraphQL.
    let query = "query Q($card: ID!) { cardReplay(card: $card, first: 200) { edges { cursor node {
        event kind eventVersion aggregate subject version actor cause { command correlation causation traceparent }
        occurredAt recordedAt payload card { title lane archived activeRun } evidence { digest chain } } } } }";
    let data = api.data(tenant, query, json!({ "card": card })).await;
    let edges = data["cardReplay"]["edges"].as_array().unwrap();
    assert_eq!(edges.len(), steps.len());
    for (edge, step) in edges.iter().zip(steps) {
        assert_eq!(edge["cursor"], step["cursor"]);
        assert_eq!(edge["node"]["event"], step["event"]);
        assert_eq!(edge["node"]["evidence"]["chain"], step["evidence"]["chain"]);
        assert_eq!(edge["node"]["card"]["lane"], step["card"]["lane"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_as_of_a_moment_ends_there_and_pages_follow_on_each_other() {
    let (world, tenant, card, events) = one_run().await;
    let api = Api::start(&world).await;
    let path = format!("/v1/cards/{card}/replay");
    let positions = |body: &Value| -> Vec<String> {
        body["steps"].as_array().unwrap().iter().map(|step| step["cursor"].as_str().unwrap().to_owned()).collect()
    };
    for event in &events {
        let place = event.position;
        let time = event.recorded_at;
        let upto = |holds: &dyn Fn(&schemas::Recorded) -> bool| -> Vec<_> {
            events.iter().filter(|event| holds(event)).map(|event| cursor(event.position)).collect()
        };
        let by_place = upto(&|event| event.position <= place);
        // What was recorded together is there together.
        let by_time = upto(&|event| event.recorded_at <= time);
        let moments =
            [(cursor(place), &by_place), (place.to_string(), &by_place), (time.format(&Rfc3339).unwrap(), &by_time)];
        for (as_of, wanted) in moments {
            let body = get(&api, tenant, &format!("{path}?asOf={as_of}")).await.body;
            assert_eq!(&positions(&body), wanted, "as of {as_of}");
        }
    }
    let before = events[0].position - 1;
    assert_eq!(get(&api, tenant, &format!("{path}?asOf={before}")).await.status, 404, "it did not exist yet");

    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let body = get(&api, tenant, &format!("{path}?limit=3{after}")).await.body;
        assert!(positions(&body).len() <= 3);
        seen.extend(positions(&body));
        let Some(next) = body["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, events.iter().map(|event| cursor(event.position)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_makes_no_sense_or_is_somebody_elses_is_refused() {
    let (mut world, tenant, card, _) = one_run().await;
    let stranger = world.tenant().await;
    let api = Api::start(&world).await;
    let path = format!("/v1/cards/{card}/replay");
    for (tenant, path, status, code) in [
        (stranger, path.clone(), 404, "not_found"),
        (tenant, "/v1/cards/crd_00000000000000000000000000/replay".to_owned(), 404, "not_found"),
        (tenant, "/v1/cards/nonsense/replay".to_owned(), 404, "not_found"),
        (tenant, format!("{path}?asOf=yesterday"), 400, "as_of_invalid"),
        (tenant, format!("{path}?asOf={}", world.position + 1), 400, "as_of_invalid"),
        (tenant, format!("{path}?after=5"), 400, "cursor_invalid"),
        (tenant, format!("{path}?after=p7z5"), 400, "cursor_invalid"),
        (tenant, format!("{path}?limit=0"), 400, "limit_invalid"),
        (tenant, format!("{path}?limit=1001"), 400, "limit_invalid"),
        (tenant, format!("{path}?as_of=1"), 400, "parameter_invalid"),
    ] {
        let answer = get(&api, tenant, &path).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{path}: {}", answer.body);
    }
    let request = Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(api.send(request).await.status, 401);
    let query = "query Q($card: ID!) { cardReplay(card: $card) { edges { cursor } } }";
    assert_eq!(api.data(stranger, query, json!({ "card": card })).await["cardReplay"], Value::Null);
    let both = "query Q($card: ID!) { cardReplay(card: $card, asOf: \"p0z1\", at: \"2026-01-01T00:00:00Z\") { edges { cursor } } }";
    assert_eq!(api.code(tenant, both, json!({ "card": card })).await, "as_of_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_as_of_a_moment_is_the_board_that_was_shown_then() {
    let mut world = World::new(32).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let api = Api::start(&world).await;
    let now = "query Q($project: ID!, $at: Cursor) { board(project: $project, waitFor: $at) {
        cursor project { name } lanes { key cards { id title lane rank version updatedAt blockedReason } } } }";
    let mut shown = Vec::new();
    let mut cards = Vec::new();
    for turn in 0..12 {
        match turn % 4 {
            0 => cards.push(world.card(tenant, project, &format!("Card {turn}")).await),
            1 => world.move_card(tenant, cards[turn % cards.len()], "ready").await,
            2 => world.move_card(tenant, cards[turn % cards.len()], "review").await,
            _ => world.rename_project(tenant, project, &format!("Name {turn}")).await,
        }
        let at = cursor(world.position);
        let board = api.data(tenant, now, json!({ "project": project, "at": at })).await["board"].clone();
        assert_eq!(board["cursor"], at);
        shown.push(board);
    }
    let then = now.replace("waitFor", "asOf");
    for board in &shown {
        let again = api.data(tenant, &then, json!({ "project": project, "at": board["cursor"] })).await;
        assert_eq!(&again["board"], board);
    }
    let other = world.tenant().await;
    let foreign = api.data(other, &then, json!({ "project": project, "at": shown[3]["cursor"] })).await;
    assert_eq!(foreign["board"], Value::Null);
    let before = api.data(tenant, &then, json!({ "project": project, "at": cursor(1) })).await;
    assert_eq!(before["board"], Value::Null, "there was no such project yet");
}
