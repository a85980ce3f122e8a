//! Whatever is done to an export is found, at the first wrong place, by its right name.

use proptest::prelude::*;
use schemas::evidence::Hash;
use schemas::evidence::checkpoint::{Checkpoint, origin};
use schemas::evidence::export::{Failure, Kind, seal_origin, seal_text};
use schemas::evidence::merkle::{self, Frontier};
use schemas::evidence::note::Note;
use sha2::{Digest as _, Sha256};

use crate::packed::{Packed, digest, digests, events, fitted, with};
use crate::world::{INSTALLATION, World, keys};

/// An export of several chunks, the events in it, and one of another tenant.
async fn exports() -> (World, Packed, usize, Packed) {
    let mut world = World::new().await;
    world.fill(90, 100, 30).await;
    world.fill(31, 3, 10).await;
    let mut mine = Packed::open(&world.export(world.tenant, &[1]).await);
    let other = Packed::open(&world.export(world.other, &[1]).await);
    let count = 9_093;
    assert_eq!(mine.lines(0).len() + mine.lines(1).len(), count);
    assert!(mine.check(&keys(&[1]).public()).is_ok());
    (world, mine, count, other)
}

fn failure(export: &Packed) -> Failure {
    export.check(&keys(&[1]).public()).expect_err("it was found right")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_damage_is_found_at_its_place() {
    let (_world, right, count, mut other) = exports().await;
    let foreign = other.lines(0)[0].clone();
    for index in [0, 1, 4_000, 8_191, 8_192, count - 1] {
        let damaged = |change: &dyn Fn(&mut Packed)| {
            let mut export = right.clone();
            change(&mut export);
            let failure = failure(&export);
            (failure.kind, failure.index)
        };
        let lines = |change: &dyn Fn(&mut Vec<String>, usize)| damaged(&|export| export.change(index, change));
        let at = u64::try_from(index).unwrap();

        let sevens = "7".repeat(64);
        let fields = [
            ("actor", "operator:Eve"),
            ("event_type", "TenantCreated"),
            ("event_version", "2"),
            ("version", "77"),
            ("occurred_at", "2020-01-01T00:00:00Z"),
            ("recorded_at", "2020-01-01T00:00:00Z"),
            ("position", "99999999"),
            ("partition", "1"),
            ("correlation", "00000000-0000-0000-0000-000000000000"),
            ("digest", sevens.as_str()),
            ("chain", sevens.as_str()),
            ("name", "another name"),
        ];
        for (field, value) in fields {
            let found = lines(&|lines, nth| lines[nth] = with(&lines[nth], field, value));
            assert_eq!(found, (Kind::Edited, Some(at)), "{field} of event {index}");
        }
        // With a digest that fits, though it is not the one that was signed.
        let refitted = lines(&|lines, nth| lines[nth] = fitted(&with(&lines[nth], "name", "another"), Hash::ZERO));
        assert_eq!(refitted, (Kind::Edited, Some(at)), "{index}");
        assert_eq!(lines(&|lines, nth| lines[nth] = "{}".to_owned()), (Kind::Edited, Some(at)), "{index}");

        let inserted = lines(&|lines, nth| {
            let line = fitted(&with(&lines[nth], "name", "one more"), Hash::ZERO);
            lines.insert(nth, line);
        });
        assert_eq!(inserted, (Kind::Inserted, Some(at)), "{index}");
        assert_eq!(lines(&|lines, nth| lines.insert(nth, foreign.clone())), (Kind::Foreign, Some(at)), "{index}");
        assert_eq!(lines(&|lines, nth| lines[nth] = foreign.clone()), (Kind::Foreign, Some(at)), "{index}");

        let last_of_chunk = index == 8_191 || index == count - 1;
        let gone = lines(&|lines, nth| drop(lines.remove(nth)));
        let expected = if index == count - 1 { Kind::Truncated } else { Kind::Missing };
        assert_eq!(gone, (expected, Some(at)), "{index}");
        if !last_of_chunk {
            assert_eq!(lines(&|lines, nth| lines.swap(nth, nth + 1)), (Kind::Swapped, Some(at)), "{index}");
        }
        // Cut off here and everywhere after.
        let cut = damaged(&|export| {
            let (chunk, nth) = export.place(index);
            let mut lines = export.lines(chunk);
            lines.truncate(nth);
            export.set_lines(chunk, &lines);
            export.0.retain(|(name, _)| *name <= events(chunk));
        });
        let expected = if index < 8_192 { Kind::Missing } else { Kind::Truncated };
        assert_eq!(cut, (expected, Some(at)), "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_the_digests_fit_is_found_by_the_chain_or_the_checkpoint() {
    let (_world, mut right, count, _) = exports().await;
    for index in [0, 4_000, count - 1] {
        // The digest of the event, its record and its chain fit: what follows in the stream does not.
        let mut export = right.clone();
        export.change(index, |lines, nth| lines[nth] = fitted(&with(&lines[nth], "name", "another"), Hash::ZERO));
        let (chunk, nth) = export.place(index);
        let made = digest(&export.lines(chunk)[nth]);
        export.change_records(index, |records, at| records[at..at + 32].copy_from_slice(&made.0));
        let failure = failure(&export);
        assert_eq!(failure.kind, Kind::Edited);
        let (found, since) = (failure.index.unwrap(), failure.since.unwrap_or(failure.index.unwrap()));
        let index = u64::try_from(index).unwrap();
        assert!(since <= index && index <= found, "{index}: {failure}");
    }

    // Everything that depends on it fits, but for what was signed.
    let mut export = right.clone();
    make_fit(&mut export, 4_000);
    let found = failure(&export);
    assert_eq!((found.kind, found.since, found.index), (Kind::Edited, Some(3_000), Some(3_000)));

    // Signed again, with another key: whoever knows the key, knows.
    let forger = keys(&[66]);
    sign_again(&mut export, &forger);
    assert_eq!(failure(&export).kind, Kind::UnknownKey);
    let unknown = export.check(&[]).unwrap();
    assert!(!unknown.vouched && unknown.keys == [forger.public()[0].to_string()]);
    // Without the list of keys made again, the first checkpoint is what is wrong.
    *export.member("about/keys.note") = right.member("about/keys.note").clone();
    let found = failure(&export);
    assert_eq!((found.kind, found.index), (Kind::UnknownKey, Some(0)));
    assert_eq!(export.check(&[]).unwrap_err().kind, Kind::UnknownKey);
}

/// Edits an event, and makes all digests and chains fit.
fn make_fit(export: &mut Packed, index: usize) {
    export.change(index, |lines, nth| lines[nth] = with(&lines[nth], "name", "another"));
    let mut chains = std::collections::HashMap::new();
    for chunk in 0..2 {
        let mut lines = export.lines(chunk);
        let mut records = export.member(&digests(chunk)).clone();
        for (line, record) in lines.iter_mut().zip(records.chunks_mut(48)) {
            let stream = line[line.find("\"stream\":").unwrap()..][..50].to_owned();
            let previous = chains.get(&stream).copied().unwrap_or(Hash::ZERO);
            *line = fitted(line, previous);
            let made = digest(line);
            chains.insert(stream, schemas::evidence::link(&previous, &made));
            record[..32].copy_from_slice(&made.0);
        }
        export.set_lines(chunk, &lines);
        *export.member(&digests(chunk)) = records;
    }
}

/// Signs all that is signed, with other keys.
fn sign_again(export: &mut Packed, keys: &schemas::evidence::checkpoint::Keys) {
    let tenant = serde_json::from_slice::<serde_json::Value>(export.member("about/manifest.json")).unwrap();
    let tenant = tenant["tenant"].as_str().unwrap().parse().unwrap();
    *export.member("about/keys.note") = keys.statement(INSTALLATION).to_string().into_bytes();
    let (mut tree, mut total) = (Frontier::default(), 0);
    for chunk in 0..2 {
        let mut notes = String::new();
        for line in export.lines(chunk) {
            tree.push(merkle::leaf(&digest(&line).0));
            total += 1;
            if [3_000, 6_000, 9_000, 9_030, 9_060, 9_090, 9_093].contains(&total) {
                let origin = origin(INSTALLATION, tenant);
                let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
                let note = checkpoint.sign(keys.newest()).to_string();
                notes = format!("{notes}{}\n", serde_json::to_string(&note).unwrap());
            }
        }
        *export.member(&format!("chunks/{chunk:08}/checkpoints.jsonl")) = notes.into_bytes();
    }
    let sealed = export.0.iter().filter(|(name, _)| !name.ends_with("events.jsonl") && name != "seal.note");
    let hashes: Vec<_> = sealed.map(|(name, content)| (name.clone(), Hash(Sha256::digest(content).into()))).collect();
    let seal = Note::sign(&seal_origin(INSTALLATION, tenant), seal_text(total, &hashes), [keys.newest()]);
    *export.member("seal.note") = seal.to_string().into_bytes();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_digest_covers_is_sealed() {
    let (_world, right, _, mut other) = exports().await;
    let names: Vec<String> = right.0.iter().map(|(name, _)| name.clone()).collect();
    for name in &names {
        let mut export = right.clone();
        export.remove(name);
        let found = failure(&export);
        let end = ["seal.note"].contains(&name.as_str());
        let kinds = if end { [Kind::Truncated; 2] } else { [Kind::Missing, Kind::Inserted] };
        assert!(kinds.contains(&found.kind), "without {name}: {found}");

        let mut export = right.clone();
        let content = export.member(name);
        let middle = content.len() / 2;
        content[middle] ^= 1;
        let found = failure(&export);
        assert!(
            [Kind::Edited, Kind::UnknownKey, Kind::Damaged, Kind::Inserted, Kind::Foreign].contains(&found.kind),
            "{name}: {found}"
        );
    }
    let mut export = right.clone();
    export.0.push(("zzz".into(), b"more".to_vec()));
    assert_eq!(failure(&export).kind, Kind::Inserted);
    // A whole seal of the same installation, but of another export.
    let mut export = right.clone();
    *export.member("seal.note") = other.member("seal.note").clone();
    assert!(export.check(&[]).is_err());
    // A fingerprint of a command.
    let mut export = right;
    let commands = export.member("chunks/00000000/commands.jsonl");
    let at = commands.len() / 3;
    let at = at + commands[at..].windows(15).position(|text| text == b"\"fingerprint\":\"").unwrap() + 15;
    commands[at] = if commands[at] == b'0' { b'1' } else { b'0' };
    let found = failure(&export);
    assert_eq!((found.kind, &*found.member), (Kind::Edited, "chunks/00000000/commands.jsonl"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_packed_again_in_any_order_is_still_right() {
    let (_world, right, ..) = exports().await;
    let mut export = right.clone();
    export.0.reverse();
    assert!(export.check(&keys(&[1]).public()).unwrap().vouched);
    export.0.rotate_left(9);
    assert!(export.check(&keys(&[1]).public()).unwrap().vouched);
    export.0.iter_mut().for_each(|(name, _)| *name = format!("./{name}"));
    assert!(export.check(&keys(&[1]).public()).unwrap().vouched);
    export.0.push(right.0[0].clone());
    assert_eq!(failure(&export).kind, Kind::Inserted);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_file_can_be_changed_and_no_part_of_it_left_out() {
    let mut world = World::new().await;
    world.fill(12, 2, 5).await;
    let file = std::fs::read(world.export(world.tenant, &[1]).await).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let wrong = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let verdict = agentworks::export::check(&path, &[], None).unwrap();
        verdict.outcome.is_err() || !verdict.as_written
    };
    assert!(!wrong(&file));
    for length in (0..file.len()).rev().take(60).chain((0..file.len()).step_by(53)) {
        assert!(wrong(&file[..length]), "cut to {length}");
    }
    for at in (0..file.len()).step_by(5) {
        let mut bytes = file.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(wrong(&bytes), "byte {at}");
    }
    let mut runner = proptest::test_runner::TestRunner::default();
    let change = (any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>(), any::<u8>());
    runner
        .run(&change, |(a, x, b, y)| {
            let mut bytes = file.clone();
            let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
            bytes[a] = x;
            bytes[b] = y;
            prop_assert!(bytes == file || wrong(&bytes));
            Ok(())
        })
        .unwrap();
}
