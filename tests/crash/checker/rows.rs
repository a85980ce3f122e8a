//! What is derived from the log: read models, consumers, queues, runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::Findings;
use super::clients::uuid_of;
use super::fold::{self, Table};
use super::log::id;
use super::picture::Picture;
use crate::records::Noted;

/// Differences that are told of one table.
const TOLD: usize = 3;
const ENDS: [&str; 4] = ["RunSucceeded", "RunFailed", "RunTimedOut", "RunCancelled"];

pub(super) fn judge(picture: &Picture, noted: &Noted, findings: &mut Findings) {
    models(picture, findings);
    foreign(picture, noted, findings);
    for row in &picture.consumers {
        let partition = row["partition"].as_u64().and_then(|partition| usize::try_from(partition).ok());
        let head = partition.and_then(|partition| picture.clock.get(partition));
        findings.check("consumers", head.is_some() && row["position"].as_i64() == head.copied(), || {
            format!("{row}, the head is {head:?}")
        });
    }
    for (table, rows) in picture.waiting.iter().filter(|(_, rows)| !rows.is_empty()) {
        findings.add("rest", format!("{table} has {} rows, such as {}", rows.len(), rows[0]));
    }
    runs(picture, findings);
    environments(picture, findings);
}

fn models(picture: &Picture, findings: &mut Findings) {
    let folded = fold::fold(&picture.events);
    for (table, rows) in &picture.tables {
        match folded.get(table.as_str()) {
            Some(expected) => compare(table, rows, expected, findings),
            None => findings
                .add("models", format!("the checker has no fold of `{table}`: write one in tests/crash/checker")),
        }
    }
    for table in folded.keys().filter(|table| !picture.tables.contains_key(**table)) {
        findings.add("models", format!("there is no table `{table}`"));
    }
}

fn compare(table: &str, rows: &[Value], expected: &Table, findings: &mut Findings) {
    let key = |row: &Value| -> Vec<String> { expected.key.iter().map(|column| fold::text(&row[*column])).collect() };
    let mut found = BTreeMap::new();
    for row in rows {
        let mut row = row.clone();
        for column in expected.ignored {
            row.as_object_mut().expect("a row").remove(*column);
        }
        if found.insert(key(&row), row).is_some() {
            findings.add("models", format!("{table}: two rows have one key"));
        }
    }
    let keys: BTreeSet<_> = found.keys().chain(expected.rows.keys()).collect();
    let differ = keys.into_iter().filter(|key| found.get(*key) != expected.rows.get(*key));
    for key in differ.take(TOLD) {
        let what = match (found.get(key), expected.rows.get(key)) {
            (Some(row), Some(fold)) => difference(row, fold),
            (Some(row), None) => format!("has {row}, which the log does not say"),
            (None, fold) => format!("lacks {}", fold.expect("one of both")),
        };
        findings.add("models", format!("{table} {key:?} {what}"));
    }
}

/// The columns that differ.
fn difference(row: &Value, fold: &Value) -> String {
    let (row, fold) = (row.as_object().expect("a row"), fold.as_object().expect("a row"));
    let columns: BTreeSet<_> = row.keys().chain(fold.keys()).collect();
    let differ = columns.into_iter().filter(|column| row.get(*column) != fold.get(*column));
    let told: Vec<_> =
        differ.map(|column| format!("{column} is {:?}, in the log {:?}", row.get(column), fold.get(column))).collect();
    told.join("; ")
}

/// Tenants are those that somebody created; a row's tenant is that of the thing that it is about.
fn foreign(picture: &Picture, noted: &Noted, findings: &mut Findings) {
    let created = noted.requests.iter().filter(|sent| sent.kind == "tenant");
    let tenants: BTreeSet<Uuid> =
        created.filter_map(|sent| uuid_of(sent.answers.first()?.body["id"].as_str()?)).collect();
    let owners: BTreeMap<Uuid, Uuid> = picture.events.iter().map(|event| (event.stream, event.tenant)).collect();
    for event in picture.events.iter().filter(|event| !tenants.contains(&event.tenant)) {
        findings.add("foreign", event.place());
    }
    let kept = picture.tables.iter().chain(&picture.waiting).map(|(table, rows)| (table.as_str(), rows));
    let beside = [("log.streams", &picture.streams), ("log.commands", &picture.commands)];
    for (table, rows) in kept.chain(beside) {
        for row in rows {
            let Some(tenant) = id(row, "tenant") else { continue };
            let things = row.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str()?.parse().ok());
            let others = things.filter_map(|thing: Uuid| owners.get(&thing)).any(|owner| *owner != tenant);
            findings.check("foreign", tenants.contains(&tenant) && !others, || format!("{table}: {row}"));
        }
    }
}

/// Every environment that was asked for has ended.
fn environments(picture: &Picture, findings: &mut Findings) {
    let mut last = BTreeMap::new();
    for event in picture.events.iter().filter(|event| event.aggregate_type == "environment") {
        last.insert(event.stream, event);
    }
    for event in last.values() {
        let over = ["EnvironmentStopped", "EnvironmentFailed"].contains(&event.event_type.as_str());
        findings.check("environments", over, || format!("the last word of one is {}", event.place()));
    }
}

fn runs(picture: &Picture, findings: &mut Findings) {
    let mut ends: BTreeMap<Uuid, i32> = BTreeMap::new();
    let mut finished: BTreeMap<Uuid, i32> = BTreeMap::new();
    let mut asked = BTreeSet::new();
    for event in &picture.events {
        let run = || event.body()["run"].as_str().and_then(uuid_of);
        match event.event_type.as_str() {
            "CardRunRequested" => asked.extend(run()),
            "CardRunFinished" => *finished.entry(run().unwrap_or_default()).or_default() += 1,
            end if ENDS.contains(&end) => *ends.entry(event.stream).or_default() += 1,
            _ => {}
        }
    }
    for run in ends.keys().chain(finished.keys()).chain(&asked).collect::<BTreeSet<_>>() {
        let (ends, told) = (ends.get(run).copied().unwrap_or(0), finished.get(run).copied().unwrap_or(0));
        findings.check("runs", ends == 1 && told == 1 && asked.contains(run), || {
            format!(
                "{run} was asked for: {}, ended {ends} times, and its card heard of it {told} times",
                asked.contains(run)
            )
        });
    }
}
