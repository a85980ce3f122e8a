//! A run's rules.

use super::task::FailureKind;
use super::{
    Attempt, Ending, Run, RunAttemptLost, RunCancelled, RunCommand, RunDispatched, RunEvent, RunFailed, RunModelCalled,
    RunQueued, RunRefusal, RunStarted, RunStepRecorded, RunSucceeded, RunTimedOut,
};
use crate::value::{Reason, Text};

type Decision = Result<Vec<RunEvent>, RunRefusal>;

pub(super) fn decide(run: &Run, command: RunCommand) -> Decision {
    match command {
        RunCommand::Queue { task, requested_by } => match run {
            Run::Absent => Ok(vec![RunQueued { task: *task, requested_by }.into()]),
            _ => Err(RunRefusal::AlreadyExists),
        },
        RunCommand::Dispatch { attempt, environment } => match run {
            Run::Absent => Err(RunRefusal::NotFound),
            Run::Queued { attempts_lost, .. } if attempt == attempts_lost + 1 => {
                Ok(vec![RunDispatched { attempt, environment }.into()])
            }
            Run::Queued { attempts_lost, .. } => {
                Err(RunRefusal::NotTheCurrentAttempt { given: attempt, current: attempts_lost + 1 })
            }
            Run::Active { attempt: current, .. } => Err(RunRefusal::AttemptUnderWay(current.number)),
            Run::Ended { ending, .. } => Err(ended(ending)),
        },
        RunCommand::Start { attempt } => {
            let current = current(run, attempt)?;
            Ok(if current.started { vec![] } else { vec![RunStarted { attempt }.into()] })
        }
        RunCommand::RecordStep { attempt, number, kind, title, detail, ok, duration_ms } => {
            let current = started(run, attempt)?;
            if number <= current.last_step {
                return Ok(vec![]);
            }
            if number != current.last_step + 1 {
                return Err(RunRefusal::StepOutOfOrder { given: number, last: current.last_step });
            }
            Ok(vec![RunStepRecorded { attempt, number, kind, title, detail, ok, duration_ms }.into()])
        }
        RunCommand::RecordModelCall {
            attempt,
            provider,
            model,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            status,
            duration_ms,
        } => match run {
            Run::Absent => Err(RunRefusal::NotFound),
            _ => Ok(vec![
                RunModelCalled {
                    attempt,
                    provider,
                    model,
                    input_tokens,
                    output_tokens,
                    cache_read_tokens,
                    cache_write_tokens,
                    status,
                    duration_ms,
                }
                .into(),
            ]),
        },
        RunCommand::Succeed { attempt, outcome } => succeed(run, attempt, *outcome),
        RunCommand::Fail { attempt, kind, reason, log_tail } => {
            open(run, attempt)?;
            Ok(vec![RunFailed { attempt, kind, reason, log_tail }.into()])
        }
        RunCommand::LoseAttempt { attempt, kind, reason, log_tail } => lose(run, attempt, kind, reason, log_tail),
        RunCommand::TimeOut { attempt, timeout, after_seconds } => {
            open(run, attempt)?;
            Ok(vec![RunTimedOut { attempt, timeout, after_seconds }.into()])
        }
        RunCommand::Cancel { reason } => match run {
            Run::Absent => Err(RunRefusal::NotFound),
            Run::Queued { .. } | Run::Active { .. } => Ok(vec![RunCancelled { reason }.into()]),
            Run::Ended { ending: Ending::Cancelled, .. } => Ok(vec![]),
            Run::Ended { ending, .. } => Err(ended(ending)),
        },
    }
}

fn succeed(run: &Run, attempt: u32, outcome: super::TaskOutcome) -> Decision {
    if let Run::Ended { ending: Ending::Succeeded(known), .. } = run
        && known.head_commit == outcome.head_commit
    {
        return Ok(vec![]);
    }
    started(run, attempt)?;
    match run.task() {
        Some(task) if task.branch != outcome.branch => Err(RunRefusal::ForeignBranch(task.branch.to_string())),
        _ => Ok(vec![RunSucceeded { attempt, outcome }.into()]),
    }
}

fn lose(run: &Run, attempt: u32, kind: FailureKind, reason: Reason, log_tail: Text) -> Decision {
    current(run, attempt)?;
    let last = run.task().is_none_or(|task| attempt >= task.policy.max_attempts);
    Ok(vec![if last {
        RunFailed { attempt, kind, reason, log_tail }.into()
    } else {
        RunAttemptLost { attempt, reason }.into()
    }])
}

/// The attempt that is under way, when it is this one.
fn current(run: &Run, attempt: u32) -> Result<&Attempt, RunRefusal> {
    match run {
        Run::Absent => Err(RunRefusal::NotFound),
        Run::Active { attempt: current, .. } if current.number == attempt => Ok(current),
        Run::Ended { ending, .. } => Err(ended(ending)),
        _ => Err(RunRefusal::NotTheCurrentAttempt { given: attempt, current: run.attempt_number() }),
    }
}

/// Like [`current`], and the pod has taken the job.
fn started(run: &Run, attempt: u32) -> Result<&Attempt, RunRefusal> {
    let current = current(run, attempt)?;
    if current.started { Ok(current) } else { Err(RunRefusal::NotStarted(attempt)) }
}

/// The run has not ended, and `attempt` is its current one (or the last one, while it waits in the queue).
fn open(run: &Run, attempt: u32) -> Result<(), RunRefusal> {
    match run {
        Run::Absent => Err(RunRefusal::NotFound),
        Run::Ended { ending, .. } => Err(ended(ending)),
        _ if run.attempt_number() == attempt => Ok(()),
        _ => Err(RunRefusal::NotTheCurrentAttempt { given: attempt, current: run.attempt_number() }),
    }
}

fn ended(ending: &Ending) -> RunRefusal {
    RunRefusal::Ended(match ending {
        Ending::Succeeded(_) => "succeeded",
        Ending::Failed(_) => "failed",
        Ending::TimedOut => "timed out",
        Ending::Cancelled => "was cancelled",
    })
}
