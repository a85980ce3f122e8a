//! `agentworks verify`: checks an export, with no database and no network.
//!
//! Exit codes: 0 the export is what was signed; 1 it is not, and what is wrong first is said; 2 it could not be checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use schemas::evidence::export::{Failure, Report};
use schemas::evidence::note::PublicKey;
use serde_json::json;

use super::say;
use crate::config::Config;
use crate::evidence;
use crate::export::{self, Verdict};

/// Arguments of `agentworks verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file that `agentworks export` wrote.
    file: PathBuf,
    /// A key that is known to be the installation's, or a file with such keys. Without it, those of the data folder, if it
    /// has any. Several may be given.
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stderr, reason = "why there is no answer")]
pub(super) fn run(config: Option<&Path>, args: &Args) -> ExitCode {
    let started = Instant::now();
    let checked = anchors(config, &args.key).and_then(|anchors| {
        export::check(&args.file, &anchors, None).with_context(|| format!("cannot check {}", args.file.display()))
    });
    let said = checked.and_then(|verdict| {
        let answer = if args.json { in_json(&verdict) } else { in_words(&verdict, started) };
        say(format_args!("{answer}")).context("the answer cannot be written")?;
        Ok(verdict.outcome.is_ok())
    });
    match said {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("agentworks: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The keys that are known to be the installation's.
pub(super) fn anchors(config: Option<&Path>, named: &[String]) -> anyhow::Result<Vec<PublicKey>> {
    if named.is_empty() {
        // No configuration is needed; one that is there may know the keys.
        return Config::load(config).map_or_else(|_| Ok(Vec::new()), |config| evidence::known(&config));
    }
    let mut keys = Vec::new();
    for named in named {
        if let Ok(key) = named.parse() {
            keys.push(key);
            continue;
        }
        let text = std::fs::read_to_string(named)
            .with_context(|| format!("--key {named}: neither a key (base64 of 32 bytes, or NAME+ID+KEY) nor a file"))?;
        let found: Vec<PublicKey> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if found.is_empty() {
            bail!("--key {named}: there is no key in this file");
        }
        keys.extend(found);
    }
    Ok(keys)
}

/// What is to be known beside the answer.
fn warnings(verdict: &Verdict) -> Vec<String> {
    let mut warnings = Vec::new();
    let Ok(report) = &verdict.outcome else { return warnings };
    if !report.vouched {
        warnings.push(format!(
            "the signer is not vouched for: no key is known to be the installation's. Compare these keys with what it has \
             told you, or name one with --key: {}",
            report.keys.join(", ")
        ));
    }
    if !verdict.as_written {
        warnings
            .push("the file has no checksum at its end: it was packed again since, or that end was cut off".to_owned());
    }
    warnings
}

fn in_json(verdict: &Verdict) -> String {
    let answer = match &verdict.outcome {
        Ok(report) => json!({ "ok": true, "report": report, "warnings": warnings(verdict) }),
        Err(failure) => json!({ "ok": false, "failure": failure }),
    };
    format!("{answer:#}")
}

fn in_words(verdict: &Verdict, started: Instant) -> String {
    match &verdict.outcome {
        Ok(report) => right(report, &warnings(verdict), started),
        Err(failure) => wrong(failure),
    }
}

fn right(report: &Report, warnings: &[String], started: Instant) -> String {
    let mut text = format!(
        "right: {} events of {} in {} streams are what was signed\n  checkpoints  {}, the last over all events\n  \
         root         {}\n  signed by    {}\n  took         {:.1} s",
        report.manifest.events,
        report.manifest.tenant,
        report.streams,
        report.checkpoints,
        report.root,
        report.keys.join(", "),
        started.elapsed().as_secs_f64()
    );
    for warning in warnings {
        text = format!("{text}\nwarning: {warning}");
    }
    text
}

fn wrong(failure: &Failure) -> String {
    let mut text = format!("WRONG: {failure}");
    if let Some(since) = failure.since {
        text = format!("{text}\n  all before index {since} is what was signed; the change is there or after");
    }
    text
}
