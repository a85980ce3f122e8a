//! Orders to a card. Each names the project on whose board the card is: elsewhere the card does not exist.

use domain::card::{AgentProfile, Card, CardCommand, DependencyFacts, OpenCard, RunFacts};
use domain::value::{LaneKey, Text, Title};
use domain::{CardId, Id, PersonalText, ProjectId, Saying, SubjectId, TenantId};
use uuid::Uuid;

use super::Ask;
use crate::DispatchError;
use crate::facts::Facts;
use crate::request::{derived, run_of};

/// What may be asked of a card.
#[derive(Debug, Clone, PartialEq)]
pub enum CardOrder {
    /// Brings a new one into being.
    Create {
        /// Its project.
        project: ProjectId,
        /// Its title.
        title: Title,
        /// What is to be done.
        description: Text,
        /// Where it starts; the first lane when absent.
        lane: Option<LaneKey>,
    },
    /// Changes one.
    Change {
        /// Its project.
        project: ProjectId,
        /// Which.
        card: CardId,
        /// How.
        change: CardChange,
    },
}

/// A place in a lane: after one card, before another, between two, or at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The card that stands before this place.
    pub after: Option<CardId>,
    /// The card that stands after this place.
    pub before: Option<CardId>,
}

/// How a card may be changed.
#[derive(Debug, Clone, PartialEq)]
pub enum CardChange {
    /// Changes its title or description.
    Edit {
        /// The new title.
        title: Option<Title>,
        /// The new description.
        description: Option<Text>,
    },
    /// Puts it into a lane.
    Move {
        /// Which lane.
        lane: LaneKey,
        /// Where in it.
        place: Place,
    },
    /// Gives it another place in its lane.
    Rank {
        /// Where.
        place: Place,
    },
    /// Assigns an agent, or none.
    AssignAgent {
        /// The agent.
        agent: Option<Box<AgentProfile>>,
    },
    /// Makes it wait for another card.
    AddDependency {
        /// The card to wait for.
        on: CardId,
    },
    /// Lets it no longer wait for another card.
    RemoveDependency {
        /// The card it waits for.
        on: CardId,
    },
    /// Says that something holds it up.
    Block {
        /// What.
        reason: PersonalText,
    },
    /// Says that nothing holds it up any more.
    Unblock,
    /// Says something on it.
    Comment {
        /// What is said.
        text: PersonalText,
        /// Whom it is about; whoever says it, when absent.
        about: Option<SubjectId>,
    },
    /// Runs it. The run's id is [`crate::Request::run`].
    Run,
    /// Takes it off the board.
    Archive,
}

impl Ask for CardOrder {
    type Aggregate = Card;

    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "card.create",
            Self::Change { change, .. } => match change {
                CardChange::Edit { .. } => "card.edit",
                CardChange::Move { .. } => "card.move",
                CardChange::Rank { .. } => "card.rank",
                CardChange::AssignAgent { .. } => "card.assign_agent",
                CardChange::AddDependency { .. } => "card.add_dependency",
                CardChange::RemoveDependency { .. } => "card.remove_dependency",
                CardChange::Block { .. } => "card.block",
                CardChange::Unblock => "card.unblock",
                CardChange::Comment { .. } => "card.comment",
                CardChange::Run => "card.run",
                CardChange::Archive => "card.archive",
            },
        }
    }

    fn stream(&self, _: TenantId) -> Option<Uuid> {
        match self {
            Self::Create { .. } => None,
            Self::Change { card, .. } => Some(card.uuid()),
        }
    }

    fn turn(&self) -> Option<ProjectId> {
        match self {
            Self::Change { project, change: CardChange::Run | CardChange::AddDependency { .. }, .. } => Some(*project),
            _ => None,
        }
    }

    async fn prepare(&self, state: &Card, facts: &Facts<'_>) -> Result<CardCommand, DispatchError> {
        match self {
            Self::Create { project, title, description, lane } => {
                let (known, open) = facts.project(*project).await?;
                Ok(CardCommand::Create {
                    project: *project,
                    title: title.clone(),
                    description: description.clone(),
                    lane: lane.clone(),
                    rank: facts.end_of_lane(),
                    lanes: open.then_some(known.lanes),
                })
            }
            Self::Change { project, card, change } => {
                let known = state.known().filter(|known| known.project == *project).ok_or(DispatchError::NotFound)?;
                let target = Target { project: *project, card: *card, known, facts };
                target.command(change.clone()).await
            }
        }
    }
}

/// A card that exists, on the board that the order names.
struct Target<'a> {
    project: ProjectId,
    card: CardId,
    known: &'a OpenCard,
    facts: &'a Facts<'a>,
}

impl Target<'_> {
    async fn command(&self, change: CardChange) -> Result<CardCommand, DispatchError> {
        let Self { project, card, known, facts } = *self;
        Ok(match change {
            CardChange::Edit { title, description } => CardCommand::Edit { title, description },
            CardChange::Move { lane, place } => {
                let lanes = facts.lanes(project).await?;
                let rank = facts.rank(project, card, &lane, place).await?;
                CardCommand::Move { lane, rank, lanes }
            }
            CardChange::Rank { place } => {
                CardCommand::Rank { rank: facts.rank(project, card, &known.lane, place).await? }
            }
            CardChange::AssignAgent { agent } => {
                let provider = agent.as_ref().and_then(|agent| agent.provider);
                let provider_usable = facts.provider_usable(provider).await?;
                CardCommand::AssignAgent { agent: agent.map(|agent| *agent), provider_usable }
            }
            CardChange::AddDependency { on } => {
                let on_same_board = facts.on_board(project, on).await?;
                let waits_for_this = on_same_board && facts.waits(on, card).await?;
                CardCommand::AddDependency { on, facts: DependencyFacts { on_same_board, waits_for_this } }
            }
            CardChange::RemoveDependency { on } => CardCommand::RemoveDependency { on },
            CardChange::Block { reason } => CardCommand::Block {
                reason: facts.seal(Saying::Reason, reason, None).await?,
                lanes: facts.lanes(project).await?,
                rank: facts.end_of_lane(),
            },
            CardChange::Unblock => {
                CardCommand::Unblock { lanes: facts.lanes(project).await?, rank: facts.end_of_lane() }
            }
            CardChange::Comment { text, about } => CardCommand::Comment {
                comment: Id::from_uuid(derived(facts.command.uuid(), "comment")),
                text: facts.seal(Saying::Comment, text, about).await?,
            },
            CardChange::Run => CardCommand::Run {
                run: run_of(facts.command),
                rank: facts.end_of_lane(),
                facts: Box::new(self.run_facts().await?),
            },
            CardChange::Archive => CardCommand::Archive,
        })
    }

    async fn run_facts(&self) -> Result<RunFacts, DispatchError> {
        let Self { project, card, known, facts } = *self;
        let (settings, project_open) = facts.project(project).await?;
        Ok(RunFacts {
            card,
            tenant_active: facts.tenant_active().await?,
            project_open,
            workspace: settings.workspace,
            model: facts.model(known.agent.as_ref(), &settings).await?,
            undone_dependencies: facts.undone(&known.depends_on, &settings.lanes).await?,
            active_runs: facts.active_runs(project).await?,
            lanes: settings.lanes,
            repository: settings.repository,
            policy: settings.policy,
        })
    }
}
