//! The agent's tools: what it can do to its worktree, and nothing else.
//!
//! Guarantees: paths stay inside the worktree; what a tool answers is bounded; a wrong input is an answer that the model
//! can learn from. Never: answers with a secret (the pod's own files are outside, and its memory is closed).

mod catalog;
mod files;
mod place;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) use catalog::{Definition, FINISH, Finish, definitions};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use self::place::{Place, PlaceError};
use crate::git::{GitError, Repository};
use crate::process::{Surroundings, shell};
use crate::text::{sha256, tail};

/// Attempts to leave the worktree that end the run.
const MAX_ESCAPES: u32 = 3;

/// What came of a tool call.
#[derive(Debug)]
pub(crate) struct ToolResult {
    /// What the model is told.
    pub(crate) text: String,
    pub(crate) ok: bool,
    /// SHA-256 of the whole output.
    pub(crate) sha256: String,
}

impl ToolResult {
    pub(crate) fn done(text: String) -> Self {
        Self { sha256: sha256(text.as_bytes()), text, ok: true }
    }

    /// A failure that the model is told; it begins with `error:` because not every protocol has a mark for it.
    pub(crate) fn error(text: &str) -> Self {
        Self { ok: false, ..Self::done(format!("error: {text}")) }
    }
}

/// Why a tool did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum ToolError {
    /// The model is told, and may do better.
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Git(#[from] GitError),
    /// The run ends.
    #[error("{0}")]
    Refused(String),
}

/// The tools of one attempt.
pub(crate) struct Toolbox<'a> {
    repository: &'a Repository,
    place: Place,
    allowed: Vec<String>,
    surroundings: Surroundings,
    command_limit: Duration,
    escapes: u32,
    written: BTreeSet<String>,
}

impl<'a> Toolbox<'a> {
    /// `allowed` are the names of the tools that the policy allows; `finish` always is.
    ///
    /// # Errors
    /// When the worktree or the home folder is not there.
    pub(crate) fn new(
        repository: &'a Repository,
        allowed: Vec<String>,
        surroundings: Surroundings,
        command_limit: Duration,
    ) -> std::io::Result<Self> {
        let place = Place::new(repository.worktree())?;
        Ok(Self { repository, place, allowed, surroundings, command_limit, escapes: 0, written: BTreeSet::new() })
    }

    /// The tools to offer to the model.
    pub(crate) fn offered(&self) -> Vec<Definition> {
        let is_offered = |name: &str| name == FINISH || self.allowed.iter().any(|it| it == name);
        definitions().into_iter().filter(|tool| is_offered(tool.name)).collect()
    }

    /// Calls a tool (not `finish`).
    ///
    /// # Errors
    /// With the reason for people, when the run must end: a tool that the policy forbids, or the third attempt to leave
    /// the worktree.
    pub(crate) async fn call(&mut self, name: &str, input: &Value) -> Result<ToolResult, String> {
        match self.try_call(name, input).await {
            Ok(result) => Ok(result),
            Err(ToolError::Refused(reason)) => Err(reason),
            Err(ToolError::Place(PlaceError::Escape(path))) => {
                self.escapes += 1;
                if self.escapes >= MAX_ESCAPES {
                    return Err(format!(
                        "the agent tried to leave its worktree {MAX_ESCAPES} times, at last at `{path}`"
                    ));
                }
                Ok(ToolResult::error(&PlaceError::Escape(path).to_string()))
            }
            Err(error) => Ok(ToolResult::error(&error.to_string())),
        }
    }

    async fn try_call(&mut self, name: &str, input: &Value) -> Result<ToolResult, ToolError> {
        if !definitions().iter().any(|tool| tool.name == name) {
            let names: Vec<&str> = self.offered().iter().map(|tool| tool.name).collect();
            return Err(ToolError::Wrong(format!("there is no tool `{name}`; there are: {}", names.join(", "))));
        }
        if !self.allowed.iter().any(|it| it == name) {
            return Err(ToolError::Refused(format!(
                "the agent asked for the tool `{name}`, which the project's policy forbids"
            )));
        }
        match name {
            "list_files" => self.list_files(parse(name, input)?).await,
            "read_file" => self.read_file(&parse(name, input)?),
            "write_file" => self.write_file(&parse(name, input)?),
            "edit_file" => self.edit_file(&parse(name, input)?),
            "search_files" => self.search_files(parse(name, input)?).await,
            _ => self.run_command(&parse(name, input)?).await,
        }
    }

    async fn run_command(&self, input: &catalog::RunCommand) -> Result<ToolResult, ToolError> {
        let limit = input.timeout_seconds.map_or(self.command_limit, |it| Duration::from_secs(it.max(1)));
        let finished = shell(&input.command, self.place.root(), &self.surroundings, limit.min(self.command_limit))
            .await
            .map_err(|error| ToolError::Wrong(format!("the command could not be started: {error}")))?;
        Ok(ToolResult {
            ok: finished.passed(),
            text: format!("{}\n{}", finished.ending, finished.output),
            sha256: finished.sha256,
        })
    }

    /// The files that were written by tools, as paths in the worktree. They are the agent's work even where Git ignores
    /// them; what commands leave behind is not.
    pub(crate) const fn written(&self) -> &BTreeSet<String> {
        &self.written
    }

    /// Runs the project's own tests.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(crate) async fn check(&self, command: &str) -> std::io::Result<crate::process::Finished> {
        shell(command, self.place.root(), &self.surroundings, self.command_limit).await
    }
}

/// The input as the tool wants it.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, input: &Value) -> Result<T, ToolError> {
    if let Value::String(text) = input {
        // What is no JSON arrives as the text that it is.
        let end = tail(text, 200);
        return Err(ToolError::Wrong(format!("the input of `{name}` is no JSON object; it ends with: {end}")));
    }
    T::deserialize(input).map_err(|error| ToolError::Wrong(format!("the input of `{name}` does not fit: {error}")))
}
