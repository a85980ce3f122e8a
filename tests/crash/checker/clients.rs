//! The log against what its clients know: requests and their answers, boards that were followed, the stream that was read.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::picture::{Event, Picture};
use super::{Bus, Findings};
use crate::listen::{EVENTS, NEWCOMER};
use crate::records::{Answered, Frame, Noted, Seen, Sent};

/// What each kind of request may lead to, and whether it must when it is carried out.
const KINDS: &[(&str, &[&str], bool)] = &[
    ("tenant", &["TenantCreated"], true),
    ("workspace", &["WorkspaceCreated"], true),
    ("provider", &["ProviderRegistered"], true),
    ("project", &["ProjectCreated"], true),
    ("card", &["CardCreated"], true),
    ("comment", &["CardCommented"], true),
    ("edit", &["CardEdited"], true),
    ("move", &["CardMoved", "CardRanked"], false),
    ("rank", &["CardRanked"], false),
    ("block", &["CardBlocked", "CardMoved"], false),
    ("unblock", &["CardUnblocked", "CardMoved"], false),
    ("depend", &["CardDependencyAdded"], false),
    ("archive", &["CardArchived"], false),
    ("run", &["CardRunRequested", "CardMoved"], true),
    ("erase", &["SubjectErased"], true),
];

pub(super) fn requests(picture: &Picture, noted: &Noted, findings: &mut Findings) {
    let mut asked: BTreeMap<&str, Vec<&Event>> =
        noted.requests.iter().map(|sent| (sent.trace.as_str(), vec![])).collect();
    for event in &picture.events {
        match event.trace().and_then(|trace| asked.get_mut(trace)) {
            Some(_) if !event.by_a_person() => {}
            Some(events) => events.push(event),
            None => findings.add("asked", event.place()),
        }
    }
    let places: BTreeMap<(Uuid, i64), &Event> =
        picture.events.iter().map(|event| ((event.stream, event.version), event)).collect();
    for sent in &noted.requests {
        request(sent, &asked[sent.trace.as_str()], &places, findings);
    }
}

/// One request and the events that a person's name stands on in its trace.
fn request(sent: &Sent, events: &[&Event], places: &BTreeMap<(Uuid, i64), &Event>, findings: &mut Findings) {
    let who = || format!("{} {}", sent.key, sent.path);
    let (_, types, must) = KINDS.iter().find(|(kind, ..)| *kind == sent.kind).expect("every kind is listed");
    for event in events {
        let fits =
            types.contains(&event.event_type.as_str()) && sent.tenant.is_none_or(|tenant| tenant == event.tenant);
        findings.check("asked", fits, || format!("{} does not follow from {}", event.place(), who()));
    }
    for pair in events.windows(2) {
        let one = pair[0].command == pair[1].command
            && pair[0].stream == pair[1].stream
            && pair[0].event_type != pair[1].event_type;
        findings.check("once", one, || format!("{}: {} and {}", who(), pair[0].place(), pair[1].place()));
    }
    findings.check("answers", !sent.answers.is_empty(), || format!("{} was never answered", who()));
    // What changed nothing, or was refused, is decided anew when it is asked again; what has events is not.
    let mut answers = sent.answers.iter();
    let first = answers.find(|answer| {
        let Some(last) = events.last() else { return false };
        answer.done() && place_told(answer) == Some((last.stream, last.version))
    });
    if let Some(first) = first {
        for answer in answers {
            findings.check("answers", answer == first, || format!("{}: {first:?}, then {answer:?}", who()));
        }
    } else if !sent.answers.iter().any(Answered::done) {
        findings.check("refused", events.is_empty(), || format!("{}, though there is {}", who(), events[0].place()));
    } else {
        let told = &sent.answers;
        findings.check("acknowledged", events.is_empty() && !must, || {
            format!("{}: {told:?}, but {} events", who(), events.len())
        });
    }
    for answer in sent.answers.iter().filter(|answer| answer.done()) {
        let event = place_told(answer).and_then(|key| places.get(&key));
        let cursor = answer.body["position"].as_str().and_then(place_of);
        let there = event.is_some_and(|event| cursor == Some((event.partition, event.position)));
        findings.check("acknowledged", there, || format!("{} was told {}, which is nowhere", who(), answer.body));
    }
}

/// The stream and version that an answer names.
fn place_told(answer: &Answered) -> Option<(Uuid, i64)> {
    uuid_of(answer.body["id"].as_str()?).zip(answer.body["version"].as_i64())
}

