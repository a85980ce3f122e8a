//! What may have happened to a card.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AgentProfile, Rank};
use crate::id::{CardId, CommentId, ProjectId, RunId};
use crate::personal::PersonalText;
use crate::run::{FailureKind, Task};
use crate::value::{CommitSha, LaneKey, Reason, Text, Title};

crate::events! {
    /// The events of a [`Card`](super::Card).
    #[expect(clippy::large_enum_variant, reason = "few live at a time, and a box would show in every match")]
    pub enum CardEvent {
        /// It was created.
        Created(CardCreated) = 1,
        /// Its title or description changed.
        Edited(CardEdited) = 1,
        /// It is in another lane.
        Moved(CardMoved) = 1,
        /// It has another place in its lane.
        Ranked(CardRanked) = 1,
        /// An agent was assigned, or none any more.
        AgentAssigned(CardAgentAssigned) = 1,
        /// It waits for another card.
        DependencyAdded(CardDependencyAdded) = 1,
        /// It no longer waits for another card.
        DependencyRemoved(CardDependencyRemoved) = 1,
        /// Something holds it up.
        Blocked(CardBlocked) = 2,
        /// Nothing holds it up any more.
        Unblocked(CardUnblocked) = 1,
        /// Somebody said something.
        Commented(CardCommented) = 2,
        /// Somebody pressed Run.
        RunRequested(CardRunRequested) = 1,
        /// The run ended.
        RunFinished(CardRunFinished) = 2,
        /// It is off the board.
        Archived(CardArchived) = 1,
    }
}

/// The card was created. First event of every card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardCreated {
    /// Its project.
    pub project: ProjectId,
    /// Its title.
    pub title: Title,
    /// What is to be done.
    pub description: Text,
    /// Where it starts.
    pub lane: LaneKey,
    /// Its place in the lane.
    pub rank: Rank,
}

/// The card's title or description changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardEdited {
    /// The new title, if it changed.
    pub title: Option<Title>,
    /// The new description, if it changed.
    pub description: Option<Text>,
}

/// The card is in another lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardMoved {
    /// Where it was.
    pub from: LaneKey,
    /// Where it is.
    pub to: LaneKey,
    /// Its place there.
    pub rank: Rank,
    /// Whether what depends on it may run now.
    pub done: bool,
}

/// The card has another place in its lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardRanked {
    /// The new place.
    pub rank: Rank,
}

/// An agent was assigned to the card, or none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardAgentAssigned {
    /// The agent.
    pub agent: Option<AgentProfile>,
}

/// The card waits for another card of its project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardDependencyAdded {
    /// The card it waits for.
    pub on: CardId,
}

/// The card no longer waits for another card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardDependencyRemoved {
    /// The card it waited for.
    pub on: CardId,
}

/// Something holds the card up.
///
/// Version 1 had a readable `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardBlocked {
    /// What.
    pub reason: PersonalText,
}

/// Nothing holds the card up any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardUnblocked {}

/// Somebody said something on the card.
///
/// Version 1 had a readable `text`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardCommented {
    /// The comment.
    pub comment: CommentId,
    /// What was said.
    pub text: PersonalText,
}

/// Somebody pressed Run, and nothing forbade it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardRunRequested {
    /// The run.
    pub run: RunId,
    /// Everything that it needs to know.
    pub task: Task,
}

/// How a run ended, as its card remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum RunResult {
    /// With work on its branch.
    Succeeded {
        /// The head of the branch.
        commit: CommitSha,
        /// What was done, in the agent's words.
        summary: Text,
        /// Where the context stands in the repository.
        context_path: String,
        /// SHA-256 of the context file's bytes, hexadecimal.
        context_sha256: String,
    },
    /// Without.
    Failed {
        /// The kind of failure.
        kind: FailureKind,
        /// For people.
        reason: Reason,
    },
    /// It took too long.
    TimedOut {
        /// The bound, in seconds.
        after_seconds: u32,
    },
    /// Somebody stopped it.
    Cancelled {
        /// Why, if it was said.
        reason: Option<PersonalText>,
    },
}

/// The card's run ended.
///
/// Version 1 had a readable `reason` where the run was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardRunFinished {
    /// The run.
    pub run: RunId,
    /// How.
    #[serde(flatten)]
    pub result: RunResult,
}

/// The card is off the board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardArchived {}
