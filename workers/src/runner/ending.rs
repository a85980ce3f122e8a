//! The ways in which an attempt ends, and what is told of each.

use std::time::Duration;

use domain::environment::EnvironmentCommand;
use domain::run::{FailureKind, Run, RunCommand, Timeout};
use domain::value::{Reason, TEXT_BYTES, Text};
use tracing::warn;

use super::attempt::Attempt;
use crate::control::settled;
use crate::jobs::queue;

/// How an attempt ended, as its worker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The log knows the end already: a result, a cancellation, another worker's word.
    Decided,
    /// The environment could not be made.
    NotStarted(String),
    /// The pod is gone without a result.
    Exited(String),
    /// The pod gives no sign of life.
    Silent(Duration),
    /// A clock ran out.
    TimedOut(Timeout, Duration),
    /// This worker could not keep its lease; whoever has it tells the run.
    LeaseLost,
    /// This worker is being stopped.
    ShutDown,
}

impl Ending {
    /// What the run is told; nothing where the log knows, or others tell it.
    fn command(&self, attempt: u32, log_tail: &str) -> Option<(&'static str, RunCommand)> {
        let lose = |kind, reason: &str| {
            let log_tail = Text::tail(log_tail, TEXT_BYTES);
            ("lose", RunCommand::LoseAttempt { attempt, kind, reason: Reason::cut(reason), log_tail })
        };
        match self {
            Self::Decided | Self::LeaseLost => None,
            Self::NotStarted(reason) => {
                Some(lose(FailureKind::EnvironmentFailed, &format!("the environment could not be started: {reason}")))
            }
            Self::Exited(reason) => Some(lose(
                FailureKind::PodLost,
                &format!("the environment stopped without reporting a result: {reason}"),
            )),
            Self::Silent(time) => {
                let reason = format!("the environment gave no sign of life for {} s", time.as_secs());
                Some(lose(FailureKind::PodLost, &reason))
            }
            Self::TimedOut(timeout, bound) => {
                let after_seconds = u32::try_from(bound.as_secs()).unwrap_or(u32::MAX);
                Some(("timeout", RunCommand::TimeOut { attempt, timeout: *timeout, after_seconds }))
            }
            Self::ShutDown => Some(lose(
                FailureKind::PodLost,
                "AgentWorks was stopped while the run was under way; run the card again",
            )),
        }
    }

    /// Why the environment is taken down.
    fn reason(&self) -> String {
        match self {
            Self::Decided => "the attempt has ended".to_owned(),
            Self::NotStarted(reason) | Self::Exited(reason) => reason.clone(),
            Self::Silent(time) => format!("no sign of life for {} s", time.as_secs()),
            Self::TimedOut(timeout, bound) => format!("the {} timeout of {} s", clock_name(*timeout), bound.as_secs()),
            Self::LeaseLost => "its worker lost the lease".to_owned(),
            Self::ShutDown => "AgentWorks was stopped".to_owned(),
        }
    }
}

fn clock_name(timeout: Timeout) -> &'static str {
    match timeout {
        Timeout::Dispatch => "dispatch",
        Timeout::Start => "start",
        Timeout::Run => "run",
    }
}

impl Attempt {
    /// The end of an attempt whose environment never came to be.
    pub(super) async fn end(&self, ending: Ending) {
        warn!(?ending, "an environment could not be started");
        self.tell_environment("fail", &EnvironmentCommand::Fail { reason: Reason::cut(&ending.reason()) }).await;
        self.tell_run(&ending, "").await;
        self.let_go().await;
    }

    /// The end of an attempt whose environment is taken down by now; `left` says what could not be removed.
    pub(super) async fn end_started(&self, ending: Ending, log_tail: &str, left: Option<String>) {
        let died = matches!(ending, Ending::Exited(_) | Ending::Silent(_) | Ending::LeaseLost);
        let reason = ending.reason();
        if let Some(left) = left {
            let reason = Reason::cut(&format!("{reason}; and it was not removed: {left}"));
            self.tell_environment("fail", &EnvironmentCommand::Fail { reason }).await;
        } else if died {
            self.tell_environment("fail", &EnvironmentCommand::Fail { reason: Reason::cut(&reason) }).await;
        } else {
            self.tell_environment("stop", &EnvironmentCommand::Stop { reason: Reason::cut(&reason) }).await;
            self.tell_environment("stopped", &EnvironmentCommand::MarkStopped).await;
        }
        // Last: when the run hears that the attempt is lost, its job is the next attempt's, and knows of no environment.
        self.tell_run(&ending, log_tail).await;
        self.let_go().await;
    }

    /// Deletes the job when its run has ended. A job that stays is the next attempt's, or the reaper's.
    async fn let_go(&self) {
        let Self { runner, job, .. } = self;
        if !matches!(runner.control.load_run(job.tenant, job.run).await, Ok(Run::Ended { .. })) {
            return;
        }
        if let Err(error) = queue::forget(&runner.pool, &[job]).await {
            warn!(%error, "the job of a run that has ended stays until its lease runs out");
        }
    }

    async fn tell_run(&self, ending: &Ending, log_tail: &str) {
        let job = &self.job;
        let Some((step, command)) = ending.command(job.attempt, log_tail) else { return };
        let told = self.runner.control.tell_run(job.tenant, job.run, (job.attempt, step), &job.origin, &command).await;
        if settled("ending an attempt", job.run, &told) {
            return;
        }
        // So that the reaper need not wait for it.
        let soon = Duration::from_secs(1);
        self.hold.let_go();
        let _runs_out = queue::extend(&self.runner.pool, self.runner.settings.holder, &[job.environment], soon).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_that_the_log_does_not_know_is_told_with_a_reason() {
        let told = |ending: Ending| ending.command(2, "log");
        assert_eq!(told(Ending::Decided), None);
        assert_eq!(told(Ending::LeaseLost), None);
        let Some((_, RunCommand::LoseAttempt { attempt: 2, kind: FailureKind::PodLost, reason, log_tail })) =
            told(Ending::Exited("the pod was killed by signal 9".to_owned()))
        else {
            panic!("an exit loses the attempt")
        };
        assert!(reason.as_str().ends_with("killed by signal 9"), "{reason}");
        assert_eq!(log_tail.as_str(), "log");
        let bound = Duration::from_secs(900);
        let Some((_, command)) = told(Ending::TimedOut(Timeout::Run, bound)) else { panic!("a timeout ends the run") };
        assert_eq!(command, RunCommand::TimeOut { attempt: 2, timeout: Timeout::Run, after_seconds: 900 });
    }
}
