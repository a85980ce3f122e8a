//! Checking an export: events a second on one core, of an export of a history like a real one.
//!
//! Nothing else takes part: one thread, and the file is in the page cache. Beside it what reading alone costs: decompressing the file, and parsing its lines.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "the room for ids and the clock of a benchmark")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentworks::export::{Exporter, Until, check};
use outbox::evidence::{Notary, NotarySettings};
use schemas::evidence::checkpoint::Keys;
use schemas::evidence::export::Line;
use support::{ROUNDS, Stage, float, history, median};

/// Events of the tenant that is exported.
const EVENTS: usize = 200_000;

#[tokio::main]
async fn main() {
    let stage = Stage::set(1).await;
    let log = stage.log().await;
    let tenant = history::fill_tenant(&log, EVENTS).await;
    let keys = Keys::parse(&Keys::line(&[7; 32])).unwrap();
    let settings = NotarySettings {
        installation: "bench".into(),
        interval: Duration::from_secs(60),
        events: usize::MAX,
        places: vec![],
    };
    let notary = Notary::new(log.clone(), Arc::new(Keys::parse(&Keys::line(&[7; 32])).unwrap()), settings);
    let to = stage.folder.path().join("export.tar.zst");
    let exporter = Exporter { log: &log, notary: &notary, keys: &keys, installation: "bench" };
    let begun = Instant::now();
    let events = exporter.write(tenant, Until::Now, &to, &mut |_, _| {}).await.unwrap();
    let events = float(events);
    println!("export (with building the Merkle tree): {:.0} events/s", events / begun.elapsed().as_secs_f64());
    println!("file: {:.0} bytes an event", float(std::fs::metadata(&to).unwrap().len()) / events);

    let (mut verify, mut unpack, mut parse) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        verify.push(events / seconds(|| assert!(check(&to, &[], None).unwrap().outcome.is_ok())));
        unpack.push(events / seconds(|| assert!(unpacked(&to) > 0)));
        parse.push(events / seconds(|| parsed(&to)));
    }
    println!("verify:             {:>9.0} events/s on one core", median(verify));
    println!("decompress only:    {:>9.0}", median(unpack));
    println!("decompress + parse: {:>9.0}", median(parse));
    stage.strike().await;
}

/// How long it takes.
fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

fn unpacked(path: &Path) -> u64 {
    let mut decoder = zstd::Decoder::new(std::fs::File::open(path).unwrap()).unwrap();
    std::io::copy(&mut decoder, &mut std::io::sink()).unwrap()
}

fn parsed(path: &Path) {
    let mut export = tar::Archive::new(zstd::Decoder::new(std::fs::File::open(path).unwrap()).unwrap());
    for entry in export.entries().unwrap() {
        let mut entry = entry.unwrap();
        if !entry.path().unwrap().ends_with("events.jsonl") {
            continue;
        }
        let (mut reader, mut line) = (BufReader::with_capacity(1 << 16, entry.by_ref()), Vec::new());
        while reader.read_until(b'\n', &mut line).unwrap() > 0 {
            let event: Line<'_> = serde_json::from_slice(&line).unwrap();
            assert!(event.version > 0);
            line.clear();
        }
        entry.read_to_end(&mut line).unwrap();
    }
}
