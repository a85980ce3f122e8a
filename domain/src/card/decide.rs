//! A card's rules, but for those about running it: they are in `run.rs`.

use super::{
    AgentProfile, Card, CardAgentAssigned, CardArchived, CardBlocked, CardCommand, CardCommented, CardCreated,
    CardDependencyAdded, CardDependencyRemoved, CardEdited, CardEvent, CardMoved, CardRanked, CardRefusal,
    CardUnblocked, DependencyFacts, MAX_DEPENDENCIES, OpenCard, Rank, run,
};
use crate::id::CardId;
use crate::personal::PersonalText;
use crate::project::{LaneRole, Lanes};
use crate::value::{LaneKey, Text, Title};

pub(super) type Decision = Result<Vec<CardEvent>, CardRefusal>;

pub(super) fn decide(card: &Card, command: CardCommand) -> Decision {
    match (card, command) {
        (Card::Absent, CardCommand::Create { project, title, description, lane, rank, lanes }) => {
            let lanes = lanes.ok_or(CardRefusal::ProjectArchived)?;
            let lane = match lane {
                Some(key) if lanes.get(&key).is_none() => return Err(CardRefusal::UnknownLane(key)),
                Some(key) => key,
                None => lanes.first().map(|lane| lane.key.clone()).ok_or(CardRefusal::ProjectArchived)?,
            };
            Ok(vec![CardCreated { project, title, description, lane, rank }.into()])
        }
        (Card::Absent, _) => Err(CardRefusal::NotFound),
        (_, CardCommand::Create { .. }) => Err(CardRefusal::AlreadyExists),
        (Card::Open(card) | Card::Archived(card), CardCommand::FinishRun { run, result, lanes, rank }) => {
            Ok(run::finish(card, run, result, &lanes, rank))
        }
        (Card::Archived(_), CardCommand::Archive) => Ok(vec![]),
        (Card::Archived(_), _) => Err(CardRefusal::Archived),
        (Card::Open(card), command) => change(card, command),
    }
}

fn change(card: &OpenCard, command: CardCommand) -> Decision {
    match command {
        CardCommand::Create { .. } => Err(CardRefusal::AlreadyExists),
        CardCommand::Edit { title, description } => edit(card, title, description),
        CardCommand::Move { lane, rank, .. } if lane == card.lane => Ok(ranked(card, rank)),
        CardCommand::Move { lane, rank, lanes } => Ok(vec![moved(card, &lane, rank, &lanes)?]),
        CardCommand::Rank { rank } => Ok(ranked(card, rank)),
        CardCommand::AssignAgent { agent, provider_usable } => assign(card, agent, provider_usable),
        CardCommand::AddDependency { on, facts } => depend(card, on, facts),
        CardCommand::RemoveDependency { on } => {
            Ok(if card.depends_on.contains(&on) { vec![CardDependencyRemoved { on }.into()] } else { vec![] })
        }
        CardCommand::Block { reason, lanes, rank } => block(card, reason, &lanes, rank),
        CardCommand::Unblock { lanes, rank } => unblock(card, &lanes, rank),
        CardCommand::Comment { comment, text } => Ok(vec![CardCommented { comment, text }.into()]),
        CardCommand::Run { run, rank, facts } => run::request(card, run, rank, *facts),
        CardCommand::FinishRun { run, result, lanes, rank } => Ok(run::finish(card, run, result, &lanes, rank)),
        CardCommand::Archive => match &card.active_run {
            Some((run, _)) => Err(CardRefusal::RunAlreadyActive(*run)),
            None => Ok(vec![CardArchived {}.into()]),
        },
    }
}

/// The card gets another place in its lane.
fn ranked(card: &OpenCard, rank: Rank) -> Vec<CardEvent> {
    if rank == card.rank { vec![] } else { vec![CardRanked { rank }.into()] }
}

/// The card goes to another lane of its board.
pub(super) fn moved(card: &OpenCard, lane: &LaneKey, rank: Rank, lanes: &Lanes) -> Result<CardEvent, CardRefusal> {
    let lane = lanes.get(lane).ok_or_else(|| CardRefusal::UnknownLane(lane.clone()))?;
    let done = lane.role == LaneRole::Done;
    Ok(CardMoved { from: card.lane.clone(), to: lane.key.clone(), rank, done }.into())
}

fn edit(card: &OpenCard, title: Option<Title>, description: Option<Text>) -> Decision {
    if title.is_none() && description.is_none() {
        return Err(CardRefusal::NothingToEdit);
    }
    let title = title.filter(|title| *title != card.title);
    let description = description.filter(|description| *description != card.description);
    if title.is_none() && description.is_none() {
        return Ok(vec![]);
    }
    Ok(vec![CardEdited { title, description }.into()])
}

fn assign(card: &OpenCard, agent: Option<AgentProfile>, provider_usable: bool) -> Decision {
    if !provider_usable {
        return Err(CardRefusal::ProviderNotUsable);
    }
    Ok(if agent == card.agent { vec![] } else { vec![CardAgentAssigned { agent }.into()] })
}

fn depend(card: &OpenCard, on: CardId, facts: DependencyFacts) -> Decision {
    if !facts.on_same_board {
        return Err(CardRefusal::DependencyUnknown(on));
    }
    if card.depends_on.contains(&on) {
        return Ok(vec![]);
    }
    if facts.waits_for_this {
        return Err(CardRefusal::DependencyCycle(on));
    }
    if card.depends_on.len() >= MAX_DEPENDENCIES {
        return Err(CardRefusal::TooManyDependencies);
    }
    Ok(vec![CardDependencyAdded { on }.into()])
}

fn block(card: &OpenCard, reason: PersonalText, lanes: &Lanes, rank: Rank) -> Decision {
    if card.blocked.is_some() {
        return Ok(vec![]);
    }
    let mut events = vec![CardBlocked { reason }.into()];
    if let Some(lane) = lanes.with_role(LaneRole::Blocked).filter(|lane| lane.key != card.lane) {
        events.push(moved(card, &lane.key, rank, lanes)?);
    }
    Ok(events)
}

fn unblock(card: &OpenCard, lanes: &Lanes, rank: Rank) -> Decision {
    let Some(before) = &card.blocked else { return Ok(vec![]) };
    let mut events = vec![CardUnblocked {}.into()];
    // Only back from where blocking had put it: whoever moved it since meant it.
    let parked = lanes.get(&card.lane).is_some_and(|lane| lane.role == LaneRole::Blocked);
    if parked && *before != card.lane && lanes.get(before).is_some() {
        events.push(moved(card, before, rank, lanes)?);
    }
    Ok(events)
}
