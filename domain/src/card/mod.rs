//! A card: a piece of work on a board.

mod command;
mod decide;
mod error;
mod event;
mod rank;
mod run;
#[cfg(test)]
mod tests;
mod upcast;

use std::collections::BTreeSet;

pub use command::{CardCommand, DependencyFacts, ResolvedModel, RunFacts};
use cqrs_es::persist::EventUpcaster;
pub use error::CardRefusal;
pub use event::{
    CardAgentAssigned, CardArchived, CardBlocked, CardCommented, CardCreated, CardDependencyAdded,
    CardDependencyRemoved, CardEdited, CardEvent, CardMoved, CardRanked, CardRunFinished, CardRunRequested,
    CardUnblocked, RunResult,
};
pub use rank::Rank;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::Decider;
use crate::id::{CardId, ProjectId, ProviderId, RunId};
use crate::value::{LaneKey, ModelName, Name, Text, Title};

/// Cards that one card may wait for.
pub const MAX_DEPENDENCIES: usize = 50;

/// The agent that runs a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentProfile {
    /// What people call it.
    pub name: Name,
    /// Whose account pays; the project's choice when absent.
    pub provider: Option<ProviderId>,
    /// The model; the project's or provider's choice when absent.
    pub model: Option<ModelName>,
    /// What it is told besides the card.
    pub instructions: Option<Text>,
}

/// The state of a card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Card {
    /// It does not exist.
    #[default]
    Absent,
    /// It is on the board.
    Open(Box<OpenCard>),
    /// It is off the board.
    Archived(Box<OpenCard>),
}

/// What is known of a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenCard {
    /// Its project.
    pub project: ProjectId,
    /// Its title.
    pub title: Title,
    /// What is to be done.
    pub description: Text,
    /// Where it is.
    pub lane: LaneKey,
    /// Its place there.
    pub rank: Rank,
    /// The agent that runs it.
    pub agent: Option<AgentProfile>,
    /// The cards it waits for.
    pub depends_on: BTreeSet<CardId>,
    /// While something holds it up: where it was before.
    pub blocked: Option<LaneKey>,
    /// The run that is queued or under way, and where the card was before.
    pub active_run: Option<(RunId, LaneKey)>,
}

impl Card {
    /// What is known of it, on the board or off it.
    pub fn known(&self) -> Option<&OpenCard> {
        match self {
            Self::Absent => None,
            Self::Open(card) | Self::Archived(card) => Some(card),
        }
    }
}

impl Decider for Card {
    const TYPE: &'static str = "card";
    const STATE: i32 = 2;
    type Command = CardCommand;
    type Event = CardEvent;
    type Refusal = CardRefusal;

    fn decide(&self, command: CardCommand) -> Result<Vec<CardEvent>, CardRefusal> {
        decide::decide(self, command)
    }

    fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
        upcast::chain()
    }

    fn evolve(&mut self, event: &CardEvent) {
        if let (Self::Absent, CardEvent::Created(created)) = (&*self, event) {
            *self = Self::Open(Box::new(OpenCard {
                project: created.project,
                title: created.title.clone(),
                description: created.description.clone(),
                lane: created.lane.clone(),
                rank: created.rank.clone(),
                agent: None,
                depends_on: BTreeSet::new(),
                blocked: None,
                active_run: None,
            }));
        }
        // A run may end after its card was archived.
        let (Self::Open(card) | Self::Archived(card)) = self else { return };
        match event {
            CardEvent::Created(_) | CardEvent::Commented(_) => {}
            CardEvent::Edited(edited) => {
                if let Some(title) = &edited.title {
                    card.title = title.clone();
                }
                if let Some(description) = &edited.description {
                    card.description = description.clone();
                }
            }
            CardEvent::Moved(moved) => {
                card.lane = moved.to.clone();
                card.rank = moved.rank.clone();
            }
            CardEvent::Ranked(ranked) => card.rank = ranked.rank.clone(),
            CardEvent::AgentAssigned(assigned) => card.agent = assigned.agent.clone(),
            CardEvent::DependencyAdded(added) => {
                card.depends_on.insert(added.on);
            }
            CardEvent::DependencyRemoved(removed) => {
                card.depends_on.remove(&removed.on);
            }
            CardEvent::Blocked(_) => card.blocked = Some(card.lane.clone()),
            CardEvent::Unblocked(_) => card.blocked = None,
            CardEvent::RunRequested(requested) => card.active_run = Some((requested.run, card.lane.clone())),
            CardEvent::RunFinished(_) => card.active_run = None,
            CardEvent::Archived(_) => *self = Self::Archived(card.clone()),
        }
    }
}

crate::cqrs_aggregate!(Card);
