//! Shows the checker pictures that are damaged in one place each: every rule must see its damage.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::picture::{Event, Picture};
use super::{Bus, RULES, judge};
use crate::listen::{EVENTS, NEWCOMER, STREAM};
use crate::records::{Answered, Noted};

type Damage = fn(&mut Picture, &mut Noted);

/// The rule that must see it, what is done, and how.
const DAMAGES: &[(&str, &str, Damage)] = &[
    ("positions", "an event is gone", |picture, _| drop(picture.events.remove(picture.events.len() / 2))),
    ("positions", "a stream's first event is gone", |picture, _| {
        let first = picture.events.iter().position(|event| event.event_type == "CardCreated").expect("a card");
        picture.events.remove(first);
    }),
    ("positions", "the clock runs ahead", |picture, _| picture.clock[0] += 1),
    ("versions", "a version is left out", |picture, _| picture.events.last_mut().expect("events").version += 1),
    ("versions", "an event has another tenant", |picture, _| {
        picture.events.last_mut().expect("events").tenant = Uuid::nil();
    }),
    ("versions", "a card's event has another tenant", |picture, _| {
        let of_a_card = |event: &&mut Event| event.aggregate_type == "card" && event.version > 1;
        picture.events.iter_mut().rfind(of_a_card).expect("a card").tenant = Uuid::nil();
    }),
    ("ids", "an event is there twice", |picture, _| {
        let id = picture.events[0].id;
        picture.events.last_mut().expect("events").id = id;
    }),
    ("streams", "a stream is forgotten", |picture, _| drop(picture.streams.pop())),
    ("streams", "a stream stands elsewhere", |picture, _| picture.streams[0]["version"] = json!(999)),
    ("commands", "a command is forgotten", |picture, _| drop(picture.commands.pop())),
    ("commands", "a command was applied twice", |picture, _| {
        let command = picture.events[0].command;
        let tenant = picture.events[0].tenant;
        let last = picture.events.iter_mut().rfind(|event| event.tenant == tenant).expect("events");
        last.command = command;
    }),
    ("digests", "a payload was edited", |picture, _| {
        let comment = picture.events.iter_mut().find(|event| event.event_type == "CardCommented").expect("a comment");
        comment.payload = comment.payload.replacen("\"text\"", " \"text\"", 1);
    }),
    ("roots", "a checkpoint is of another tree", |picture, _| {
        let other = picture.checkpoints.iter().find(|row| row["tenant"] != Uuid::nil().to_string().as_str()).cloned();
        let mut other = other.expect("a tenant's checkpoint");
        // Its first one may be of one event.
        other["size"] = json!(other["size"].as_i64().expect("a size") + 1);
        picture.checkpoints.push(other);
    }),
    ("roots", "a signature is forged", |picture, _| {
        let note = picture.checkpoints[0]["note"].as_str().expect("a note").to_owned();
        picture.checkpoints[0]["note"] = json!(note.replacen('\n', "x\n", 1));
    }),
    ("roots", "there is no checkpoint", |picture, _| picture.checkpoints.clear()),
    ("archives", "a byte of a file was changed", |picture, _| {
        let file = &mut picture.archives.last_mut().expect("an archived range").file;
        let middle = file.len() / 4;
        file[middle] ^= 1;
    }),
    ("archives", "a file is gone", |picture, _| picture.archives[0].file.clear()),
    ("archives", "a range is in both places", |picture, _| picture.archives[0].row["left"] = json!(true)),
    ("chains", "two events were swapped", |picture, _| {
        let first = picture.events[0].chain.clone();
        picture.events.last_mut().expect("events").chain = first;
    }),
    ("acknowledged", "what was told is not there", |_, noted| {
        let sent =
            noted.requests.iter_mut().find(|sent| sent.kind == "comment" && sent.answers[0].done()).expect("one");
        sent.answers[0].body["version"] = json!(100_000);
    }),
    ("once", "a request was carried out twice", |picture, noted| {
        let comments = noted.requests.iter().filter(|sent| sent.kind == "comment" && sent.answers[0].done());
        let traces: Vec<String> = comments.map(|sent| sent.trace.clone()).take(2).collect();
        let second = picture.events.iter_mut().find(|event| event.trace() == Some(&traces[1])).expect("an event");
        second.traceparent = second.traceparent.as_ref().map(|text| text.replace(&traces[1], &traces[0]));
    }),
    ("answers", "a repeated request is answered otherwise", |_, noted| {
        let sent = noted.requests.iter_mut().find(|sent| sent.kind == "card" && sent.answers[0].done()).expect("one");
        let other = Answered { status: 200, ..sent.answers[0].clone() };
        sent.answers.push(other);
    }),
    ("answers", "a client is left alone", |_, noted| noted.requests[0].answers.clear()),
    ("refused", "a refused request has its effect", |_, noted| {
        let sent =
            noted.requests.iter_mut().find(|sent| sent.kind == "comment" && sent.answers[0].done()).expect("one");
        sent.answers = vec![Answered { status: 409, body: Value::Null }];
    }),
    ("asked", "an event that nobody asked for", |picture, _| {
        picture.events.last_mut().expect("events").traceparent = None;
    }),
    ("models", "a row is missing", |picture, _| drop(picture.tables.get_mut("cards").expect("cards").pop())),
    ("models", "an event was applied twice", |picture, _| {
        let row = &mut picture.tables.get_mut("usage").expect("usage")[0];
        row["model_calls"] = json!(row["model_calls"].as_i64().unwrap_or(0) + 1);
    }),
    ("models", "a row that stems from nothing", |picture, _| {
        let rows = picture.tables.get_mut("card_history").expect("a history");
        let mut row = rows[0].clone();
        row["position"] = json!(1_000_000);
        rows.push(row);
    }),
    ("models", "a table that the checker does not know", |picture, _| {
        picture.tables.insert("surprise".to_owned(), vec![]);
    }),
    ("foreign", "a row is another tenant's", |picture, _| {
        let tenants = picture.tables["tenants"].clone();
        let row = &mut picture.tables.get_mut("cards").expect("cards")[0];
        let other = tenants.iter().find(|tenant| tenant["id"] != row["tenant"]).expect("two tenants");
        row["tenant"] = other["id"].clone();
    }),
    ("consumers", "a consumer stopped", |picture, _| picture.consumers[0]["position"] = json!(1)),
    ("rest", "a job is left", |picture, _| {
        picture.waiting.insert("work.jobs".to_owned(), vec![json!({ "run": Uuid::nil() })]);
    }),
    ("runs", "a run ended twice", |picture, _| {
        let end = picture.events.iter_mut().find(|event| event.event_type == "RunStarted").expect("a run");
        end.event_type = "RunSucceeded".to_owned();
    }),
    ("environments", "one is left", |picture, _| {
        let ends = ["EnvironmentStopped", "EnvironmentFailed"];
        let end = picture.events.iter_mut().find(|event| ends.contains(&event.event_type.as_str())).expect("an end");
        end.event_type = "EnvironmentReady".to_owned();
    }),
    ("boards", "a change was never seen", |_, noted| {
        let frames = noted.boards.values_mut().next().expect("a board");
        frames.truncate(frames.len() / 2);
    }),
    ("boards", "a change was seen twice", |_, noted| {
        let frames = noted.boards.values_mut().next().expect("a board");
        let twice = frames.iter().rfind(|frame| !frame.cards.is_empty()).expect("a change").clone();
        frames.push(twice);
    }),
    ("stream", "an event was seen twice", |_, noted| {
        let seen = noted.listeners.get_mut(STREAM).and_then(|runs| runs.last_mut()).expect("a listener");
        let twice = seen[seen.len() / 2];
        seen.push(twice);
    }),
    ("stream", "a reader of `/v1/events` missed an event", |_, noted| {
        let seen = noted.listeners.get_mut(EVENTS).and_then(|runs| runs.last_mut()).expect("a reader");
        seen.remove(seen.len() / 2);
    }),
    ("stream", "an event was never published", |_, noted| {
        let seen = noted.listeners.get_mut(NEWCOMER).and_then(|runs| runs.last_mut()).expect("a listener");
        seen.remove(seen.len() / 2);
    }),
];

/// The picture is sound; damaged, it is not, and the right rule says so.
pub(crate) fn every_damage_is_named(picture: &Picture, noted: &Noted) {
    assert_eq!(judge(picture, noted, Bus::Kept), [], "the picture is sound");
    // A part of it is too, and soon looked at.
    let mut picture = picture.clone();
    picture.checkpoints.retain(|row| row["tenant"] != Uuid::nil().to_string().as_str());
    picture.checkpoints.truncate(4);
    for (rule, what, damage) in DAMAGES {
        let (mut picture, mut noted) = (picture.clone(), noted.clone());
        damage(&mut picture, &mut noted);
        let findings = judge(&picture, &noted, Bus::Kept);
        assert!(findings.iter().any(|finding| finding.rule == *rule), "{what}: `{rule}` is blind; found: {findings:?}");
    }
    let seen: BTreeSet<&str> = DAMAGES.iter().map(|(rule, ..)| *rule).collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(seen, rules, "every rule was shown a damage");
}
