//! What may have happened to a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::task::{FailureKind, StepKind, Task, TaskOutcome, Timeout};
use crate::EnvironmentId;
use crate::personal::PersonalText;
use crate::value::{ModelName, Reason, Text};
use crate::{Actor, ProviderId};

crate::events! {
    /// The events of a [`Run`](super::Run).
    pub enum RunEvent {
        /// Waiting for a worker.
        Queued(RunQueued) = 1,
        /// A worker took it.
        Dispatched(RunDispatched) = 1,
        /// The pod took the job.
        Started(RunStarted) = 1,
        /// The agent did something.
        StepRecorded(RunStepRecorded) = 1,
        /// A model was called.
        ModelCalled(RunModelCalled) = 1,
        /// The attempt died without a result; another follows.
        AttemptLost(RunAttemptLost) = 1,
        /// The work is on its branch.
        Succeeded(RunSucceeded) = 1,
        /// It ended without success.
        Failed(RunFailed) = 1,
        /// It took too long.
        TimedOut(RunTimedOut) = 1,
        /// Somebody stopped it.
        Cancelled(RunCancelled) = 2,
    }
}

/// The run waits for a worker. First event of every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunQueued {
    /// Everything that the run needs to know, as it was when it was asked for.
    #[serde(flatten)]
    pub task: Task,
    /// Who asked for it.
    pub requested_by: Actor,
}

/// A worker took the run and prepares an environment for an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunDispatched {
    /// From 1.
    pub attempt: u32,
    /// Where the attempt will run.
    pub environment: EnvironmentId,
}

/// The pod took the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunStarted {
    /// From 1.
    pub attempt: u32,
}

/// The agent did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunStepRecorded {
    /// Which attempt did it.
    pub attempt: u32,
    /// 1, 2, 3 … within the attempt.
    pub number: u32,
    /// What kind of thing.
    pub kind: StepKind,
    /// One line for people.
    pub title: Reason,
    /// The end of what came of it.
    pub detail: Text,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// A model was called through the provider gateway, which counted the tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunModelCalled {
    /// Which attempt called.
    pub attempt: u32,
    /// Whose account paid.
    pub provider: ProviderId,
    /// The model that answered, as the vendor named it.
    pub model: ModelName,
    /// Tokens read, without those from a cache.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the vendor's cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the vendor's cache.
    pub cache_write_tokens: u64,
    /// The vendor's HTTP status.
    pub status: u16,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// The attempt died without a result; the run waits for the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunAttemptLost {
    /// Which attempt.
    pub attempt: u32,
    /// What is known of its end.
    pub reason: Reason,
}

/// The work is on its branch. Ends the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSucceeded {
    /// Which attempt reported it.
    pub attempt: u32,
    /// What it left behind.
    #[serde(flatten)]
    pub outcome: TaskOutcome,
}

/// The run ended without success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunFailed {
    /// Which attempt; 0 when it failed before the first.
    pub attempt: u32,
    /// The kind of failure.
    pub kind: FailureKind,
    /// For people: what went wrong and, where known, what to do.
    pub reason: Reason,
    /// The end of the log.
    pub log_tail: Text,
}

/// The run took too long. Ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunTimedOut {
    /// Which attempt; 0 when none was dispatched in time.
    pub attempt: u32,
    /// Which clock ran out.
    pub timeout: Timeout,
    /// The bound, in seconds.
    pub after_seconds: u32,
}

/// Somebody stopped the run. Ends it.
///
/// Version 1 had a readable `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunCancelled {
    /// Why, if it was said.
    pub reason: Option<PersonalText>,
}
