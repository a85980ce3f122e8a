//! Cards.

use std::collections::BTreeSet;

use domain::Decider;
use domain::card::{AgentProfile, Card, CardCommand, CardEvent, DependencyFacts, ResolvedModel, RunFacts, RunResult};
use domain::provider::ProviderKind;
use domain::run::FailureKind;
use proptest::prelude::*;

use crate::given::{
    commit, id, lane, lanes, likely, model, name, policy, rank, reason, repository, sealed, sequence, text, title,
};
use crate::law;

fn create() -> impl Strategy<Value = CardCommand> + Clone {
    (id(), title(), text(), prop::option::of(lane()), rank(), prop::option::weighted(0.9, lanes()))
        .prop_map(|(project, title, description, lane, rank, lanes)| CardCommand::Create {
            project,
            title,
            description,
            lane,
            rank,
            lanes,
        })
        .boxed()
}

fn agent() -> impl Strategy<Value = AgentProfile> {
    (name(), prop::option::of(id()), prop::option::of(model()), prop::option::of(text()))
        .prop_map(|(name, provider, model, instructions)| AgentProfile { name, provider, model, instructions })
}

fn facts() -> impl Strategy<Value = RunFacts> {
    let resolved = (id(), model(), likely()).prop_map(|(provider, model, usable)| ResolvedModel {
        provider,
        kind: ProviderKind::Openai,
        model,
        usable,
    });
    let undone = prop_oneof![9 => Just(vec![]), 1 => prop::collection::vec(id(), 1..3)];
    (
        (id(), likely(), likely(), id(), lanes()),
        (
            repository(),
            policy(),
            prop::option::weighted(0.9, resolved),
            undone,
            prop_oneof![9 => Just(0), 1 => 0..4_u32],
        ),
    )
        .prop_map(
            |(
                (card, tenant_active, project_open, workspace, lanes),
                (repository, policy, model, undone_dependencies, active_runs),
            )| {
                RunFacts {
                    card,
                    tenant_active,
                    project_open,
                    workspace,
                    lanes,
                    repository,
                    policy,
                    model,
                    undone_dependencies,
                    active_runs,
                }
            },
        )
}

fn result() -> impl Strategy<Value = RunResult> {
    prop_oneof![
        (commit(), text()).prop_map(|(commit, summary)| RunResult::Succeeded {
            commit,
            summary,
            context_path: "c.json".into(),
            context_sha256: "0".repeat(64),
        }),
        reason().prop_map(|reason| RunResult::Failed { kind: FailureKind::PodLost, reason }),
        any::<u32>().prop_map(|after_seconds| RunResult::TimedOut { after_seconds }),
        prop::option::of(sealed()).prop_map(|reason| RunResult::Cancelled { reason }),
    ]
}

fn change() -> impl Strategy<Value = CardCommand> {
    let dependency = (id(), likely(), likely()).prop_map(|(on, on_same_board, free)| CardCommand::AddDependency {
        on,
        facts: DependencyFacts { on_same_board, waits_for_this: !free },
    });
    prop_oneof![
        8 => (prop::option::of(title()), prop::option::of(text()))
            .prop_map(|(title, description)| CardCommand::Edit { title, description }),
        16 => (lane(), rank(), lanes()).prop_map(|(lane, rank, lanes)| CardCommand::Move { lane, rank, lanes }),
        8 => rank().prop_map(|rank| CardCommand::Rank { rank }),
        8 => (prop::option::of(agent()), likely())
            .prop_map(|(agent, provider_usable)| CardCommand::AssignAgent { agent, provider_usable }),
        8 => dependency,
        8 => id().prop_map(|on| CardCommand::RemoveDependency { on }),
        8 => (sealed(), lanes(), rank()).prop_map(|(reason, lanes, rank)| CardCommand::Block { reason, lanes, rank }),
        12 => (lanes(), rank()).prop_map(|(lanes, rank)| CardCommand::Unblock { lanes, rank }),
        8 => (id(), sealed()).prop_map(|(comment, text)| CardCommand::Comment { comment, text }),
        20 => (id(), rank(), facts())
            .prop_map(|(run, rank, facts)| CardCommand::Run { run, rank, facts: Box::new(facts) }),
        20 => (id(), result(), lanes(), rank())
            .prop_map(|(run, result, lanes, rank)| CardCommand::FinishRun { run, result, lanes, rank }),
        1 => Just(CardCommand::Archive),
    ]
}

fn commands() -> impl Strategy<Value = Vec<CardCommand>> {
    sequence(create(), change())
}

#[test]
fn everything_happens_to_cards() {
    law::everything_happens::<Card>(commands());
}

proptest! {
    #![proptest_config(law::config())]

    #[test]
    fn cards_keep_the_laws(commands in commands()) {
        law::obey::<Card>(commands, |command| matches!(command, CardCommand::Comment { .. }))?;
    }

    #[test]
    fn a_cards_history_tells_one_story(commands in commands()) {
        let history = law::history::<Card>(commands);
        let mut card = Card::default();
        let mut running = None;
        let mut waits_for = BTreeSet::new();
        for (i, event) in history.iter().enumerate() {
            prop_assert_eq!(matches!(event, CardEvent::Created(_)), i == 0, "created first, and once");
            match event {
                CardEvent::Moved(moved) => {
                    let from = card.known().map(|card| &card.lane);
                    prop_assert_eq!(from, Some(&moved.from), "moved from where it was");
                    prop_assert_ne!(&moved.from, &moved.to, "moved elsewhere");
                }
                CardEvent::RunRequested(requested) => {
                    prop_assert_eq!(running.replace(requested.run), None, "one run at a time");
                }
                CardEvent::RunFinished(finished) => {
                    prop_assert_eq!(running.take(), Some(finished.run), "only the active run is finished");
                }
                CardEvent::DependencyAdded(added) => prop_assert!(waits_for.insert(added.on)),
                CardEvent::DependencyRemoved(removed) => prop_assert!(waits_for.remove(&removed.on)),
                CardEvent::Archived(_) => {
                    prop_assert_eq!(running, None, "not archived while it runs");
                    prop_assert_eq!(i, history.len() - 1, "nothing happens to an archived card");
                }
                _ => {}
            }
            card.evolve(event);
        }
    }
}
