//! Ends what nobody holds any more: attempts whose worker is gone, runs that no worker takes.
//!
//! Several processes may reap at once: the commands are keyed, and the run's aggregate takes each but once. Never: a
//! job of a live holder.

use std::time::Duration;

use domain::environment::EnvironmentCommand;
use domain::run::{FailureKind, Run, RunCommand, Timeout};
use domain::value::{Reason, Text};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::queue::{self, Job, Stale};
use super::wake::LOOK;
use crate::control::{Control, settled};

/// Jobs that are looked at in one go.
const PAGE: i64 = 100;
const LOST: &str = "the environment stopped without reporting a result: the worker that ran it is gone";

/// Reaps until `shutdown`.
pub(crate) async fn run(pool: PgPool, control: Control, dispatch_timeout: Duration, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = round(&pool, &control, dispatch_timeout).await {
            warn!(%error, "lost runs are not looked for while the database is away");
        }
        shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await;
    }
}

async fn round(pool: &PgPool, control: &Control, dispatch_timeout: Duration) -> Result<(), sqlx::Error> {
    for job in queue::lost(pool, None, PAGE).await? {
        reap(pool, control, &job).await?;
    }
    for stale in queue::stale(pool, dispatch_timeout, PAGE).await? {
        give_up(control, &stale, dispatch_timeout).await;
    }
    Ok(())
}

/// Reaps what `holder` held in an earlier life. To be called before its new life claims anything.
///
/// # Errors
/// When the database is away.
pub(crate) async fn reap_former_self(pool: &PgPool, control: &Control, holder: Uuid) -> Result<(), sqlx::Error> {
    let jobs = queue::lost(pool, Some(holder), i64::from(i32::MAX)).await?;
    for job in &jobs {
        info!(run = %job.run, attempt = job.attempt, "an earlier process of this worker left a run behind");
        reap(pool, control, job).await?;
    }
    Ok(())
}

/// Ends the attempt that a lost job stands for. The queue follows from the events.
pub(crate) async fn reap(pool: &PgPool, control: &Control, job: &Job) -> Result<(), sqlx::Error> {
    let Ok(run) = control.load_run(job.tenant, job.run).await else { return Ok(()) };
    let fail = EnvironmentCommand::Fail { reason: Reason::cut(LOST) };
    let told = control.tell_environment(job.tenant, job.environment, "fail", &job.origin, &fail).await;
    if !settled("ending an environment", job.run, &told) {
        // Without the job nobody would know of the environment: it stays for the next round.
        return Ok(());
    }
    match run {
        Run::Active { attempt, .. } => {
            let command = RunCommand::LoseAttempt {
                attempt: attempt.number,
                kind: FailureKind::PodLost,
                reason: Reason::cut(LOST),
                log_tail: Text::tail("", 0),
            };
            let told = control.tell_run(job.tenant, job.run, (attempt.number, "reap"), &job.origin, &command).await;
            settled("ending a lost attempt", job.run, &told);
        }
        // Claimed, but never dispatched; or the event of its loss is still on its way.
        Run::Queued { attempts_lost, .. } => {
            queue::release(pool, job.tenant, job.run, job.environment, attempts_lost + 1).await?;
        }
        Run::Ended { .. } | Run::Absent => {
            queue::forget(pool, &[job]).await?;
        }
    }
    Ok(())
}

async fn give_up(control: &Control, stale: &Stale, dispatch_timeout: Duration) {
    let lost = stale.attempt.saturating_sub(1);
    let command = RunCommand::TimeOut {
        attempt: lost,
        timeout: Timeout::Dispatch,
        after_seconds: u32::try_from(dispatch_timeout.as_secs()).unwrap_or(u32::MAX),
    };
    let step = (lost, "dispatch-timeout");
    let told = control.tell_run(stale.tenant, stale.run, step, &stale.origin, &command).await;
    settled("giving up a run that no worker took", stale.run, &told);
}
