//! Following things over real sockets.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use domain::card::CardCommand;
use domain::{CardId, ProjectId, TenantId};
use outbox::Bus;
use query_api::Settings;
use serde_json::{Value, json};

use crate::api::{Api, Socket};
use crate::nats::Nats;
use crate::support::World;

const BOARD: &str = "subscription B($id: ID!, $since: Cursor, $at: Cursor) {
    boardChanged(project: $id, since: $since, waitFor: $at) {
        cursor cards { id title lane version } removed project { name }
        snapshot { cursor lanes { key cards { id title } } } } }";
const RUN: &str = "subscription R($id: ID!, $since: Cursor) {
    runProgress(run: $id, since: $since) { cursor ended run { id state attempt } newSteps { attempt number } } }";

struct Stage {
    world: World,
    api: Api,
    tenant: TenantId,
    project: ProjectId,
    card: CardId,
}

async fn stage(seed: u64) -> Stage {
    stage_on(seed, None).await
}

async fn stage_on(seed: u64, bus: Option<Bus>) -> Stage {
    let mut world = World::new(seed).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let api = Api::on(&world, Settings::default(), bus).await;
    api.caught_up(&world).await;
    Stage { world, api, tenant, project, card }
}

async fn watch(socket: &mut Socket, id: &str, project: ProjectId, since: Value) -> Value {
    socket.subscribe(id, BOARD, json!({ "id": project, "since": since })).await;
    socket.frame().await
}

