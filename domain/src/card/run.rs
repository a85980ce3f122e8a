//! A card's rules about running it.

use super::decide::{Decision, moved};
use super::{CardEvent, CardRefusal, CardRunFinished, CardRunRequested, OpenCard, Rank, RunFacts, RunResult};
use crate::id::RunId;
use crate::project::{LaneRole, Lanes};
use crate::run::Task;
use crate::value::Branch;

/// Run was pressed: refused with the first reason that stands, in the order in which a person would mend them.
pub(super) fn request(card: &OpenCard, run: RunId, rank: Rank, facts: RunFacts) -> Decision {
    if !facts.tenant_active {
        return Err(CardRefusal::TenantNotActive);
    }
    if !facts.project_open {
        return Err(CardRefusal::ProjectArchived);
    }
    if let Some((active, _)) = &card.active_run {
        return Err(CardRefusal::RunAlreadyActive(*active));
    }
    if card.blocked.is_some() {
        return Err(CardRefusal::Blocked);
    }
    let lane = facts.lanes.get(&card.lane).ok_or_else(|| CardRefusal::UnknownLane(card.lane.clone()))?;
    if !lane.runs_allowed {
        return Err(CardRefusal::LaneForbidsRuns(card.lane.clone()));
    }
    if !facts.undone_dependencies.is_empty() {
        return Err(CardRefusal::DependencyNotDone(facts.undone_dependencies));
    }
    let model = facts.model.ok_or(CardRefusal::NoModel)?;
    if !model.usable {
        return Err(CardRefusal::ProviderNotUsable);
    }
    let limit = facts.policy.max_active_runs;
    if facts.active_runs >= limit {
        return Err(CardRefusal::TooManyActiveRuns { active: facts.active_runs, limit });
    }
    let task = Task {
        workspace: facts.workspace,
        project: card.project,
        card: facts.card,
        title: card.title.clone(),
        description: card.description.clone(),
        instructions: card.agent.as_ref().and_then(|agent| agent.instructions.clone()),
        repository: facts.repository,
        branch: Branch::of_run(facts.card, run),
        provider: model.provider,
        provider_kind: model.kind,
        model: model.model,
        policy: facts.policy,
    };
    let mut events = vec![CardRunRequested { run, task }.into()];
    events.extend(go(card, LaneRole::InProgress, rank, &facts.lanes));
    Ok(events)
}

/// The run ended: on success the card goes to review, else back to where it was; unless somebody moved it meanwhile.
pub(super) fn finish(card: &OpenCard, run: RunId, result: RunResult, lanes: &Lanes, rank: Rank) -> Vec<CardEvent> {
    let Some((active, before)) = &card.active_run else { return vec![] };
    if *active != run {
        return vec![];
    }
    let succeeded = matches!(result, RunResult::Succeeded { .. });
    let mut events = vec![CardRunFinished { run, result }.into()];
    let put = lanes.with_role(LaneRole::InProgress).map_or(before, |lane| &lane.key);
    if card.lane == *put && card.blocked.is_none() {
        if succeeded {
            events.extend(go(card, LaneRole::Review, rank, lanes));
        } else if *before != card.lane {
            events.extend(moved(card, before, rank, lanes).ok());
        }
    }
    events
}

/// The card goes to the lane with that role, when there is one and it is not there already.
fn go(card: &OpenCard, role: LaneRole, rank: Rank, lanes: &Lanes) -> Option<CardEvent> {
    let lane = lanes.with_role(role).filter(|lane| lane.key != card.lane)?;
    moved(card, &lane.key, rank, lanes).ok()
}
