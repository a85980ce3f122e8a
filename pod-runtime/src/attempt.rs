//! One attempt, from the job to the report.
//!
//! Guarantees: the branch is looked for before any work, so that work whose report was lost is reported and not done
//! again; the result is reported once; when the control plane says that the attempt is over, everything stops at once and
//! nothing is pushed or reported; when an attempt ends, no process of it is left.

use std::sync::Arc;
use std::time::Duration;

use schemas::pod::{Failure, GRACE_SECONDS, Job, Report, STEP_DETAIL_BYTES, exit};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::boot::Told;
use crate::control_plane::{CallError, ControlPlane};
use crate::failure::Stop;
use crate::git::Repository;
use crate::journal::{Journal, Teller};
use crate::process::kill_descendants;
use crate::pulse::Pulse;
use crate::telemetry::Handle;
use crate::text::tail;
use crate::work::Attempt;

/// How long the control plane may be away before there is a job.
const JOB: Duration = Duration::from_secs(60);
/// How long it may be away when there is a result.
const REPORT: Duration = Duration::from_secs(120);
/// How long the last steps may take to be told.
const LAST_STEPS: Duration = Duration::from_secs(30);

/// Runs the attempt; the process's exit code.
pub(crate) async fn run(told: &Told, control_plane: &ControlPlane, telemetry: &Handle) -> u8 {
    let job = match control_plane.job(JOB).await {
        Ok(job) => job,
        Err(error) => {
            tracing::error!(%error, "there is no job");
            return if matches!(error, CallError::Over(_)) { exit::OVER } else { exit::NO_JOB };
        }
    };
    tracing::info!(run = %job.run, attempt = job.attempt, card = %job.card, model = job.model, "the job");
    let pulse = Arc::new(Pulse::new());
    let life = Duration::from_secs(u64::from(job.limits.max_run_seconds));
    let deadline = Instant::now() + life;
    let work = work_and_report(told, &job, control_plane, telemetry, deadline, &pulse);
    let over = async {
        // The pulse goes on until the attempt is over for whatever reason.
        tokio::select! { () = pulse.beat(control_plane) => {}, _ = pulse.over() => {} }
        pulse.over().await
    };
    let code = tokio::select! {
        biased;
        code = work.in_current_span() => code,
        why = over => {
            tracing::warn!(why, "the attempt is over");
            exit::OVER
        }
        () = tokio::time::sleep_until(deadline + Duration::from_secs(GRACE_SECONDS)) => {
            tracing::error!(seconds = life.as_secs(), "the time is up");
            exit::OUT_OF_TIME
        }
    };
    kill_descendants().await;
    code
}

async fn work_and_report(
    told: &Told,
    job: &Job,
    control_plane: &ControlPlane,
    telemetry: &Handle,
    deadline: Instant,
    pulse: &Arc<Pulse>,
) -> u8 {
    let worked = match open(told, control_plane, pulse) {
        Ok((repository, mut journal, teller)) => {
            let worked = Attempt { told, job, control_plane, repository, deadline }.work(&mut journal).await;
            // The teller ends when it has told all that was written.
            drop(journal);
            if tokio::time::timeout(LAST_STEPS, teller).await.is_err() {
                tracing::warn!("the last steps could not be told");
            }
            worked
        }
        Err(error) => Err(error.into()),
    };
    let report = match worked {
        Ok(outcome) => Report::Succeeded(outcome),
        Err(Stop::Over(why)) => {
            tracing::warn!(why, "the attempt is over");
            return exit::OVER;
        }
        Err(Stop::Failed { kind, reason, output }) => {
            tracing::error!(kind = kind.as_str(), reason, "the attempt failed");
            let log_tail = output.unwrap_or_else(|| telemetry.log_tail());
            let log_tail = control_plane.token().redact(&log_tail).replace('\0', "\u{fffd}");
            let reason = control_plane.token().redact(&reason);
            Report::Failed(Failure { kind, reason, log_tail: tail(&log_tail, STEP_DETAIL_BYTES).to_owned() })
        }
    };
    match control_plane.report(&report, REPORT).await {
        Ok(()) => exit::REPORTED,
        Err(error) => {
            tracing::error!(%error, "the result could not be reported");
            if matches!(error, CallError::Over(_)) { exit::OVER } else { exit::UNREPORTED }
        }
    }
}

/// Makes the folders of the attempt and starts its journal.
fn open(
    told: &Told,
    control_plane: &ControlPlane,
    pulse: &Arc<Pulse>,
) -> std::io::Result<(Repository, Journal, Teller)> {
    let own = told.workspace.join("pod");
    if own.symlink_metadata().is_ok() {
        std::fs::remove_dir_all(&own)?;
    }
    std::fs::create_dir_all(&own)?;
    std::fs::create_dir_all(told.workspace.join("home"))?;
    let repository = Repository::prepare(&told.workspace, &told.path, control_plane)?;
    let (journal, teller) = Journal::start(&own.join("journal.jsonl"), control_plane, Arc::clone(pulse))?;
    Ok((repository, journal, teller))
}
