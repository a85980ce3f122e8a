//! The crash matrix: the real executable under load, killed at every named point and by everything that befalls servers,
//! started again, and checked from outside.
//!
//! `cargo test` runs a quick part of it; `./dev crash` the whole, `./dev crash NAME` one scenario of it.

#![expect(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests count as tests")]

mod checker;
mod listen;
mod load;
mod nemesis;
mod records;
mod scenario;
mod world;

use std::collections::BTreeSet;
use std::path::Path;

use checker::selftest;
use nemesis::NEMESES;
use scenario::{CRASHES, Crash, die_again_and_again, only, seed};

#[test]
fn every_point_has_a_scenario() {
    let points: BTreeSet<&str> = outbox::crash::POINTS.iter().map(|(name, _)| *name).collect();
    let scenarios: BTreeSet<&str> = CRASHES.iter().map(|crash| crash.point).collect();
    assert_eq!(points, scenarios, "tests/crash/scenario.rs has one for each of outbox::crash::POINTS");
}

#[test]
fn every_point_is_somewhere_in_the_product_and_no_other() {
    let mut placed = BTreeSet::new();
    for folder in ["command-api", "domain", "outbox", "projections", "query-api", "workers", "access"] {
        points_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("src"), &mut placed);
    }
    points_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut placed);
    let points: BTreeSet<String> = outbox::crash::POINTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(points, placed);
}

fn points_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in folder.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            points_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a file");
            let calls = text.split("crash::point(\"").skip(1);
            found.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_point_in_turn_it_loses_nothing_and_does_nothing_twice() {
    let crashes: Vec<&Crash> = CRASHES.iter().collect();
    let outcome = die_again_and_again("quick", seed(), &crashes, true).await;
    println!("{outcome}");
    outcome.assert_sound();
    // The same picture, damaged: the checker is not blind.
    let (picture, noted) = outcome.given.expect("it was judged");
    selftest::every_damage_is_named(&picture, &noted);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the whole matrix takes long: `./dev crash`"]
async fn the_whole_matrix() {
    let (only, seed) = (only(), seed());
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let mut outcomes = Vec::new();
    for crash in CRASHES.iter().filter(|crash| wanted(crash.point)) {
        // Twice: what happens to a process that recovers from its own death?
        let outcome = die_again_and_again(crash.point, seed, &[crash, crash], false).await;
        println!("{outcome}");
        outcomes.push(outcome);
    }
    for nemesis in NEMESES.iter().filter(|nemesis| wanted(nemesis.name)) {
        if let Some(outcome) = nemesis.befall(seed).await {
            println!("{outcome}");
            outcomes.push(outcome);
        }
    }
    assert!(!outcomes.is_empty(), "there is no scenario {only:?}");
    println!("\n{} scenarios:", outcomes.len());
    for outcome in &outcomes {
        println!("{}", outcome.to_string().lines().next().unwrap_or_default());
    }
    let broken: Vec<&str> = outcomes.iter().filter(|o| !o.problems.is_empty()).map(|o| o.name.as_str()).collect();
    assert!(broken.is_empty(), "broken: {broken:?}");
}
