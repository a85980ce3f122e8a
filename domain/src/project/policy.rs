//! The bounds of a project's runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{Invalid, Text};

/// What an agent may do in its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// List files.
    ListFiles,
    /// Read a file.
    ReadFile,
    /// Create or replace a file.
    WriteFile,
    /// Replace a passage of a file.
    EditFile,
    /// Search in files.
    SearchFiles,
    /// Run a command.
    RunCommand,
}

impl Tool {
    /// Every tool.
    pub const ALL: [Self; 6] =
        [Self::ListFiles, Self::ReadFile, Self::WriteFile, Self::EditFile, Self::SearchFiles, Self::RunCommand];

    /// Its name as in JSON, and as the model calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListFiles => "list_files",
            Self::ReadFile => "read_file",
            Self::WriteFile => "write_file",
            Self::EditFile => "edit_file",
            Self::SearchFiles => "search_files",
            Self::RunCommand => "run_command",
        }
    }
}

/// The bounds of a project's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionPolicy {
    /// What the agent may do.
    pub allowed_tools: Vec<Tool>,
    /// Model calls a run may make.
    pub max_steps: u32,
    /// Seconds of wall clock for an attempt.
    pub max_run_seconds: u32,
    /// Seconds for one command.
    pub command_timeout_seconds: u32,
    /// Tokens that one model answer may have.
    pub max_output_tokens: u32,
    /// Memory of the environment, in MiB.
    pub memory_mib: u32,
    /// Processes in the environment.
    pub max_processes: u32,
    /// Runs of the project that may be queued or under way at the same time.
    pub max_active_runs: u32,
    /// Attempts of a run, when one dies without a result.
    pub max_attempts: u32,
    /// The command that runs the project's tests; a run succeeds only if it does. None: no such check.
    pub test_command: Option<Text>,
}

impl Default for ExecutionPolicy {
    fn default() -> Self {
        Self {
            allowed_tools: Tool::ALL.to_vec(),
            max_steps: 50,
            max_run_seconds: 900,
            command_timeout_seconds: 300,
            max_output_tokens: 8_192,
            memory_mib: 2_048,
            max_processes: 256,
            max_active_runs: 10,
            max_attempts: 2,
            test_command: None,
        }
    }
}

impl ExecutionPolicy {
    /// The same, when every bound is within reason.
    ///
    /// # Errors
    /// `policy_out_of_range`, naming the bound and its range.
    pub fn checked(mut self) -> Result<Self, Invalid> {
        let ranges = [
            ("policy.max_steps", self.max_steps, 1, 500),
            ("policy.max_run_seconds", self.max_run_seconds, 1, 24 * 3_600),
            ("policy.command_timeout_seconds", self.command_timeout_seconds, 1, 3_600),
            ("policy.max_output_tokens", self.max_output_tokens, 256, 128_000),
            ("policy.memory_mib", self.memory_mib, 64, 1_048_576),
            ("policy.max_processes", self.max_processes, 16, 32_768),
            ("policy.max_active_runs", self.max_active_runs, 1, 1_000),
            ("policy.max_attempts", self.max_attempts, 1, 10),
        ];
        for (field, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                let problem = format!("must be from {low} to {high}, not {value}");
                return Err(Invalid { field, code: "policy_out_of_range", problem });
            }
        }
        self.allowed_tools.sort_unstable();
        self.allowed_tools.dedup();
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_within_reason_and_a_zero_is_not() {
        let policy = ExecutionPolicy::default().checked().unwrap();
        let refused = ExecutionPolicy { max_steps: 0, ..policy }.checked().unwrap_err();
        assert_eq!((refused.field, refused.code), ("policy.max_steps", "policy_out_of_range"));
    }
}
