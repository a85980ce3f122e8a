//! The protocol between a pod and the control plane. The pod dials out; nothing dials in.
//!
//! Every request carries `Authorization: Bearer <pod token>` (the model vendors' own headers are taken as well at
//! [`path::MODELS`]) and, when tracing, a `traceparent`. An answer of 401, 403 or 410 means that this attempt is over:
//! the pod stops at once and pushes nothing.

pub use domain::id::{CardId, ProjectId, RunId};
pub use domain::run::{FailureKind, StepKind, TaskOutcome};
pub use domain::value::{Branch, CommitSha, TEXT_BYTES, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Paths, below the control plane's pod address.
pub mod path {
    /// GET: the job of this token, a [`super::Job`]. Starts the attempt; asking again answers the same.
    pub const JOB: &str = "/pod/v1/job";
    /// POST a [`super::Heartbeat`], answered by a [`super::HeartbeatAnswer`].
    pub const HEARTBEAT: &str = "/pod/v1/heartbeat";
    /// POST a [`super::Step`]. Sending the same number again changes nothing.
    pub const STEPS: &str = "/pod/v1/steps";
    /// POST a [`super::Report`]. Once; sending it again changes nothing.
    pub const RESULT: &str = "/pod/v1/result";
    /// The provider gateway: the vendor's own paths and bodies stand below it (`/v1/messages`, `/v1/chat/completions`).
    pub const MODELS: &str = "/pod/v1/models";
    /// The run's repository over smart HTTP: clone, fetch, and push of the run's own branch only.
    pub const GIT: &str = "/pod/v1/git/repository.git";
    /// POST: OTLP/HTTP traces of the pod, passed on to the collector when there is one.
    pub const TRACES: &str = "/pod/v1/otlp/v1/traces";
}

/// How a pod is started: one JSON line on its standard input, so that the token stands in no argument and no environment variable.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Boot {
    /// The control plane's pod address, such as `http://127.0.0.1:8080`.
    pub control_plane: String,
    /// The pod token.
    pub token: String,
    /// The folder that is the workspace.
    pub workspace: String,
    /// W3C trace context to continue.
    pub traceparent: Option<String>,
    /// Whether to send traces to the control plane.
    pub traces: bool,
}

/// The vendor's protocol that a job's model speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelProtocol {
    /// Anthropic Messages.
    Anthropic,
    /// `OpenAI` Chat Completions.
    #[serde(rename = "openai")]
    OpenAi,
}

/// What a pod is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The run.
    pub run: RunId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// The card that is run.
    pub card: CardId,
    /// Its project.
    pub project: ProjectId,
    /// The card's title.
    pub title: String,
    /// The card's description.
    pub description: String,
    /// What the assigned agent is told besides, if anything.
    pub instructions: Option<String>,
    /// The branch to start from.
    pub base_branch: String,
    /// The branch to push: `aw/<card>/<run>`.
    pub branch: String,
    /// The protocol to speak to [`path::MODELS`].
    pub protocol: ModelProtocol,
    /// The model to name.
    pub model: String,
    /// The command that runs the project's tests, when the project names one.
    pub test_command: Option<String>,
    /// The bounds of the run.
    pub limits: Limits,
    /// The names of the tools that the agent may use.
    pub tools: Vec<String>,
}

/// What bounds a run inside its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Model calls at most.
    pub max_steps: u32,
    /// Seconds of wall clock for the whole attempt.
    pub max_run_seconds: u32,
    /// Seconds for one command.
    pub command_timeout_seconds: u32,
    /// Tokens that one model answer may have.
    pub max_output_tokens: u32,
}

/// A sign of life; at least every [`HEARTBEAT_SECONDS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The number of the last step sent.
    pub last_step: u32,
}

/// How often a pod gives a sign of life.
pub const HEARTBEAT_SECONDS: u64 = 5;

/// Whether to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatAnswer {
    /// False when the run was cancelled or given to another attempt: stop at once.
    pub go_on: bool,
}

/// One thing that the agent did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// 1, 2, 3 … within the attempt.
    pub number: u32,
    /// What kind of thing.
    pub kind: StepKind,
    /// One line for people, such as `run_command: cargo test`.
    pub title: String,
    /// The end of what came of it (output, an answer's text), at most [`STEP_DETAIL_BYTES`].
    pub detail: String,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Bytes that a step's detail may have.
pub const STEP_DETAIL_BYTES: usize = 4 * 1024;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Report {
    /// The work is on the branch.
    Succeeded(TaskOutcome),
    /// It is not, and why.
    Failed(Failure),
}

/// Why an attempt failed, as the pod knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// For people: what went wrong and, where known, what to do.
    pub reason: String,
    /// The end of the log, at most [`STEP_DETAIL_BYTES`].
    pub log_tail: String,
}

/// How the pod's process ends. Only [`REPORTED`](exit::REPORTED) means that the control plane has the result.
pub mod exit {
    /// The result was taken, whether it was a success or a failure.
    pub const REPORTED: u8 = 0;
    /// There was no readable [`super::Boot`] on standard input, or the pod could not be set up.
    pub const BAD_BOOT: u8 = 2;
    /// The control plane said that the attempt is over (cancelled, or given to another one). Nothing was reported.
    pub const OVER: u8 = 10;
    /// [`super::Limits::max_run_seconds`] and [`super::GRACE_SECONDS`] went by. Nothing was reported.
    pub const OUT_OF_TIME: u8 = 11;
    /// The result was not acknowledged in time.
    pub const UNREPORTED: u8 = 12;
    /// The control plane gave no job.
    pub const NO_JOB: u8 = 13;
}

/// How much longer than [`Limits::max_run_seconds`] a pod lives: the control plane is to stop it first, and this is the net.
pub const GRACE_SECONDS: u64 = 10;
