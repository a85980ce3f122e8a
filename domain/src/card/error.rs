//! Why a card says no.

use crate::id::{CardId, RunId};
use crate::value::LaneKey;
use crate::{Refusal, RefusalKind};

/// One variant a broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardRefusal {
    /// There is no such card.
    #[error("there is no such card")]
    NotFound,
    /// The card exists already.
    #[error("the card exists already")]
    AlreadyExists,
    /// The card is archived.
    #[error("the card is archived")]
    Archived,
    /// The project is archived.
    #[error("the project is archived")]
    ProjectArchived,
    /// The tenant is suspended or does not exist.
    #[error("the tenant is not active")]
    TenantNotActive,
    /// The board has no such lane.
    #[error("the board has no lane `{0}`")]
    UnknownLane(LaneKey),
    /// Nothing is to be edited.
    #[error("name a title or a description to change")]
    NothingToEdit,
    /// The agent's provider does not exist or is disabled.
    #[error("the agent's provider does not exist or is disabled")]
    ProviderNotUsable,
    /// The other card is not on this board.
    #[error("there is no card {0} on this board")]
    DependencyUnknown(CardId),
    /// The other card waits for this one.
    #[error("card {0} already waits for this card; a circle could never be run")]
    DependencyCycle(CardId),
    /// A card has too many dependencies.
    #[error("a card may depend on at most {} others", super::MAX_DEPENDENCIES)]
    TooManyDependencies,
    /// The card is blocked.
    #[error("the card is blocked; unblock it first")]
    Blocked,
    /// A run is queued or under way.
    #[error("run {0} of this card is queued or under way; cancel it or wait for its end")]
    RunAlreadyActive(RunId),
    /// The lane does not allow runs.
    #[error("a card cannot be run from lane `{0}`; move it to another one first")]
    LaneForbidsRuns(LaneKey),
    /// A dependency is not done.
    #[error("the card waits for {}; finish it first", list(.0))]
    DependencyNotDone(Vec<CardId>),
    /// No model was chosen.
    #[error("no model is chosen: choose a provider for the project, or assign an agent that names one")]
    NoModel,
    /// Too many runs of the project are queued or under way.
    #[error("{active} runs of this project are queued or under way, and its policy allows {limit}")]
    TooManyActiveRuns {
        /// How many there are.
        active: u32,
        /// How many may be.
        limit: u32,
    },
}

fn list(cards: &[CardId]) -> String {
    cards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Refusal for CardRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "card_already_exists",
            Self::Archived => "card_archived",
            Self::ProjectArchived => "project_archived",
            Self::TenantNotActive => "tenant_not_active",
            Self::UnknownLane(_) => "lane_unknown",
            Self::NothingToEdit => "nothing_to_edit",
            Self::ProviderNotUsable => "provider_not_usable",
            Self::DependencyUnknown(_) => "dependency_unknown",
            Self::DependencyCycle(_) => "dependency_cycle",
            Self::TooManyDependencies => "too_many_dependencies",
            Self::Blocked => "card_blocked",
            Self::RunAlreadyActive(_) => "run_already_active",
            Self::LaneForbidsRuns(_) => "lane_forbids_runs",
            Self::DependencyNotDone(_) => "dependency_not_done",
            Self::NoModel => "no_model",
            Self::TooManyActiveRuns { .. } => "too_many_active_runs",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::UnknownLane(_) | Self::NothingToEdit | Self::ProviderNotUsable | Self::DependencyUnknown(_) => {
                RefusalKind::Invalid
            }
            Self::TooManyActiveRuns { .. } => RefusalKind::Limit,
            _ => RefusalKind::Rule,
        }
    }
}