/// The UUID in `crd_…`: 26 digits of base 32, as the `TypeID` specification has it.
pub(super) fn uuid_of(id: &str) -> Option<Uuid> {
    const DIGITS: &str = "0123456789abcdefghjkmnpqrstvwxyz";
    let (_, digits) = id.rsplit_once('_')?;
    let value = digits.chars().try_fold(0_u128, |value, digit| Some((value << 5) | DIGITS.find(digit)? as u128))?;
    Some(Uuid::from_u128(value))
}

/// Partition and position in `p…z…`: two numbers of base 36.
pub(crate) fn place_of(cursor: &str) -> Option<(i32, i64)> {
    let (partition, position) = cursor.strip_prefix('p')?.split_once('z')?;
    Some((i32::from_str_radix(partition, 36).ok()?, i64::from_str_radix(position, 36).ok()?))
}

pub(super) fn boards(picture: &Picture, noted: &Noted, findings: &mut Findings) {
    for (project, frames) in &noted.boards {
        board(project, frames, picture, findings);
    }
}

/// Frames fold several changes of a card into one; what comes must be newer each time, and the last one the last.
fn board(project: &str, frames: &[Frame], picture: &Picture, findings: &mut Findings) {
    let mut known: BTreeMap<&str, i64> = BTreeMap::new();
    let mut gone: BTreeMap<&str, i64> = BTreeMap::new();
    let mut at = (0, 0);
    for frame in frames {
        let Some(cursor) = place_of(&frame.cursor) else {
            findings.add("boards", format!("{project}: a frame without a cursor"));
            continue;
        };
        let news = !frame.cards.is_empty() || !frame.removed.is_empty();
        let forward = if news && !frame.whole { cursor > at } else { cursor >= at };
        findings.check("boards", forward, || format!("{project}: a frame at {cursor:?} after one at {at:?}"));
        at = cursor;
        if frame.whole {
            known.clear();
        }
        for (card, version) in &frame.cards {
            let before = known.insert(card, *version).or_else(|| gone.get(card.as_str()).copied()).unwrap_or(0);
            findings.check("boards", *version > before, || format!("{project}: {card} v{version} after v{before}"));
        }
        for card in &frame.removed {
            gone.insert(card, known.remove(card.as_str()).unwrap_or(0));
        }
    }
    let project_id = uuid_of(project);
    let mut last: BTreeMap<Uuid, i64> = BTreeMap::new();
    for event in picture.events.iter().filter(|event| event.aggregate_type == "card") {
        let here =
            event.event_type == "CardCreated" && event.body()["project"].as_str().and_then(uuid_of) == project_id;
        if event.event_type == "CardArchived" {
            last.remove(&event.stream);
        } else if here || last.contains_key(&event.stream) {
            last.insert(event.stream, event.version);
        }
    }
    let seen: BTreeMap<Uuid, i64> =
        known.iter().filter_map(|(card, version)| Some((uuid_of(card)?, *version))).collect();
    for card in seen.keys().chain(last.keys()).filter(|card| seen.get(card) != last.get(card)) {
        findings.add(
            "boards",
            format!("{project}: {card} is {:?} in the log, {:?} to its subscriber", last.get(card), seen.get(card)),
        );
    }
}

pub(super) fn listeners(picture: &Picture, noted: &Noted, bus: Bus, findings: &mut Findings) {
    for (listener, runs) in &noted.listeners {
        let kept = bus == Bus::Kept || *listener == EVENTS;
        for (number, seen) in runs.iter().enumerate() {
            let name = format!("{listener} {}", number + 1);
            // Only the last one has seen the end.
            let complete = number + 1 == runs.len();
            listener_saw(&name, seen, picture, complete, kept, findings);
        }
        findings.check("stream", !kept || runs.len() <= 1, || format!("{listener} had to begin anew"));
    }
    for listener in [EVENTS, NEWCOMER] {
        findings.check("stream", noted.listeners.contains_key(listener), || format!("{listener} has read nothing"));
    }
}

fn listener_saw(name: &str, seen: &Seen, picture: &Picture, complete: bool, ordered: bool, findings: &mut Findings) {
    for (partition, head) in (0..).zip(&picture.clock) {
        let positions: Vec<i64> = seen.iter().filter(|(p, _)| *p == partition).map(|(_, position)| *position).collect();
        if ordered {
            let mut last = 0;
            for position in &positions {
                findings
                    .check("stream", *position == last + 1, || format!("{name}: {partition}/{position} after {last}"));
                last = *position;
            }
        }
        let mut distinct = positions;
        distinct.sort_unstable();
        distinct.dedup();
        let all = distinct.iter().copied().eq(1..=*head);
        findings.check("stream", !complete || all, || {
            let missing: Vec<i64> =
                (1..=*head).filter(|position| distinct.binary_search(position).is_err()).take(5).collect();
            format!("{name}: {} of {head} events of partition {partition}, without {missing:?}", distinct.len())
        });
    }
}