/// Frames until one has the cursor; all that they hold, in order.
async fn until(socket: &mut Socket, position: i64) -> (Vec<Value>, Value) {
    let wanted = schemas::Cursor { partition: 0, position };
    let mut frames = Vec::new();
    loop {
        let frame = socket.frame().await;
        let cursor: schemas::Cursor = frame["cursor"].as_str().unwrap().parse().unwrap();
        frames.push(frame.clone());
        if cursor >= wanted {
            return (frames, json!(cursor));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_comes_whole_and_then_as_it_changes() {
    let Stage { mut world, api, tenant, project, card } = stage(1).await;
    let mut socket = api.open(tenant).await;
    let first = watch(&mut socket, "1", project, Value::Null).await;
    assert_eq!(first["snapshot"]["lanes"][0]["cards"], json!([{ "id": card, "title": "First" }]));
    assert_eq!(first["snapshot"]["cursor"], first["cursor"]);

    world.move_card(tenant, card, "ready").await;
    let (frames, _) = until(&mut socket, world.position).await;
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0]["cards"], json!([{ "id": card, "title": "First", "lane": "ready", "version": 2 }]));
    assert_eq!((&frames[0]["snapshot"], &frames[0]["project"]), (&Value::Null, &Value::Null));

    world.rename_project(tenant, project, "Another name").await;
    let (frames, _) = until(&mut socket, world.position).await;
    assert_eq!(frames[0]["project"]["name"], "Another name");

    world.card_act(tenant, card, CardCommand::Archive).await;
    let (frames, _) = until(&mut socket, world.position).await;
    assert_eq!((&frames[0]["removed"], &frames[0]["cards"]), (&json!([card]), &json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_with_a_cursor_gets_exactly_what_was_missed() {
    let Stage { mut world, api, tenant, project, card } = stage(2).await;
    let quiet = world.card(tenant, project, "Quiet").await;
    api.caught_up(&world).await;
    let mut socket = api.open(tenant).await;
    let cursor = watch(&mut socket, "1", project, Value::Null).await["cursor"].clone();
    drop(socket);

    world.move_card(tenant, card, "ready").await;
    let added = world.card(tenant, project, "Added").await;
    let gone = world.card(tenant, project, "Gone").await;
    world.card_act(tenant, gone, CardCommand::Archive).await;
    api.caught_up(&world).await;
    let mut socket = api.open(tenant).await;
    let frame = watch(&mut socket, "1", project, cursor.clone()).await;
    let ids: Vec<&Value> = frame["cards"].as_array().unwrap().iter().map(|card| &card["id"]).collect();
    assert_eq!(ids, [&json!(card), &json!(added)]);
    assert_eq!((&frame["removed"], &frame["snapshot"]), (&json!([gone]), &Value::Null));
    // Again with the new cursor: nothing was missed.
    let again = watch(&mut socket, "2", project, frame["cursor"].clone()).await;
    assert_eq!((&again["cards"], &again["removed"], &again["cursor"]), (&json!([]), &json!([]), &frame["cursor"]));
    // What happens now comes to both.
    world.move_card(tenant, quiet, "ready").await;
    for _ in 0..2 {
        assert_eq!(socket.frame().await["cards"][0]["id"], json!(quiet));
    }
    // Of another part of the log, and from ahead of it.
    for (id, since) in [("3", "p7z1"), ("4", "p0zzzzzz")] {
        socket.subscribe(id, BOARD, json!({ "id": project, "since": since })).await;
        assert_eq!(socket.hear().await["payload"]["errors"][0]["extensions"]["code"], "cursor_invalid");
        assert_eq!(socket.hear().await["type"], "complete");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_puts_the_frames_together_has_the_board() {
    put_together(stage(3).await).await;
}

/// The same when each page tells over the bus what it touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_puts_the_frames_together_has_the_board_over_the_bus() {
    let nats = Nats::start().await;
    put_together(stage_on(6, Some(nats.bus().await)).await).await;
}

/// Many watch while much changes, some of them coming back again and again: what each has put together from its frames
/// equals the board.
async fn put_together(Stage { mut world, api, tenant, project, .. }: Stage) {
    let (done, _) = tokio::sync::watch::channel(0_i64);
    let mut watchers = Vec::new();
    for number in 0..10 {
        let (mut socket, mut end) = (api.open(tenant).await, done.subscribe());
        watchers.push(tokio::spawn(async move {
            let mut board = std::collections::BTreeMap::new();
            let mut frame = watch(&mut socket, "0", project, Value::Null).await;
            for card in
                frame["snapshot"]["lanes"].as_array().unwrap().iter().flat_map(|lane| lane["cards"].as_array().unwrap())
            {
                board.insert(card["id"].to_string(), 1_i64);
            }
            for round in 1.. {
                let cursor: schemas::Cursor = frame["cursor"].as_str().unwrap().parse().unwrap();
                let last = *end.borrow_and_update();
                if last > 0 && cursor.position >= last {
                    break;
                }
                // Every third watcher leaves after each frame and comes back.
                frame = if number % 3 == 0 {
                    socket.say(json!({ "type": "complete", "id": (round - 1).to_string() })).await;
                    let id = round.to_string();
                    socket.subscribe(&id, BOARD, json!({ "id": project, "since": frame["cursor"] })).await;
                    // What was on its way when it left is not counted: it comes again, as it stands after the cursor.
                    loop {
                        let message = socket.hear().await;
                        if message["id"] == id.as_str() {
                            break message["payload"]["data"]["boardChanged"].clone();
                        }
                    }
                } else {
                    tokio::select! {
                        frame = socket.frame() => frame,
                        _ = end.changed() => continue,
                    }
                };
                for card in frame["cards"].as_array().unwrap() {
                    let known = board.insert(card["id"].to_string(), card["version"].as_i64().unwrap());
                    assert!(known < card["version"].as_i64(), "the same twice");
                }
                for card in frame["removed"].as_array().unwrap() {
                    board.remove(&card.to_string());
                }
            }
            board
        }));
    }
    let mut cards = vec![];
    for i in 0..60 {
        match i % 4 {
            0 => cards.push(world.card(tenant, project, &format!("Card {i}")).await),
            3 if i % 8 == 7 => {
                world.card_act(tenant, cards.remove(0), CardCommand::Archive).await;
            }
            _ => world.move_card(tenant, cards[i % cards.len()], if i % 2 == 0 { "ready" } else { "review" }).await,
        }
    }
    // One more change of the board, so that every watcher hears of the end.
    world.rename_project(tenant, project, "The end").await;
    done.send_replace(world.position);
    api.caught_up(&world).await;
    let query = "query Q($id: ID!) { board(project: $id) { lanes { cards { id version } } } }";
    let data = api.data(tenant, query, json!({ "id": project })).await;
    let lanes = data["board"]["lanes"].as_array().unwrap().clone();
    let truth: std::collections::BTreeMap<String, i64> = lanes
        .iter()
        .flat_map(|lane| lane["cards"].as_array().unwrap())
        .map(|card| (card["id"].to_string(), card["version"].as_i64().unwrap()))
        .collect();
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), truth);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_followed_to_its_end() {
    let Stage { mut world, api, tenant, card, .. } = stage(4).await;
    let provider = world.provider(tenant).await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    api.caught_up(&world).await;
    let mut socket = api.open(tenant).await;
    socket.subscribe("1", RUN, json!({ "id": run })).await;
    let first = socket.frame().await;
    assert_eq!(first["run"], json!({ "id": run, "state": "QUEUED", "attempt": 0 }));

    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.step(tenant, run, 1, 1).await;
    let (frames, middle) = until(&mut socket, world.position).await;
    assert_eq!(frames.last().unwrap()["run"]["state"], "RUNNING");
    world.step(tenant, run, 1, 2).await;
    world.succeed(tenant, run, 1).await;
    let mut steps: Vec<Value> = frames.iter().flat_map(|frame| frame["newSteps"].as_array().unwrap().clone()).collect();
    loop {
        let frame = socket.frame().await;
        steps.extend(frame["newSteps"].as_array().unwrap().clone());
        if frame["ended"] == true {
            assert_eq!(frame["run"]["state"], "SUCCEEDED");
            break;
        }
    }
    assert_eq!(socket.hear().await, json!({ "type": "complete", "id": "1" }));
    assert_eq!(steps, [json!({ "attempt": 1, "number": 1 }), json!({ "attempt": 1, "number": 2 })]);
    // Whoever comes back later gets the rest in one frame, and the end.
    socket.subscribe("2", RUN, json!({ "id": run, "since": middle })).await;
    let rest = socket.frame().await;
    assert_eq!((&rest["newSteps"], &rest["ended"]), (&json!([{ "attempt": 1, "number": 2 }]), &json!(true)));
    assert_eq!(socket.hear().await["type"], "complete");
}

/// Several read models tell of a card, and one may be ahead of another: whatever happened is there in the end, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_followed_with_its_history() {
    const CARD: &str = "subscription C($id: ID!, $since: Cursor) {
        cardChanged(card: $id, since: $since) { cursor whole resync card { lane version } entries { id kind } } }";
    let Stage { mut world, api, tenant, card, .. } = stage(8).await;
    let provider = world.provider(tenant).await;
    let mut socket = api.open(tenant).await;
    socket.subscribe("1", CARD, json!({ "id": card })).await;
    let first = socket.frame().await;
    assert_eq!(first["entries"], json!([{ "id": first["entries"][0]["id"], "kind": "CardCreated" }]));
    assert_eq!((&first["card"]["version"], &first["whole"], &first["resync"]), (&json!(1), &json!(true), &Value::Null));

    world.move_card(tenant, card, "ready").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.step(tenant, run, 1, 1).await;
    let (frames, _) = until(&mut socket, world.position).await;
    let entries: Vec<&Value> = frames.iter().flat_map(|frame| frame["entries"].as_array().unwrap()).collect();
    let kinds: Vec<&Value> = entries.iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(
        (kinds[0], kinds[1], kinds.last().unwrap()),
        (&json!("CardMoved"), &json!("CardRunRequested"), &&json!("RunStepRecorded"))
    );
    let once: std::collections::BTreeSet<String> = entries.iter().map(|entry| entry["id"].to_string()).collect();
    assert_eq!(once.len(), entries.len());
    assert_eq!(frames.last().unwrap()["card"]["lane"], "in-progress");
    // Whoever comes back gets the same.
    socket.subscribe("2", CARD, json!({ "id": card, "since": first["cursor"] })).await;
    let again = socket.frame().await;
    assert_eq!(again["entries"].as_array().unwrap().iter().collect::<Vec<_>>(), entries);
    // Another tenant's card looks like none.
    let other = world.tenant().await;
    api.caught_up(&world).await;
    let mut socket = api.open(other).await;
    for (id, card) in [("1", json!(card)), ("2", json!("nonsense"))] {
        socket.subscribe(id, CARD, json!({ "id": card })).await;
        assert_eq!(socket.hear().await["payload"]["errors"][0]["extensions"]["code"], "not_found");
        assert_eq!(socket.hear().await["type"], "complete");
    }
}

/// More has happened since the cursor than the whole holds: it is told anew, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_too_long_begins_anew() {
    const CARD: &str = "subscription C($id: ID!, $since: Cursor) {
        cardChanged(card: $id, since: $since) { cursor whole resync entries { kind } } }";
    const RESYNC: &str = "subscription B($id: ID!, $since: Cursor) {
        boardChanged(project: $id, since: $since) { resync cards { id } snapshot { lanes { cards { id } } } } }";
    let Stage { mut world, api, tenant, project, card } = stage(13).await;
    let since = watch(&mut api.open(tenant).await, "1", project, Value::Null).await["cursor"].clone();
    let lanes = ["ready", "review"];
    for number in 0..201 {
        world.move_card(tenant, card, lanes[number % 2]).await;
    }
    for number in 0..499 {
        world.card(tenant, project, &format!("Card {number}")).await;
    }
    api.caught_up(&world).await;
    let mut socket = api.open(tenant).await;
    socket.subscribe("1", CARD, json!({ "id": card, "since": since })).await;
    let frame = socket.frame().await;
    assert_eq!((&frame["whole"], &frame["resync"]), (&json!(true), &json!("CURSOR_TOO_OLD")));
    assert_eq!(frame["entries"].as_array().unwrap().len(), 200);
    // 500 cards have changed, which a frame still holds; with one more it is the board.
    let ask = json!({ "id": project, "since": since });
    socket.subscribe("2", RESYNC, ask.clone()).await;
    let frame = socket.frame().await;
    assert_eq!((&frame["resync"], &frame["snapshot"]), (&Value::Null, &Value::Null));
    assert_eq!(frame["cards"].as_array().unwrap().len(), 500);
    world.card(tenant, project, "One more").await;
    api.caught_up(&world).await;
    let mut socket = api.open(tenant).await;
    socket.subscribe("3", RESYNC, ask).await;
    let frame = socket.frame().await;
    assert_eq!((&frame["resync"], &frame["cards"]), (&json!("CURSOR_TOO_OLD"), &json!([])));
    let cards = |lane: &Value| lane["cards"].as_array().unwrap().len();
    assert_eq!(frame["snapshot"]["lanes"].as_array().unwrap().iter().map(cards).sum::<usize>(), 501);
    // It goes on from there.
    world.move_card(tenant, card, "done").await;
    assert_eq!(socket.frame().await["cards"], json!([{ "id": card }]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_agents_write_and_what_it_costs_are_followed() {
    let Stage { mut world, api, tenant, project, card } = stage(9).await;
    let provider = world.provider(tenant).await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    api.caught_up(&world).await;
    let (mut log, mut costs) = (api.open(tenant).await, api.open(tenant).await);
    let query = "subscription L($id: ID!) { runLog(run: $id) { cursor ended lines { attempt step text } } }";
    log.subscribe("1", query, json!({ "id": run })).await;
    assert_eq!(log.frame().await["lines"], json!([]));
    let query = "subscription U($id: ID) { usageChanged(project: $id, from: \"2023-11-01\", to: \"2023-12-31\") { cursor usage { totals { runs { succeeded } } } } }";
    costs.subscribe("1", query, json!({ "id": project })).await;
    assert_eq!(costs.frame().await["usage"]["totals"]["runs"]["succeeded"], "0");

    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.step(tenant, run, 1, 1).await;
    world.succeed(tenant, run, 1).await;
    let mut lines = vec![];
    loop {
        let frame = log.frame().await;
        lines.extend(frame["lines"].as_array().unwrap().clone());
        if frame["ended"] == true {
            break;
        }
    }
    assert_eq!(log.hear().await, json!({ "type": "complete", "id": "1" }));
    assert_eq!((&lines[0]["attempt"], &lines[0]["step"]), (&json!(1), &json!(1)));
    assert!(!lines[0]["text"].as_str().unwrap().is_empty());
    while costs.frame().await["usage"]["totals"]["runs"]["succeeded"] != "1" {}
    costs.subscribe("2", "subscription { usageChanged(from: \"2023-11-01\") { cursor } }", Value::Null).await;
    assert_eq!(costs.hear().await["payload"]["errors"][0]["extensions"]["code"], "range_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environments_are_followed_as_they_come_and_go() {
    const ENVIRONMENTS: &str = "subscription E($id: ID!, $since: Cursor) {
        environmentChanged(project: $id, since: $since) { cursor whole resync environments { id state } } }";
    let Stage { mut world, api, tenant, project, card } = stage(12).await;
    let provider = world.provider(tenant).await;
    let mut socket = api.open(tenant).await;
    socket.subscribe("1", ENVIRONMENTS, json!({ "id": project })).await;
    let first = socket.frame().await;
    assert_eq!((&first["whole"], &first["environments"]), (&json!(true), &json!([])));
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    let environment = world.begin(tenant, run, 1).await;
    let frame = socket.frame().await;
    assert_eq!(frame["environments"], json!([{ "id": environment, "state": "REQUESTED" }]));
    assert_eq!((&frame["whole"], &frame["resync"]), (&json!(false), &Value::Null));
    // Whoever comes back is told what changed since, whoever is new what there is.
    for (id, since) in [("2", first["cursor"].clone()), ("3", Value::Null)] {
        socket.subscribe(id, ENVIRONMENTS, json!({ "id": project, "since": since })).await;
        assert_eq!(socket.frame().await["environments"], frame["environments"], "{since}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_itself_is_followed_and_what_people_want_to_be_told() {
    const EVENTS: &str = "subscription E($since: Cursor, $types: [String!]) {
        events(since: $since, types: $types) { cursor events { cursor kind subject } } }";
    const NEWS: &str = "subscription { notifications { cursor notifications { kind card { id } run { id } } } }";
    let Stage { mut world, api, tenant, card, .. } = stage(11).await;
    let (provider, other) = (world.provider(tenant).await, world.tenant().await);
    let (mut log, mut news, mut foreign) = (api.open(tenant).await, api.open(tenant).await, api.open(other).await);
    log.subscribe("1", EVENTS, Value::Null).await;
    assert_eq!(log.frame().await["events"], json!([]));
    let (frames, middle) = until(&mut log, world.position - 1).await;
    assert_eq!(frames[0]["events"][0]["kind"], "TenantCreated");
    assert_eq!(frames[0]["events"][0]["subject"], json!(tenant));
    for socket in [&mut news, &mut foreign] {
        socket.subscribe("1", NEWS, Value::Null).await;
        assert_eq!(socket.frame().await["notifications"], json!([]));
    }

    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.succeed(tenant, run, 1).await;
    api.caught_up(&world).await;
    let told = news.frame().await;
    assert_eq!(
        told["notifications"],
        json!([{ "kind": "RUN_SUCCEEDED", "card": { "id": card }, "run": { "id": run } }])
    );
    let (frames, _) = until(&mut log, world.position).await;
    let kinds = |frames: &[Value]| -> Vec<String> {
        let events = frames.iter().flat_map(|frame| frame["events"].as_array().unwrap().clone());
        events.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    };
    // From a cursor, and only some of it.
    log.subscribe("2", EVENTS, json!({ "since": middle, "types": ["RunSucceeded", "CardRunRequested"] })).await;
    let mut some = vec![];
    while some.len() < 2 {
        let message = log.hear().await;
        if message["id"] == "2" {
            some.push(message["payload"]["data"]["events"].clone());
            some.retain(|frame| frame["events"] != json!([]));
        }
        if kinds(&some).len() == 2 {
            break;
        }
    }
    assert_eq!(kinds(&some), ["CardRunRequested", "RunSucceeded"]);
    assert!(kinds(&frames).contains(&"RunSucceeded".to_owned()));
    log.subscribe("3", EVENTS, json!({ "types": ["Nonsense"] })).await;
    assert_eq!(log.hear().await["payload"]["errors"][0]["extensions"]["code"], "types_unknown");
    // Another tenant was told nothing of it: what it hears next is its own.
    foreign.say(json!({ "type": "ping" })).await;
    assert_eq!(foreign.hear().await["type"], "pong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_more_subscriptions_than_they_may() {
    let mut world = World::new(10).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let api = Api::with(&world, Settings { subscriptions_per_user: 2, ..Settings::default() }).await;
    api.caught_up(&world).await;
    let [mut one, mut two] = [api.open(tenant).await, api.open(tenant).await];
    watch(&mut one, "1", project, Value::Null).await;
    watch(&mut two, "1", project, Value::Null).await;
    two.subscribe("2", BOARD, json!({ "id": project })).await;
    assert_eq!(two.hear().await["payload"]["errors"][0]["extensions"]["code"], "too_many_subscriptions");
    assert_eq!(two.hear().await["type"], "complete");
    // Questions that nobody has an answer to yet are operations, too.
    let ahead = schemas::Cursor { partition: 0, position: world.position + 1 };
    let waits = format!("{{ me(waitFor: \"{ahead}\") {{ actor }} }}");
    let mut greedy = api.open(tenant).await;
    for number in 0..=250 {
        greedy.subscribe(&number.to_string(), &waits, Value::Null).await;
    }
    let refused = greedy.hear().await;
    assert_eq!((&refused["id"], &refused["type"]), (&json!("250"), &json!("error")));
    assert_eq!(refused["payload"][0]["extensions"]["code"], "too_many_operations");
    drop(greedy);
    // Whoever ends one may begin another.
    one.say(json!({ "type": "complete", "id": "1" })).await;
    one.say(json!({ "type": "ping" })).await;
    assert_eq!(one.hear().await["type"], "pong");
    watch(&mut two, "3", project, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_wants_a_token_that_holds_and_ends_with_it() {
    let Stage { mut world, api, tenant, project, .. } = stage(5).await;
    let init = |payload: Value| json!({ "type": "connection_init", "payload": payload });
    for payload in [json!({}), json!({ "token": "x" }), json!({ "token": 7 }), json!({ "Authorization": "Basic eA==" })]
    {
        let mut socket = api.socket().await;
        socket.say(init(payload.clone())).await;
        assert_eq!(socket.closed().await, 4403, "{payload}");
    }
    let operator = api.token(None, time::Duration::HOUR);
    let mut socket = api.socket().await;
    socket.say(init(json!({ "token": operator }))).await;
    assert_eq!(socket.closed().await, 4403);

    let mut socket = api.socket().await;
    socket.subscribe("1", BOARD, json!({ "id": project })).await;
    assert_eq!(socket.closed().await, 4401);
    for nonsense in [
        json!("nonsense"),
        json!({}),
        json!({ "type": "nonsense" }),
        json!({ "type": "subscribe", "id": "1" }),
        json!({ "type": "subscribe", "id": 1, "payload": { "query": "{ me { actor } }" } }),
        json!({ "type": "connection_init", "payload": 7 }),
    ] {
        let mut socket = api.socket().await;
        socket.say(nonsense.clone()).await;
        assert_eq!(socket.closed().await, 4400, "{nonsense}");
    }
    // Once is enough, for who one is and for a subscription's id.
    let mut socket = api.open(tenant).await;
    socket.say(init(json!({ "token": api.owner(tenant) }))).await;
    assert_eq!(socket.closed().await, 4429);
    let mut socket = api.open(tenant).await;
    watch(&mut socket, "1", project, Value::Null).await;
    socket.subscribe("1", BOARD, json!({ "id": project })).await;
    assert_eq!(socket.closed().await, 4409);
    // An id that is free again may be used again.
    let mut socket = api.open(tenant).await;
    for _ in 0..2 {
        watch(&mut socket, "1", project, Value::Null).await;
        socket.say(json!({ "type": "complete", "id": "1" })).await;
    }
    socket.say(json!({ "type": "ping" })).await;
    assert_eq!(socket.hear().await, json!({ "type": "pong" }));

    // A token that ends at once, but for the leeway.
    let short = api.token(Some(tenant), time::Duration::seconds(-3));
    let mut socket = api.socket().await;
    socket.say(init(json!({ "Authorization": format!("Bearer {short}") }))).await;
    assert_eq!(socket.hear().await["type"], "connection_ack");
    let first = watch(&mut socket, "1", project, Value::Null).await;
    assert_ne!(first["snapshot"], Value::Null);
    assert_eq!(socket.closed().await, 4403);

    // The next token in time: it goes on. One of somebody else's, or none at all: it does not.
    let short = api.token(Some(tenant), time::Duration::seconds(-3));
    let [mut socket, mut idle] = [api.socket().await, api.socket().await];
    for socket in [&mut socket, &mut idle] {
        socket.say(init(json!({ "token": short }))).await;
        assert_eq!(socket.hear().await["type"], "connection_ack");
    }
    let ping = |token: &str| json!({ "type": "ping", "payload": { "Authorization": format!("Bearer {token}") } });
    socket.say(ping(&api.owner(tenant))).await;
    assert_eq!(socket.hear().await["type"], "pong");
    assert_eq!(idle.closed().await, 4403);
    watch(&mut socket, "1", project, Value::Null).await;
    let other = world.tenant().await;
    for wrong in [api.owner(other), "nonsense".to_owned()] {
        let mut socket = api.open(tenant).await;
        socket.say(ping(&wrong)).await;
        assert_eq!(socket.closed().await, 4403);
    }

    // Questions may be asked on a socket as well; and one that is stopping says so.
    let mut socket = api.open(tenant).await;
    socket.subscribe("1", "{ me { actor } }", Value::Null).await;
    assert_eq!(socket.frame().await, json!({ "actor": "operator:ada" }));
    assert_eq!(socket.hear().await["type"], "complete");
    api.shutdown.cancel();
    assert_eq!(socket.closed().await, 1001);
}
