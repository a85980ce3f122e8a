//! What may be asked of a card.

use super::{AgentProfile, Rank, RunResult};
use crate::id::{CardId, CommentId, ProjectId, ProviderId, RunId, WorkspaceId};
use crate::personal::PersonalText;
use crate::project::{ExecutionPolicy, Lanes, Repository};
use crate::provider::ProviderKind;
use crate::value::{LaneKey, ModelName, Text, Title};

/// The commands of a [`Card`](super::Card).
#[derive(Debug, Clone, PartialEq)]
pub enum CardCommand {
    /// Brings it into being.
    Create {
        /// Its project.
        project: ProjectId,
        /// Its title.
        title: Title,
        /// What is to be done.
        description: Text,
        /// Where it starts; the first lane when absent.
        lane: Option<LaneKey>,
        /// Its place there.
        rank: Rank,
        /// A looked-up fact: the project's lanes; `None` when the project is archived.
        lanes: Option<Lanes>,
    },
    /// Changes its title or description.
    Edit {
        /// The new title.
        title: Option<Title>,
        /// The new description.
        description: Option<Text>,
    },
    /// Puts it into a lane. In the lane where it is already, it is only given the place.
    Move {
        /// Where.
        lane: LaneKey,
        /// Its place there.
        rank: Rank,
        /// A looked-up fact: the project's lanes.
        lanes: Lanes,
    },
    /// Gives it another place in its lane.
    Rank {
        /// The new place.
        rank: Rank,
    },
    /// Assigns an agent, or none.
    AssignAgent {
        /// The agent.
        agent: Option<AgentProfile>,
        /// A looked-up fact: whether the provider that the agent names exists and is enabled; true when it names none.
        provider_usable: bool,
    },
    /// Makes it wait for another card.
    AddDependency {
        /// The card to wait for.
        on: CardId,
        /// Looked-up facts about that card.
        facts: DependencyFacts,
    },
    /// Lets it no longer wait for another card.
    RemoveDependency {
        /// The card it waits for.
        on: CardId,
    },
    /// Says that something holds it up; it goes to the lane for that, when there is one.
    Block {
        /// What.
        reason: PersonalText,
        /// A looked-up fact: the project's lanes.
        lanes: Lanes,
        /// Its place there.
        rank: Rank,
    },
    /// Says that nothing holds it up any more; it goes back to where it was.
    Unblock {
        /// A looked-up fact: the project's lanes.
        lanes: Lanes,
        /// Its place there.
        rank: Rank,
    },
    /// Says something on it.
    Comment {
        /// The comment's id.
        comment: CommentId,
        /// What is said.
        text: PersonalText,
    },
    /// Runs it.
    Run {
        /// The run's id.
        run: RunId,
        /// Its place in the lane where running cards stand.
        rank: Rank,
        /// What was looked up.
        facts: Box<RunFacts>,
    },
    /// Its run ended. Repeating it changes nothing.
    FinishRun {
        /// The run.
        run: RunId,
        /// How.
        result: RunResult,
        /// A looked-up fact: the project's lanes.
        lanes: Lanes,
        /// Its place in the next lane.
        rank: Rank,
    },
    /// Takes it off the board. Repeating it changes nothing.
    Archive,
}

/// What was looked up for [`CardCommand::AddDependency`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DependencyFacts {
    /// Whether the other card exists on the same board.
    pub on_same_board: bool,
    /// Whether the other card waits, directly or through others, for this one; true as well when it *is* this one.
    pub waits_for_this: bool,
}

/// What was looked up for [`CardCommand::Run`].
#[derive(Debug, Clone, PartialEq)]
pub struct RunFacts {
    /// The card's own id.
    pub card: CardId,
    /// Whether the tenant exists and is active.
    pub tenant_active: bool,
    /// Whether the project is in use.
    pub project_open: bool,
    /// The project's workspace.
    pub workspace: WorkspaceId,
    /// The project's lanes.
    pub lanes: Lanes,
    /// Where the project's code lives.
    pub repository: Repository,
    /// The bounds of the project's runs.
    pub policy: ExecutionPolicy,
    /// The model that the agent or the project chose, with its provider; `None` when none was chosen.
    pub model: Option<ResolvedModel>,
    /// The cards that this one waits for and that are not done.
    pub undone_dependencies: Vec<CardId>,
    /// Runs of the project that are queued or under way.
    pub active_runs: u32,
}

/// A model and whose account pays for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedModel {
    /// Whose account pays.
    pub provider: ProviderId,
    /// The vendor's protocol.
    pub kind: ProviderKind,
    /// The model.
    pub model: ModelName,
    /// Whether the provider exists and is enabled.
    pub usable: bool,
}
