//! What a run is to do, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{CardId, ProjectId, ProviderId, WorkspaceId};
use crate::project::{ExecutionPolicy, Repository};
use crate::provider::ProviderKind;
use crate::value::{Branch, CommitSha, ModelName, Text, Title};

/// Everything that a run needs to know, as it was when the run was asked for. Later edits of card, project or
/// provider do not change a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// The workspace of the project.
    pub workspace: WorkspaceId,
    /// The project.
    pub project: ProjectId,
    /// The card that is run.
    pub card: CardId,
    /// The card's title.
    pub title: Title,
    /// The card's description.
    pub description: Text,
    /// What the assigned agent is told besides.
    pub instructions: Option<Text>,
    /// Where the code lives.
    pub repository: Repository,
    /// The branch that will be pushed: `aw/<card>/<run>`.
    pub branch: Branch,
    /// Whose account pays for the model.
    pub provider: ProviderId,
    /// The vendor's protocol.
    pub provider_kind: ProviderKind,
    /// The model to use.
    pub model: ModelName,
    /// The bounds.
    pub policy: ExecutionPolicy,
}

/// What a successful attempt left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskOutcome {
    /// The branch that was pushed.
    pub branch: Branch,
    /// The commit it started from.
    pub base_commit: CommitSha,
    /// The commit with the work.
    pub work_commit: CommitSha,
    /// The head of the pushed branch: the work and the context.
    pub head_commit: CommitSha,
    /// What was done, in the agent's words.
    pub summary: Text,
    /// Paths of the files that changed, sorted, at most 1,000.
    pub files_changed: Vec<String>,
    /// Where the context stands in the repository.
    pub context_path: String,
    /// SHA-256 of the context file's bytes, hexadecimal.
    pub context_sha256: String,
    /// Which attempt pushed: an earlier one when its result was lost after its push.
    pub pushed_by_attempt: u32,
}

/// What kind of thing a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Getting the repository.
    Clone,
    /// An answer of the model.
    Model,
    /// A tool that the model called.
    Tool,
    /// The project's own tests, run as the last check.
    Check,
    /// Writing commits.
    Commit,
    /// Sending the branch.
    Push,
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The repository could not be cloned.
    CloneFailed,
    /// The model's vendor answered with an error, or not at all.
    ModelError,
    /// The agent asked for a tool that the policy forbids.
    ToolRefused,
    /// The project's tests failed at the end.
    TestsFailed,
    /// The agent ended without changing anything.
    NothingChanged,
    /// The agent used up its steps.
    StepLimit,
    /// The agent said that it cannot do the task.
    GaveUp,
    /// The repository did not take the push.
    PushRejected,
    /// The pod died, in every attempt.
    PodLost,
    /// The environment could not be started.
    EnvironmentFailed,
    /// A defect of the system itself.
    Internal,
}

impl FailureKind {
    /// Its name as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloneFailed => "clone_failed",
            Self::ModelError => "model_error",
            Self::ToolRefused => "tool_refused",
            Self::TestsFailed => "tests_failed",
            Self::NothingChanged => "nothing_changed",
            Self::StepLimit => "step_limit",
            Self::GaveUp => "gave_up",
            Self::PushRejected => "push_rejected",
            Self::PodLost => "pod_lost",
            Self::EnvironmentFailed => "environment_failed",
            Self::Internal => "internal",
        }
    }
}

/// Which clock ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Timeout {
    /// No worker took it in time.
    Dispatch,
    /// The pod did not take the job in time.
    Start,
    /// The attempt as a whole.
    Run,
}
