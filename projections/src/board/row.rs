//! The tables of the board.

use domain::card::{AgentProfile, RunResult};
use domain::project::{ExecutionPolicy, Lane};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

use crate::personal;
use crate::table::table;

table! {
    /// A tenant.
    pub struct TenantRow in "tenants" by id {
        /// The tenant.
        pub tenant: Uuid,
        /// The tenant again: it belongs to itself.
        pub id: Uuid,
        /// What people call it.
        pub name: String,
        /// Whether it may read but not work.
        pub suspended: bool,
        /// When it was created, UTC.
        #[serde(with = "rfc3339")]
        pub created_at: OffsetDateTime,
        /// The version of the aggregate.
        pub version: i64,
        /// The position of its last change.
        pub position: i64,
    }
}

table! {
    /// A workspace.
    pub struct WorkspaceRow in "workspaces" by workspace {
        /// Whose it is.
        pub tenant: Uuid,
        /// The workspace.
        pub workspace: Uuid,
        /// What people call it.
        pub name: String,
        /// Whether it takes no new projects.
        pub archived: bool,
        /// When it was created, UTC.
        #[serde(with = "rfc3339")]
        pub created_at: OffsetDateTime,
        /// The version of the aggregate.
        pub version: i64,
        /// The position of its last change.
        pub position: i64,
    }
}

table! {
    /// An account with a model vendor. Its key is nowhere here.
    pub struct ProviderRow in "providers" by provider {
        /// Whose it is.
        pub tenant: Uuid,
        /// The provider.
        pub provider: Uuid,
        /// What people call it.
        pub name: String,
        /// The vendor's protocol: `anthropic` or `openai`.
        pub kind: String,
        /// Where the vendor's API is; the vendor's public address when absent.
        pub base_url: Option<String>,
        /// The model to use where a project names none.
        pub default_model: String,
        /// Whether runs may use it.
        pub enabled: bool,
        /// When it was registered, UTC.
        #[serde(with = "rfc3339")]
        pub created_at: OffsetDateTime,
        /// The version of the aggregate.
        pub version: i64,
        /// The position of its last change.
        pub position: i64,
    }
}

table! {
    /// A project.
    pub struct ProjectRow in "projects" by project {
        /// Whose it is.
        pub tenant: Uuid,
        /// The project.
        pub project: Uuid,
        /// Its workspace.
        pub workspace: Uuid,
        /// What people call it.
        pub name: String,
        /// Where its code lives.
        pub repository_url: String,
        /// The branch that runs start from.
        pub default_branch: String,
        /// Whether a credential for the repository is kept.
        pub has_credential: bool,
        /// Its board's lanes, in order.
        pub lanes: Json<Vec<Lane>>,
        /// The bounds of its runs.
        pub policy: Json<ExecutionPolicy>,
        /// Whose account pays for its runs, when that was chosen.
        pub provider: Option<Uuid>,
        /// The model its runs use, when one was chosen.
        pub model: Option<String>,
        /// Whether it takes no more work.
        pub archived: bool,
        /// When it was created, UTC.
        #[serde(with = "rfc3339")]
        pub created_at: OffsetDateTime,
        /// Who created it.
        pub created_by: String,
        /// When it last changed, UTC.
        #[serde(with = "rfc3339")]
        pub updated_at: OffsetDateTime,
        /// Who last changed it.
        pub updated_by: String,
        /// The version of the aggregate.
        pub version: i64,
        /// The position of its last change.
        pub position: i64,
    }
}

table! {
    /// A card.
    pub struct CardRow in "cards" by card {
        /// Whose it is.
        pub tenant: Uuid,
        /// The card.
        pub card: Uuid,
        /// Its project.
        pub project: Uuid,
        /// The key of its lane.
        pub lane: String,
        /// Its place there, in byte order.
        pub rank: String,
        /// Its title.
        pub title: String,
        /// What is to be done.
        pub description: String,
        /// The agent that runs it.
        pub agent: Option<Json<AgentProfile>>,
        /// The cards it waits for, sorted.
        pub depends_on: Vec<Uuid>,
        /// What holds it up; see [`crate::personal::said`].
        pub blocked_reason: Option<String>,
        /// The run that is queued or under way.
        pub active_run: Option<Uuid>,
        /// How the last run ended.
        pub last_run: Option<Json<LastRun>>,
        /// Whether it is off the board.
        pub archived: bool,
        /// When it was created, UTC.
        #[serde(with = "rfc3339")]
        pub created_at: OffsetDateTime,
        /// Who created it.
        pub created_by: String,
        /// When it last changed, UTC.
        #[serde(with = "rfc3339")]
        pub updated_at: OffsetDateTime,
        /// Who last changed it.
        pub updated_by: String,
        /// The version of the aggregate.
        pub version: i64,
        /// The position of its last change.
        pub position: i64,
    }
}

/// How a card's last run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// The run.
    pub run: Uuid,
    /// `succeeded`, `failed`, `timed_out` or `cancelled`.
    pub result: String,
    /// The kind of failure, such as `tests_failed`.
    pub failure: Option<String>,
    /// The head of the pushed branch.
    pub commit: Option<String>,
    /// What was done, in the agent's words.
    pub summary: Option<String>,
    /// Why it ended without success, for people; see [`crate::personal::said`].
    pub reason: Option<String>,
}

impl LastRun {
    pub(super) fn of(run: Uuid, result: &RunResult) -> Self {
        let ended = |result: &str| Self {
            run,
            result: result.to_owned(),
            failure: None,
            commit: None,
            summary: None,
            reason: None,
        };
        match result {
            RunResult::Succeeded { commit, summary, .. } => {
                Self { commit: Some(commit.to_string()), summary: Some(summary.to_string()), ..ended("succeeded") }
            }
            RunResult::Failed { kind, reason } => {
                Self { failure: Some(kind.as_str().to_owned()), reason: Some(reason.to_string()), ..ended("failed") }
            }
            RunResult::TimedOut { after_seconds } => {
                Self { reason: Some(format!("It took longer than {after_seconds} s.")), ..ended("timed_out") }
            }
            RunResult::Cancelled { reason } => {
                Self { reason: reason.as_ref().map(personal::stored), ..ended("cancelled") }
            }
        }
    }
}
