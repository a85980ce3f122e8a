//! The context: the record that a run leaves on its card, in the repository itself.
//!
//! It is committed by the pod at [`path`] right after the work, so that it travels with the code. Its SHA-256 is in the
//! run's last event. Guarantees: written once, by the attempt that pushes; from it the result can be told again when the
//! report of that attempt was lost. Never holds what a tool or a model said in full: only digests of it.

use domain::id::{CardId, ProjectId, RunId};
use domain::run::StepKind;
use domain::value::{Branch, CommitSha, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::pod::ModelProtocol;

/// The version of [`Context`] that is written today.
pub const VERSION: u32 = 1;

/// Where a run's context stands in its repository.
pub fn path(card: CardId, run: RunId) -> String {
    format!("{FOLDER}/{card}/{run}.context.json")
}

/// The folder of all contexts in a repository. No agent writes there.
pub const FOLDER: &str = ".agentworks/cards";

/// What a run did, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Context {
    /// [`VERSION`].
    pub version: u32,
    /// The project.
    pub project: ProjectId,
    /// The card.
    pub card: CardId,
    /// The run.
    pub run: RunId,
    /// The attempt that pushed, from 1.
    pub attempt: u32,
    /// The card's title as the run was told it.
    pub title: String,
    /// The model that did the work.
    pub model: Model,
    /// When the attempt took the job.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub started_at: OffsetDateTime,
    /// When the work was committed.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub finished_at: OffsetDateTime,
    /// The branch that the work started from.
    pub base_branch: Branch,
    /// The commit that it started from.
    pub base_commit: CommitSha,
    /// The branch with the work.
    pub branch: Branch,
    /// The commit with the work; the context's own commit follows it.
    pub work_commit: CommitSha,
    /// What was done, in the agent's words.
    pub summary: Text,
    /// Paths of the files that changed, sorted, at most 1,000.
    pub files_changed: Vec<String>,
    /// What the attempt did, in order.
    pub steps: Vec<Step>,
    /// What the model used, as the pod saw it.
    pub tokens: Tokens,
    /// The project's own tests, when the project names them.
    pub tests: Option<Tests>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// The protocol it was spoken to in.
    pub protocol: ModelProtocol,
    /// Its name as the vendor writes it.
    pub name: String,
}

/// One thing that the attempt did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// 1, 2, 3 …
    pub number: u32,
    /// What kind of thing.
    pub kind: StepKind,
    /// One line for people.
    pub title: String,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// SHA-256 of all that came of it (a command's whole output, a model's whole text), hexadecimal.
    pub output_sha256: String,
}

/// Tokens, as the vendor counted them. What a vendor did not tell is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    /// Answers of the model.
    pub model_calls: u32,
    /// Read by the model, the cached ones included.
    pub input: u64,
    /// Of these, read from the vendor's cache.
    pub cached_input: u64,
    /// Written by the model.
    pub output: u64,
}

/// The last run of the project's tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tests {
    /// The command.
    pub command: String,
    /// Whether they passed.
    pub passed: bool,
    /// How often they were run as the last check.
    pub runs: u32,
}
