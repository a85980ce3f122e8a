//! What questions are answered with.

use std::time::Duration;

use domain::card::CardCommand;
use query_api::Settings;
use schemas::Cursor;
use serde_json::{Value, json};

use crate::api::Api;
use crate::eventually;
use crate::support::{World, model_call};

fn cursor(world: &World) -> String {
    Cursor { partition: 0, position: world.position }.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_seen_from_every_side() {
    let mut world = World::new(1).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let first = world.card(tenant, project, "First").await;
    let second = world.card(tenant, project, "Second").await;
    let facts = domain::card::DependencyFacts { on_same_board: true, waits_for_this: false };
    world.card_act(tenant, second, CardCommand::AddDependency { on: first, facts }).await;
    let run = world.request_run(tenant, first, provider).await.unwrap();
    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.step(tenant, run, 1, 1).await;
    world.run_act(tenant, run, model_call(1, provider, 5_000_000_000)).await.unwrap();
    world.succeed(tenant, run, 1).await;
    let api = Api::start(&world).await;
    api.caught_up(&world).await;

    let ids = json!({ "project": project, "card": first, "run": run });
    let query = "query Q($project: ID!, $card: ID!, $run: ID!) {
        me { actor role tenant { name suspended } }
        workspaces { name } providers { name kind enabled defaultModel }
        project(id: $project) { id name version workspace { name } repository { url defaultBranch hasCredential }
            lanes { key role runsAllowed } policy { maxSteps allowedTools } }
        projects(first: 1) { nodes { id } pageInfo { hasNextPage } }
        board(project: $project) { lanes { key cards { id title dependsOn { id title } lastRun { result run { state } } } } }
        card(id: $card) { title lane activeRunId activeRun { id } lastRun { commit } project { id } }
        run(id: $run) { state ended attempt modelCalls tokens { input } steps { number title durationMs ok }
            card { id } outcome { commit filesChanged } }
        runs(project: $project) { nodes { id state } }
        usage(from: \"2023-11-01\", to: \"2023-11-30\") { totals { modelCalls tokens { input } runs { succeeded } }
            rows { day model project { id } provider { name } } }
    }";
    let data = api.data(tenant, query, ids.clone()).await;
    assert_eq!(
        data["me"],
        json!({ "actor": "operator:ada", "role": "OWNER", "tenant": { "name": "Acme", "suspended": false } })
    );
    assert_eq!(data["project"]["repository"]["hasCredential"], true);
    assert_eq!(data["project"]["lanes"].as_array().unwrap().len(), 6);
    assert_eq!(data["projects"]["nodes"], json!([{ "id": project }]));
    let lanes = data["board"]["lanes"].as_array().unwrap();
    let titles = |key: &str| {
        let lane = lanes.iter().find(|lane| lane["key"] == key).unwrap();
        lane["cards"].as_array().unwrap().iter().map(|card| card["title"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((titles("review"), titles("backlog")), (vec![json!("First")], vec![json!("Second")]));
    let waiting = &lanes[0]["cards"][0];
    assert_eq!(waiting["dependsOn"], json!([{ "id": first, "title": "First" }]));
    assert_eq!(data["card"]["lastRun"]["commit"], "c".repeat(40));
    assert_eq!(data["run"]["state"], "SUCCEEDED");
    assert_eq!(data["run"]["tokens"]["input"], "5000000000");
    assert_eq!(
        data["run"]["steps"][0],
        json!({ "number": 1, "title": "run_command: step 1", "durationMs": "10", "ok": true })
    );
    assert_eq!(data["runs"]["nodes"], json!([{ "id": run, "state": "SUCCEEDED" }]));
    assert_eq!(
        data["usage"]["totals"],
        json!({ "modelCalls": "1", "tokens": { "input": "5000000000" }, "runs": { "succeeded": "1" } })
    );

    // The whole history in pages, forward and backward.
    let page = "query Q($card: ID!, $first: Int, $after: String, $last: Int, $before: String) {
        cardHistory(card: $card, first: $first, after: $after, last: $last, before: $before) {
            edges { cursor node { kind summary actor payload run } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let whole = api.data(tenant, page, json!({ "card": first, "first": 200 })).await;
    let whole: Vec<Value> = whole["cardHistory"]["edges"].as_array().unwrap().clone();
    assert!(whole.len() > 10);
    assert!(whole.iter().all(|edge| !edge.to_string().contains("vault:")));
    let (mut forward, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = api.data(tenant, page, json!({ "card": first, "first": 4, "after": after })).await;
        forward.extend(data["cardHistory"]["edges"].as_array().unwrap().clone());
        after = data["cardHistory"]["pageInfo"]["endCursor"].clone();
        if data["cardHistory"]["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(forward, whole);
    let (mut backward, mut before) = (Vec::new(), Value::Null);
    loop {
        let data = api.data(tenant, page, json!({ "card": first, "last": 3, "before": before })).await;
        let edges = data["cardHistory"]["edges"].as_array().unwrap().clone();
        backward = [edges, backward].concat();
        before = data["cardHistory"]["pageInfo"]["startCursor"].clone();
        if data["cardHistory"]["pageInfo"]["hasPreviousPage"] == false {
            break;
        }
    }
    assert_eq!(backward, whole);
    let both = "query Q($card: ID!) { cardHistory(card: $card, first: 1, last: 1) { nodes { id } } }";
    assert_eq!(api.code(tenant, both, json!({ "card": first })).await, "page_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_names_a_commands_cursor_is_answered_with_that_command_in_it() {
    let mut world = World::new(2).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let api = Api::start(&world).await;
    let query = "query Q($id: ID!, $at: Cursor) { card(id: $id, waitFor: $at) { lane }
        cardHistory(card: $id, last: 1, waitFor: $at) { nodes { summary } } }";
    for lane in ["ready", "review", "backlog", "done", "ready"] {
        world.move_card(tenant, card, lane).await;
        let data = api.data(tenant, query, json!({ "id": card, "at": cursor(&world) })).await;
        assert_eq!(data["card"]["lane"], lane);
        let summary = data["cardHistory"]["nodes"][0]["summary"].as_str().unwrap();
        assert!(summary.ends_with(&format!("to `{lane}`")), "{summary}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_become_visible_in_time_is_an_error_that_says_how_far_it_got() {
    let mut world = World::new(3).await;
    let tenant = world.tenant().await;
    let api =
        Api::with(&world, Settings { wait: Duration::from_millis(100), graphiql: false, ..Settings::default() }).await;
    api.caught_up(&world).await;
    let ahead = Cursor { partition: 0, position: world.position + 1 }.to_string();
    let answer = api.ask(tenant, "query Q($at: Cursor) { me(waitFor: $at) { actor } }", json!({ "at": ahead })).await;
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(extensions, &json!({ "code": "not_yet_visible", "reached": cursor(&world) }));
    let page = axum::http::Request::get("/graphiql").body(axum::body::Body::empty()).unwrap();
    assert_eq!(api.send(page).await.status, 404);
}

/// An event that no model can read parks its tenant; the models themselves are further by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_tenant_is_not_told_that_its_rows_are_further_than_they_are() {
    let mut world = World::new(6).await;
    let (ill, healthy) = (world.tenant().await, world.tenant().await);
    let api =
        Api::with(&world, Settings { wait: Duration::from_millis(300), graphiql: false, ..Settings::default() }).await;
    let project = world.project(ill).await;
    let before = cursor(&world);
    world.nonsense(ill).await;
    let bad = cursor(&world);
    world.project(healthy).await;
    api.caught_up(&world).await;
    let query = "query Q($at: Cursor) { projects(first: 9, waitFor: $at) { nodes { id } } }";
    let after = cursor(&world);
    assert_eq!(
        api.data(healthy, query, json!({ "at": after })).await["projects"]["nodes"].as_array().unwrap().len(),
        1
    );
    // What came before can be read, what was left out is not claimed.
    assert_eq!(api.data(ill, query, json!({ "at": before })).await["projects"]["nodes"], json!([{ "id": project }]));
    for at in [bad, after] {
        let answer = api.ask(ill, query, json!({ "at": at })).await;
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions, &json!({ "code": "not_yet_visible", "reached": before }));
    }
}

/// A connection that were given back inside of a transaction would show its next user the past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_leaves_no_transaction_behind() {
    const OPEN: &str = "SELECT count(*) FROM pg_stat_activity \
        WHERE application_name = 'agentworks_app' AND datname = current_database() AND state LIKE 'idle in transaction%'";
    let mut world = World::new(4).await;
    let tenant = world.tenant().await;
    let api = std::sync::Arc::new(Api::start(&world).await);
    let admin = sqlx::PgPool::connect(&world.database.url).await.unwrap();
    for i in 0..150_u64 {
        let asking = api.clone();
        let asked = tokio::spawn(async move { asking.data(tenant, "{ me { actor } }", Value::Null).await });
        // Goes away at any moment of the request.
        tokio::time::sleep(Duration::from_micros(i % 50 * 100)).await;
        asked.abort();
        drop(asked.await);
        // Nobody else reads meanwhile, so one that is left would stay.
        let admin = &admin;
        eventually("no transaction is left", || async move {
            let open: i64 = sqlx::query_scalar(OPEN).fetch_one(admin).await.unwrap();
            open == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_run_says_why_it_waits() {
    let mut world = World::new(1).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    let api = Api::start(&world).await;
    api.caught_up(&world).await;
    let query = "query Q($run: ID!) { run(id: $run) { waiting { reason ahead until limit underWay } } }";
    let data = api.data(tenant, query, json!({ "run": run })).await;
    assert_eq!(data["run"]["waiting"], Value::Null, "the queue does not know it yet");
    sqlx::query("SELECT work.enqueue($1, $2, $1, $1, $1, NULL)")
        .bind(tenant.uuid())
        .bind(run.uuid())
        .execute(world.log.worker_pool())
        .await
        .unwrap();
    let data = api.data(tenant, query, json!({ "run": run })).await;
    let expected = json!({ "reason": "NO_WORKER", "ahead": 0, "until": null, "limit": 10, "underWay": 0 });
    assert_eq!(data["run"]["waiting"], expected);
    world.begin(tenant, run, 1).await;
    api.caught_up(&world).await;
    let data = api.data(tenant, query, json!({ "run": run })).await;
    assert_eq!(data["run"]["waiting"], Value::Null, "it is under way");
}
