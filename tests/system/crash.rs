//! `kill -9`, lost data of the bus, lost answers: afterwards the data is as if nothing had happened.

use agentworks::demo::git_host::{Fault, Operation};
use serde_json::{Value, json};

use crate::support::{Installation, Stage, state, text, writes};

/// The events that end a run.
const TERMINAL: [&str; 4] = ["RunSucceeded", "RunFailed", "RunTimedOut", "RunCancelled"];

fn count(events: &[Value], types: &[&str]) -> usize {
    events.iter().filter(|event| event["event_type"].as_str().is_some_and(|seen| types.contains(&seen))).count()
}

/// Versions are dense within each stream, positions grow, ids are unique.
fn assert_sound(events: &[Value]) {
    let mut versions = std::collections::HashMap::new();
    let mut ids = std::collections::HashSet::new();
    let mut last = 0;
    for event in events {
        let position = event["position"].as_i64().unwrap();
        assert!(position > last, "positions grow");
        last = position;
        let version = versions.entry(text(event, "stream")).or_insert(0);
        *version += 1;
        assert_eq!(event["version"].as_i64().unwrap(), *version, "versions are dense: {event}");
        assert!(ids.insert(text(event, "id")), "an event is there twice: {event}");
    }
}

#[tokio::test]
async fn killed_in_the_middle_of_a_run_it_finishes_the_run_after_the_restart() {
    let mut installation = Installation::start(&[]);
    let mut stage = Stage::set(&installation).await;
    let mut script = writes("a.txt", "a\n");
    script[1]["hold"] = json!("middle");
    let card = stage.card("Killed", &script).await;
    let run = stage.run(&card).await;
    stage.model.wait_until_held("middle", 1).await;
    installation.kill();
    stage.model.release("middle");
    installation.start_again();
    stage.again(&installation);
    let ended = stage.ended(&run).await;
    assert_eq!((state(&ended).as_str(), ended["attempt"].as_u64()), ("succeeded", Some(2)), "{ended}");
    assert_eq!(stage.pushes(), 1);
    stage.card_after(&card).await;
    let events = installation.events(stage.tenant);
    assert_eq!(count(&events, &TERMINAL), 1);
    assert_eq!(count(&events, &["CardRunFinished"]), 1);
    assert_sound(&events);
}

#[tokio::test]
async fn killed_between_the_push_and_its_record_it_does_not_push_again() {
    let mut installation = Installation::start(&[]);
    let mut stage = Stage::set(&installation).await;
    // The push is done, its answer never comes: the attempt knows nothing of it when everything dies.
    stage.git.inject(Some(Operation::Push), Fault::HoldAnswer, 1);
    let card = stage.card("Pushed, then killed", &writes("a.txt", "a\n")).await;
    let run = stage.run(&card).await;
    stage.git.wait_until_hanging(1).await;
    assert_eq!(stage.pushes(), 1);
    installation.kill();
    installation.start_again();
    stage.again(&installation);
    let ended = stage.ended(&run).await;
    assert_eq!(state(&ended), "succeeded", "{ended}");
    assert_eq!(stage.pushes(), 1, "no second push");
    let events = installation.events(stage.tenant);
    assert_eq!(count(&events, &TERMINAL), 1);
    let succeeded = events.iter().find(|event| event["event_type"] == "RunSucceeded").unwrap();
    assert_eq!((&succeeded["payload"]["attempt"], &succeeded["payload"]["pushed_by_attempt"]), (&json!(2), &json!(1)));
    assert_sound(&events);
}

/// What a reader sees of a stage.
async fn picture(stage: &Stage, cards: &[String], since: &str) -> Value {
    let query = "query($project: ID!, $since: Cursor) { board(project: $project, waitFor: $since) { lanes { key cards { id title lane version } } } usage(project: $project, waitFor: $since) { totals { modelCalls tokens { input output } runs { succeeded failed } } } }";
    let mut picture = stage.owner.query(query, json!({ "project": stage.project, "since": since })).await.unwrap();
    for card in cards {
        let query = "query($card: ID!, $since: Cursor) { cardHistory(card: $card, first: 200, waitFor: $since) { edges { cursor node { kind summary } } } }";
        picture[card] = stage.owner.query(query, json!({ "card": card, "since": since })).await.unwrap();
    }
    picture
}

#[tokio::test]
async fn without_the_data_of_the_bus_nothing_is_lost() {
    let mut installation = Installation::start(&[]);
    let mut stage = Stage::set(&installation).await;
    let mut cards = Vec::new();
    for name in ["one", "two"] {
        let card = stage.card(name, &writes(name, name)).await;
        let run = stage.run(&card).await;
        assert_eq!(state(&stage.ended(&run).await), "succeeded");
        stage.card_after(&card).await;
        cards.push(card);
    }
    let moved = stage.owner.post(&stage.of_card(&cards[0], "move"), json!({ "lane": "done" })).await.unwrap();
    let before = picture(&stage, &cards, &text(&moved, "position")).await;
    installation.stop();
    std::fs::remove_dir_all(installation.data.join("nats")).unwrap();
    installation.start_again();
    stage.again(&installation);
    assert_eq!(picture(&stage, &cards, &text(&moved, "position")).await, before);

    // And it goes on: what happens now arrives too.
    let moved = stage.owner.post(&stage.of_card(&cards[1], "move"), json!({ "lane": "done" })).await.unwrap();
    let after = picture(&stage, &cards, &text(&moved, "position")).await;
    assert_ne!(after, before);

    // What is shown is the fold of the log: another generation that is built while everything runs shows the same.
    let at = text(&moved, "position");
    installation.command(&["rebuild", "all"]);
    assert_eq!(picture(&stage, &cards, &at).await, after);
    installation.command(&["rebuild", "board", "--rollback"]);
    assert_eq!(picture(&stage, &cards, &at).await, after);
    assert!(installation.command(&["rebuild", "board", "--list"]).contains("board 2: retired"));

    // And so does one that is built while nothing does.
    installation.stop();
    installation.command(&["rebuild", "all"]);
    installation.start_again();
    stage.again(&installation);
    assert_eq!(picture(&stage, &cards, &text(&moved, "position")).await, after);
    assert_sound(&installation.events(stage.tenant));
}

#[tokio::test]
async fn a_bus_that_dies_is_started_again_and_nothing_stops() {
    let installation = Installation::start(&[]);
    let stage = Stage::set(&installation).await;
    let nats = std::fs::read_dir(installation.data.join("nats/ports")).unwrap().next().unwrap().unwrap();
    let name = nats.file_name().into_string().unwrap();
    let pid: i32 = name.trim_start_matches("nats-server_").trim_end_matches(".ports").parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    let card = stage.card("Meanwhile", &writes("a", "a")).await;
    let run = stage.run(&card).await;
    assert_eq!(state(&stage.ended(&run).await), "succeeded");
    let ready = async {
        while stage.owner.send(http::Method::GET, "/readyz", &[], None).await.unwrap().status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, ready).await.expect("the bus is there again");
}
