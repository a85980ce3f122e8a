//! What may be asked of a run.

use super::task::{FailureKind, StepKind, Task, TaskOutcome, Timeout};
use crate::personal::PersonalText;
use crate::value::{ModelName, Reason, Text};
use crate::{Actor, EnvironmentId, ProviderId};

/// The commands of a [`Run`](super::Run). What names an attempt is refused when that attempt is not the current one,
/// so a worker or a pod that comes back late can do no harm.
#[derive(Debug, Clone, PartialEq)]
pub enum RunCommand {
    /// Brings the run into being.
    Queue {
        /// What to do.
        task: Box<Task>,
        /// Who asked for it.
        requested_by: Actor,
    },
    /// Gives the next attempt to an environment.
    Dispatch {
        /// The number that the caller believes to be the next; from 1.
        attempt: u32,
        /// Where it will run.
        environment: EnvironmentId,
    },
    /// The pod took the job. Repeating it changes nothing.
    Start {
        /// The current attempt.
        attempt: u32,
    },
    /// The agent did something. Repeating a number changes nothing.
    RecordStep {
        /// The current attempt.
        attempt: u32,
        /// The step's number: the last one and 1.
        number: u32,
        /// What kind of thing.
        kind: StepKind,
        /// One line for people.
        title: Reason,
        /// The end of what came of it.
        detail: Text,
        /// Whether it went well.
        ok: bool,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// A model was called and paid for; taken even after the run has ended, since the tokens were spent.
    RecordModelCall {
        /// The attempt that called.
        attempt: u32,
        /// Whose account paid.
        provider: ProviderId,
        /// The model that answered.
        model: ModelName,
        /// Tokens read, without those from a cache.
        input_tokens: u64,
        /// Tokens written.
        output_tokens: u64,
        /// Tokens read from a cache.
        cache_read_tokens: u64,
        /// Tokens written to a cache.
        cache_write_tokens: u64,
        /// The vendor's HTTP status.
        status: u16,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// The attempt succeeded. Repeating it with the same commit changes nothing.
    Succeed {
        /// The current attempt.
        attempt: u32,
        /// What it left behind.
        outcome: Box<TaskOutcome>,
    },
    /// The attempt failed for good.
    Fail {
        /// The current attempt; 0 when none was dispatched.
        attempt: u32,
        /// The kind of failure.
        kind: FailureKind,
        /// For people.
        reason: Reason,
        /// The end of the log.
        log_tail: Text,
    },
    /// The attempt died without a result: another one follows, or the run fails when it was the last.
    LoseAttempt {
        /// The current attempt.
        attempt: u32,
        /// [`FailureKind::PodLost`] or [`FailureKind::EnvironmentFailed`]: how the run fails if this was the last attempt.
        kind: FailureKind,
        /// What is known of its end.
        reason: Reason,
        /// The end of the log.
        log_tail: Text,
    },
    /// A clock ran out.
    TimeOut {
        /// The current attempt; 0 when none was dispatched.
        attempt: u32,
        /// Which clock.
        timeout: Timeout,
        /// Its bound, in seconds.
        after_seconds: u32,
    },
    /// Somebody wants it stopped. Repeating it changes nothing.
    Cancel {
        /// Why, if it was said.
        reason: Option<PersonalText>,
    },
}
