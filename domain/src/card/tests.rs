//! Given, when, then.

use cqrs_es::test::TestFramework;

use super::{
    AgentProfile, Card, CardAgentAssigned, CardArchived, CardBlocked, CardCommand, CardCommented, CardCreated,
    CardDependencyAdded, CardDependencyRemoved, CardEdited, CardEvent, CardMoved, CardRanked, CardRefusal,
    CardRunFinished, CardRunRequested, CardUnblocked, DependencyFacts, MAX_DEPENDENCIES, ResolvedModel, RunFacts,
    RunResult,
};
use crate::given::{commit, id, lane, model, name, rank, reason, repository, sealed, task, text, title};
use crate::id::{CardId, RunId};
use crate::project::{ExecutionPolicy, Lane, LaneRole, Lanes};
use crate::provider::ProviderKind;
use crate::run::{FailureKind, Task};
use crate::value::{Branch, LaneKey};
use crate::{Decider, Refusal, RefusalKind};

const CARD: CardId = CardId::from_uuid(uuid::Uuid::from_u128(3));
const RUN: RunId = RunId::from_uuid(uuid::Uuid::from_u128(4));

fn card() -> TestFramework<Card> {
    TestFramework::with(())
}

/// The default lanes without those of a role.
fn lanes_without(role: LaneRole) -> Lanes {
    Lanes::new(Lanes::default().as_slice().iter().filter(|lane| lane.role != role).cloned().collect()).unwrap()
}

// What has happened.

fn created_in(key: &str) -> CardEvent {
    CardCreated {
        project: id(2),
        title: title("Fix the build"),
        description: text("It fails since Monday."),
        lane: lane(key),
        rank: rank(1),
    }
    .into()
}

fn created() -> CardEvent {
    created_in("ready")
}

fn moved(from: &str, to: &str, place: i64) -> CardEvent {
    CardMoved { from: lane(from), to: lane(to), rank: rank(place), done: to == "done" }.into()
}

fn blocked() -> CardEvent {
    CardBlocked { reason: sealed("no access") }.into()
}

fn waits_for(n: u128) -> CardEvent {
    CardDependencyAdded { on: id(n) }.into()
}

fn run_requested() -> CardEvent {
    CardRunRequested { run: RUN, task: task() }.into()
}

fn run_finished(result: RunResult) -> CardEvent {
    CardRunFinished { run: RUN, result }.into()
}

fn archived() -> CardEvent {
    CardArchived {}.into()
}

/// A card in Ready whose run is under way.
fn running() -> Vec<CardEvent> {
    vec![created(), run_requested(), moved("ready", "in-progress", 9)]
}

// What is asked.

fn create(key: Option<&str>) -> CardCommand {
    CardCommand::Create {
        project: id(2),
        title: title("Fix the build"),
        description: text("It fails since Monday."),
        lane: key.map(lane),
        rank: rank(1),
        lanes: Some(Lanes::default()),
    }
}

fn edit(new_title: Option<&str>, description: Option<&str>) -> CardCommand {
    CardCommand::Edit { title: new_title.map(title), description: description.map(text) }
}

fn move_to(key: &str, place: i64) -> CardCommand {
    CardCommand::Move { lane: lane(key), rank: rank(place), lanes: Lanes::default() }
}

fn agent() -> AgentProfile {
    AgentProfile { name: name("Ada"), provider: Some(id(5)), model: None, instructions: Some(text("Be brief.")) }
}

fn assign(agent: Option<AgentProfile>) -> CardCommand {
    CardCommand::AssignAgent { agent, provider_usable: true }
}

fn depend(n: u128) -> CardCommand {
    CardCommand::AddDependency { on: id(n), facts: DependencyFacts { on_same_board: true, waits_for_this: false } }
}

fn block() -> CardCommand {
    CardCommand::Block { reason: sealed("no access"), lanes: Lanes::default(), rank: rank(8) }
}

fn unblock() -> CardCommand {
    CardCommand::Unblock { lanes: Lanes::default(), rank: rank(8) }
}

fn comment() -> CardCommand {
    CardCommand::Comment { comment: id(6), text: sealed("Please hurry.") }
}

fn facts() -> RunFacts {
    RunFacts {
        card: CARD,
        tenant_active: true,
        project_open: true,
        workspace: id(1),
        lanes: Lanes::default(),
        repository: repository(),
        policy: ExecutionPolicy::default(),
        model: Some(resolved(true)),
        undone_dependencies: vec![],
        active_runs: 0,
    }
}

fn resolved(usable: bool) -> ResolvedModel {
    ResolvedModel { provider: id(5), kind: ProviderKind::Anthropic, model: model("claude-sonnet"), usable }
}

fn run(facts: RunFacts) -> CardCommand {
    CardCommand::Run { run: RUN, rank: rank(9), facts: Box::new(facts) }
}

fn finish(result: RunResult) -> CardCommand {
    CardCommand::FinishRun { run: RUN, result, lanes: Lanes::default(), rank: rank(10) }
}

fn succeeded() -> RunResult {
    RunResult::Succeeded {
        commit: commit('c'),
        summary: text("Fixed it."),
        context_path: ".agentworks/cards/3/4.context.json".into(),
        context_sha256: "0".repeat(64),
    }
}

fn failed() -> RunResult {
    RunResult::Failed { kind: FailureKind::TestsFailed, reason: reason("2 tests fail") }
}

/// Every end of a run but success.
fn unsuccessful() -> [RunResult; 3] {
    [failed(), RunResult::TimedOut { after_seconds: 900 }, RunResult::Cancelled { reason: None }]
}

/// Every command but `Create`.
fn changes() -> [CardCommand; 12] {
    [
        edit(Some("Mend the build"), None),
        move_to("review", 2),
        CardCommand::Rank { rank: rank(2) },
        assign(Some(agent())),
        depend(30),
        CardCommand::RemoveDependency { on: id(30) },
        block(),
        unblock(),
        comment(),
        run(facts()),
        finish(succeeded()),
        CardCommand::Archive,
    ]
}

mod creating {
    use super::*;

    #[test]
    fn a_card_is_created_in_a_lane() {
        card().given_no_previous_events().when(create(Some("ready"))).then_expect_events(vec![created()]);
    }

    #[test]
    fn a_card_is_created_in_the_first_lane_when_none_is_named() {
        card().given_no_previous_events().when(create(None)).then_expect_events(vec![created_in("backlog")]);
    }

    #[test]
    fn a_card_is_created_only_once() {
        for history in [vec![created()], vec![created(), archived()]] {
            card().given(history).when(create(None)).then_expect_error(CardRefusal::AlreadyExists);
        }
    }

    #[test]
    fn a_card_is_not_created_in_a_lane_that_the_board_lacks() {
        card()
            .given_no_previous_events()
            .when(create(Some("doing")))
            .then_expect_error(CardRefusal::UnknownLane(lane("doing")));
    }

    #[test]
    fn a_card_is_not_created_in_an_archived_project() {
        let command = CardCommand::Create {
            project: id(2),
            title: title("Fix the build"),
            description: text(""),
            lane: None,
            rank: rank(1),
            lanes: None,
        };
        card().given_no_previous_events().when(command).then_expect_error(CardRefusal::ProjectArchived);
    }

    #[test]
    fn a_card_that_does_not_exist_takes_no_command() {
        for command in changes() {
            card().given_no_previous_events().when(command).then_expect_error(CardRefusal::NotFound);
        }
    }
}

mod planning {
    use super::*;

    #[test]
    fn a_card_gets_another_title_or_description() {
        card()
            .given(vec![created()])
            .when(edit(Some("Mend the build"), None))
            .then_expect_events(vec![CardEdited { title: Some(title("Mend the build")), description: None }.into()]);
        card()
            .given(vec![created()])
            .when(edit(None, Some("")))
            .then_expect_events(vec![CardEdited { title: None, description: Some(text("")) }.into()]);
    }

    #[test]
    fn only_what_is_different_is_edited() {
        card()
            .given(vec![created()])
            .when(edit(Some("Fix the build"), Some("Since Tuesday.")))
            .then_expect_events(vec![CardEdited { title: None, description: Some(text("Since Tuesday.")) }.into()]);
    }

    #[test]
    fn editing_a_card_to_what_it_says_changes_nothing() {
        card()
            .given(vec![created()])
            .when(edit(Some("Fix the build"), Some("It fails since Monday.")))
            .then_expect_events(vec![]);
        let edited = CardEdited { title: Some(title("Mend the build")), description: Some(text("Soon.")) }.into();
        card()
            .given(vec![created(), edited])
            .when(edit(Some("Mend the build"), Some("Soon.")))
            .then_expect_events(vec![]);
    }

    #[test]
    fn an_edit_names_something_to_change() {
        card().given(vec![created()]).when(edit(None, None)).then_expect_error(CardRefusal::NothingToEdit);
    }

    #[test]
    fn an_agent_is_assigned_and_taken_away() {
        let assigned = |agent| CardEvent::from(CardAgentAssigned { agent });
        card().given(vec![created()]).when(assign(Some(agent()))).then_expect_events(vec![assigned(Some(agent()))]);
        card()
            .given(vec![created(), assigned(Some(agent()))])
            .when(assign(None))
            .then_expect_events(vec![assigned(None)]);
    }

    #[test]
    fn assigning_the_agent_that_is_assigned_changes_nothing() {
        card().given(vec![created()]).when(assign(None)).then_expect_events(vec![]);
        let assigned = CardAgentAssigned { agent: Some(agent()) }.into();
        card().given(vec![created(), assigned]).when(assign(Some(agent()))).then_expect_events(vec![]);
    }

    #[test]
    fn an_agent_is_not_assigned_whose_provider_runs_could_not_use() {
        card()
            .given(vec![created()])
            .when(CardCommand::AssignAgent { agent: Some(agent()), provider_usable: false })
            .then_expect_error(CardRefusal::ProviderNotUsable);
    }

    #[test]
    fn somebody_says_something_on_a_card() {
        card()
            .given(vec![created()])
            .when(comment())
            .then_expect_events(vec![CardCommented { comment: id(6), text: sealed("Please hurry.") }.into()]);
    }

    #[test]
    fn a_card_is_archived() {
        card().given(vec![created()]).when(CardCommand::Archive).then_expect_events(vec![archived()]);
    }

    #[test]
    fn a_card_is_not_archived_while_it_runs() {
        card().given(running()).when(CardCommand::Archive).then_expect_error(CardRefusal::RunAlreadyActive(RUN));
    }

    #[test]
    fn an_archived_card_takes_no_command_but_those_that_have_nothing_left_to_do() {
        for command in changes() {
            let harmless = matches!(command, CardCommand::Archive | CardCommand::FinishRun { .. });
            let then = card().given(vec![created(), archived()]).when(command);
            if harmless { then.then_expect_events(vec![]) } else { then.then_expect_error(CardRefusal::Archived) }
        }
    }
}

mod moving {
    use super::*;

    #[test]
    fn a_card_goes_to_another_lane() {
        card().given(vec![created()]).when(move_to("review", 2)).then_expect_events(vec![moved("ready", "review", 2)]);
    }

    #[test]
    fn a_card_that_goes_to_the_lane_for_finished_work_is_done_and_no_longer_when_it_leaves() {
        let done = CardMoved { from: lane("ready"), to: lane("done"), rank: rank(2), done: true };
        let back = CardMoved { from: lane("done"), to: lane("review"), rank: rank(3), done: false };
        card().given(vec![created()]).when(move_to("done", 2)).then_expect_events(vec![done.clone().into()]);
        card().given(vec![created(), done.into()]).when(move_to("review", 3)).then_expect_events(vec![back.into()]);
    }

    #[test]
    fn a_card_does_not_go_to_a_lane_that_the_board_lacks() {
        card()
            .given(vec![created()])
            .when(move_to("doing", 2))
            .then_expect_error(CardRefusal::UnknownLane(lane("doing")));
    }

    #[test]
    fn moving_a_card_within_its_lane_gives_it_another_place_there() {
        card()
            .given(vec![created()])
            .when(move_to("ready", 2))
            .then_expect_events(vec![CardRanked { rank: rank(2) }.into()]);
    }

    #[test]
    fn moving_a_card_to_where_it_is_changes_nothing() {
        card().given(vec![created()]).when(move_to("ready", 1)).then_expect_events(vec![]);
        card()
            .given(vec![created(), moved("ready", "review", 2)])
            .when(move_to("review", 2))
            .then_expect_events(vec![]);
    }

    #[test]
    fn a_card_gets_another_place_in_its_lane() {
        card()
            .given(vec![created()])
            .when(CardCommand::Rank { rank: rank(2) })
            .then_expect_events(vec![CardRanked { rank: rank(2) }.into()]);
    }

    #[test]
    fn ranking_a_card_where_it_stands_changes_nothing() {
        card().given(vec![created()]).when(CardCommand::Rank { rank: rank(1) }).then_expect_events(vec![]);
        let ranked = CardRanked { rank: rank(2) }.into();
        card().given(vec![created(), ranked]).when(CardCommand::Rank { rank: rank(2) }).then_expect_events(vec![]);
    }
}

mod waiting {
    use super::*;

    #[test]
    fn a_card_waits_for_another_one() {
        card().given(vec![created()]).when(depend(30)).then_expect_events(vec![waits_for(30)]);
    }

    #[test]
    fn waiting_twice_for_the_same_card_changes_nothing() {
        card().given(vec![created(), waits_for(30)]).when(depend(30)).then_expect_events(vec![]);
    }

    #[test]
    fn a_card_does_not_wait_for_a_card_of_another_board() {
        let facts = DependencyFacts { on_same_board: false, waits_for_this: false };
        card()
            .given(vec![created()])
            .when(CardCommand::AddDependency { on: id(30), facts })
            .then_expect_error(CardRefusal::DependencyUnknown(id(30)));
    }

    #[test]
    fn a_card_does_not_wait_for_a_card_that_waits_for_it() {
        let facts = DependencyFacts { on_same_board: true, waits_for_this: true };
        card()
            .given(vec![created()])
            .when(CardCommand::AddDependency { on: id(30), facts })
            .then_expect_error(CardRefusal::DependencyCycle(id(30)));
    }

    #[test]
    fn a_card_waits_for_a_bounded_number_of_others() {
        let most = u128::try_from(MAX_DEPENDENCIES).unwrap();
        let mut history = vec![created()];
        history.extend((1..most).map(|n| waits_for(100 + n)));
        card().given(history.clone()).when(depend(30)).then_expect_events(vec![waits_for(30)]);
        history.push(waits_for(30));
        card().given(history.clone()).when(depend(31)).then_expect_error(CardRefusal::TooManyDependencies);
        card().given(history).when(depend(30)).then_expect_events(vec![]);
    }

    #[test]
    fn a_card_no_longer_waits() {
        card()
            .given(vec![created(), waits_for(30)])
            .when(CardCommand::RemoveDependency { on: id(30) })
            .then_expect_events(vec![CardDependencyRemoved { on: id(30) }.into()]);
    }

    #[test]
    fn a_card_that_does_not_wait_keeps_on_not_waiting() {
        let removed = CardDependencyRemoved { on: id(30) }.into();
        for history in [vec![created()], vec![created(), waits_for(30), removed]] {
            card().given(history).when(CardCommand::RemoveDependency { on: id(30) }).then_expect_events(vec![]);
        }
    }
}

mod blocking {
    use super::*;

    /// A card that was blocked in Ready and parked.
    fn parked() -> Vec<CardEvent> {
        vec![created(), blocked(), moved("ready", "blocked", 8)]
    }

    #[test]
    fn a_blocked_card_is_parked() {
        card().given(vec![created()]).when(block()).then_expect_events(vec![blocked(), moved("ready", "blocked", 8)]);
    }

    #[test]
    fn a_blocked_card_stays_where_it_is_when_the_board_has_no_place_to_park_or_it_stands_there() {
        let command =
            CardCommand::Block { reason: sealed("no access"), lanes: lanes_without(LaneRole::Blocked), rank: rank(8) };
        card().given(vec![created()]).when(command).then_expect_events(vec![blocked()]);
        card().given(vec![created_in("blocked")]).when(block()).then_expect_events(vec![blocked()]);
    }

    #[test]
    fn blocking_a_blocked_card_changes_nothing() {
        card().given(parked()).when(block()).then_expect_events(vec![]);
    }

    #[test]
    fn an_unblocked_card_goes_back_to_where_it_was() {
        card()
            .given(parked())
            .when(unblock())
            .then_expect_events(vec![CardUnblocked {}.into(), moved("blocked", "ready", 8)]);
    }

    #[test]
    fn an_unblocked_card_stays_where_somebody_has_moved_it_meanwhile() {
        card()
            .given([parked(), vec![moved("blocked", "review", 3)]].concat())
            .when(unblock())
            .then_expect_events(vec![CardUnblocked {}.into()]);
    }

    #[test]
    fn an_unblocked_card_stays_when_its_lane_has_vanished_or_it_was_never_parked() {
        let command = CardCommand::Unblock { lanes: lanes_without(LaneRole::Ready), rank: rank(8) };
        card().given(parked()).when(command).then_expect_events(vec![CardUnblocked {}.into()]);
        card().given(vec![created(), blocked()]).when(unblock()).then_expect_events(vec![CardUnblocked {}.into()]);
        card()
            .given(vec![created_in("blocked"), blocked()])
            .when(unblock())
            .then_expect_events(vec![CardUnblocked {}.into()]);
    }

    #[test]
    fn unblocking_a_card_that_nothing_holds_up_changes_nothing() {
        card().given(vec![created()]).when(unblock()).then_expect_events(vec![]);
        card().given([parked(), vec![CardUnblocked {}.into()]].concat()).when(unblock()).then_expect_events(vec![]);
    }
}

mod running {
    use super::*;

    #[test]
    fn run_queues_the_cards_task_and_puts_the_card_in_progress() {
        card()
            .given(vec![created()])
            .when(run(facts()))
            .then_expect_events(vec![run_requested(), moved("ready", "in-progress", 9)]);
    }

    #[test]
    fn a_run_takes_what_the_card_says_now_and_what_its_agent_is_told() {
        let history = vec![
            created(),
            CardEdited { title: Some(title("Mend it")), description: Some(text("Soon.")) }.into(),
            CardAgentAssigned { agent: Some(agent()) }.into(),
        ];
        let told = Task {
            title: title("Mend it"),
            description: text("Soon."),
            instructions: Some(text("Be brief.")),
            branch: Branch::of_run(CARD, RUN),
            ..task()
        };
        card().given(history).when(run(facts())).then_expect_events(vec![
            CardRunRequested { run: RUN, task: told }.into(),
            moved("ready", "in-progress", 9),
        ]);
    }

    #[test]
    fn a_card_that_is_in_progress_already_is_run_where_it_stands() {
        card().given(vec![created_in("in-progress")]).when(run(facts())).then_expect_events(vec![run_requested()]);
    }

    #[test]
    fn a_card_is_run_where_it_stands_on_a_board_without_such_a_lane() {
        let facts = RunFacts { lanes: lanes_without(LaneRole::InProgress), ..facts() };
        card().given(vec![created()]).when(run(facts)).then_expect_events(vec![run_requested()]);
    }

    #[test]
    fn a_card_is_not_run_when_what_it_needs_is_missing() {
        let cases = [
            (RunFacts { tenant_active: false, ..facts() }, CardRefusal::TenantNotActive),
            (RunFacts { project_open: false, ..facts() }, CardRefusal::ProjectArchived),
            (RunFacts { lanes: lanes_without(LaneRole::Ready), ..facts() }, CardRefusal::UnknownLane(lane("ready"))),
            (RunFacts { undone_dependencies: vec![id(30)], ..facts() }, CardRefusal::DependencyNotDone(vec![id(30)])),
            (RunFacts { model: None, ..facts() }, CardRefusal::NoModel),
            (RunFacts { model: Some(resolved(false)), ..facts() }, CardRefusal::ProviderNotUsable),
            (RunFacts { active_runs: 10, ..facts() }, CardRefusal::TooManyActiveRuns { active: 10, limit: 10 }),
        ];
        for (facts, refusal) in cases {
            card().given(vec![created()]).when(run(facts)).then_expect_error(refusal);
        }
    }

    #[test]
    fn the_last_run_within_the_limit_is_allowed() {
        card()
            .given(vec![created()])
            .when(run(RunFacts { active_runs: 9, ..facts() }))
            .then_expect_events(vec![run_requested(), moved("ready", "in-progress", 9)]);
    }

    #[test]
    fn a_card_is_not_run_from_a_lane_that_forbids_it() {
        for key in ["done", "blocked"] {
            card()
                .given(vec![created_in(key)])
                .when(run(facts()))
                .then_expect_error(CardRefusal::LaneForbidsRuns(lane(key)));
        }
    }

    #[test]
    fn a_blocked_card_is_not_run() {
        card().given(vec![created(), blocked()]).when(run(facts())).then_expect_error(CardRefusal::Blocked);
    }

    #[test]
    fn a_card_has_one_run_at_a_time() {
        let again = CardCommand::Run { run: id(40), rank: rank(9), facts: Box::new(facts()) };
        card().given(running()).when(again.clone()).then_expect_error(CardRefusal::RunAlreadyActive(RUN));
        card().given(running()).when(run(facts())).then_expect_error(CardRefusal::RunAlreadyActive(RUN));
        let ended = [running(), vec![run_finished(failed()), moved("in-progress", "ready", 10)]].concat();
        let task = Task { branch: Branch::of_run(CARD, id(40)), ..task() };
        card()
            .given(ended)
            .when(again)
            .then_expect_events(vec![CardRunRequested { run: id(40), task }.into(), moved("ready", "in-progress", 9)]);
    }

    #[test]
    fn the_first_reason_is_told_in_the_order_in_which_a_person_would_mend_them() {
        let worst = RunFacts {
            tenant_active: false,
            project_open: false,
            undone_dependencies: vec![id(30)],
            model: None,
            active_runs: 99,
            ..facts()
        };
        type Mend = fn(&mut RunFacts);
        let mend: [(Mend, CardRefusal); 6] = [
            (|_| {}, CardRefusal::TenantNotActive),
            (|facts| facts.tenant_active = true, CardRefusal::ProjectArchived),
            (|facts| facts.project_open = true, CardRefusal::DependencyNotDone(vec![id(30)])),
            (|facts| facts.undone_dependencies.clear(), CardRefusal::NoModel),
            (|facts| facts.model = Some(resolved(false)), CardRefusal::ProviderNotUsable),
            (|facts| facts.model = Some(resolved(true)), CardRefusal::TooManyActiveRuns { active: 99, limit: 10 }),
        ];
        let mut facts = worst;
        for (mended, refusal) in mend {
            mended(&mut facts);
            card().given(vec![created()]).when(run(facts.clone())).then_expect_error(refusal);
        }
    }

    #[test]
    fn after_a_success_the_card_goes_to_review() {
        card()
            .given(running())
            .when(finish(succeeded()))
            .then_expect_events(vec![run_finished(succeeded()), moved("in-progress", "review", 10)]);
    }

    #[test]
    fn after_anything_else_the_card_goes_back_to_where_it_was() {
        for result in unsuccessful() {
            card()
                .given(running())
                .when(finish(result.clone()))
                .then_expect_events(vec![run_finished(result), moved("in-progress", "ready", 10)]);
        }
    }

    #[test]
    fn a_card_that_was_run_in_progress_stays_there_unless_it_succeeded() {
        let history = || vec![created_in("in-progress"), run_requested()];
        card().given(history()).when(finish(failed())).then_expect_events(vec![run_finished(failed())]);
        card()
            .given(history())
            .when(finish(succeeded()))
            .then_expect_events(vec![run_finished(succeeded()), moved("in-progress", "review", 10)]);
    }

    #[test]
    fn on_a_board_without_a_lane_for_running_cards_a_success_goes_to_review_all_the_same() {
        let lanes = || lanes_without(LaneRole::InProgress);
        let finish = |result| CardCommand::FinishRun { run: RUN, result, lanes: lanes(), rank: rank(10) };
        let history = || vec![created(), run_requested()];
        card()
            .given(history())
            .when(finish(succeeded()))
            .then_expect_events(vec![run_finished(succeeded()), moved("ready", "review", 10)]);
        card().given(history()).when(finish(failed())).then_expect_events(vec![run_finished(failed())]);
    }

    #[test]
    fn a_card_stays_where_somebody_has_moved_it_while_it_ran() {
        for result in [succeeded(), failed()] {
            card()
                .given([running(), vec![moved("in-progress", "backlog", 3)]].concat())
                .when(finish(result.clone()))
                .then_expect_events(vec![run_finished(result)]);
        }
    }

    #[test]
    fn a_card_that_was_blocked_while_it_ran_stays_parked() {
        for parked in [vec![blocked()], vec![blocked(), moved("in-progress", "blocked", 8)]] {
            card()
                .given([running(), parked].concat())
                .when(finish(succeeded()))
                .then_expect_events(vec![run_finished(succeeded())]);
        }
    }

    #[test]
    fn a_card_stays_when_there_is_no_lane_to_go_to() {
        let finish =
            |result, role| CardCommand::FinishRun { run: RUN, result, lanes: lanes_without(role), rank: rank(10) };
        card()
            .given(running())
            .when(finish(succeeded(), LaneRole::Review))
            .then_expect_events(vec![run_finished(succeeded())]);
        card()
            .given(running())
            .when(finish(failed(), LaneRole::Ready))
            .then_expect_events(vec![run_finished(failed())]);
    }

    #[test]
    fn finishing_a_run_twice_or_another_run_changes_nothing() {
        let ended = [running(), vec![run_finished(failed()), moved("in-progress", "ready", 10)]].concat();
        card().given(ended).when(finish(failed())).then_expect_events(vec![]);
        let other =
            CardCommand::FinishRun { run: id(40), result: succeeded(), lanes: Lanes::default(), rank: rank(10) };
        card().given(running()).when(other).then_expect_events(vec![]);
        card().given(vec![created()]).when(finish(succeeded())).then_expect_events(vec![]);
    }
}

#[test]
fn lanes_mean_to_runs_what_their_roles_say_whatever_people_call_them() {
    let lane_of = |key: &str, role, runs_allowed| Lane { key: lane(key), name: name(key), role, runs_allowed };
    let lanes = Lanes::new(vec![
        lane_of("ideen", LaneRole::Backlog, false),
        lane_of("los", LaneRole::Other, true),
        lane_of("dran", LaneRole::InProgress, true),
        lane_of("fertig", LaneRole::Done, false),
    ])
    .unwrap();
    let facts = || RunFacts { lanes: lanes.clone(), ..facts() };
    card()
        .given(vec![created_in("ideen")])
        .when(run(facts()))
        .then_expect_error(CardRefusal::LaneForbidsRuns(lane("ideen")));
    card()
        .given(vec![created_in("los")])
        .when(run(facts()))
        .then_expect_events(vec![run_requested(), moved("los", "dran", 9)]);
    let done = CardMoved { from: lane("los"), to: lane("fertig"), rank: rank(2), done: true };
    card()
        .given(vec![created_in("los")])
        .when(CardCommand::Move { lane: lane("fertig"), rank: rank(2), lanes: lanes.clone() })
        .then_expect_events(vec![done.into()]);
}

#[test]
fn a_card_is_known_on_the_board_and_off_it() {
    assert!(Card::default().known().is_none());
    for history in [vec![created()], vec![created(), archived()]] {
        assert_eq!(Card::fold(&history).known().unwrap().title, title("Fix the build"));
    }
}

#[test]
fn a_fact_that_makes_no_sense_changes_nothing() {
    assert_eq!(Card::fold(&[moved("ready", "review", 2), run_requested(), archived()]), Card::Absent);
    let history = [created(), waits_for(30), created()];
    assert_eq!(Card::fold(&history), Card::fold(&history[..2]));
}

#[test]
fn refusals_have_stable_codes_and_say_what_to_do() {
    let key = || -> LaneKey { lane("ready") };
    let cases = [
        (CardRefusal::NotFound, "not_found", RefusalKind::NotFound),
        (CardRefusal::AlreadyExists, "card_already_exists", RefusalKind::Rule),
        (CardRefusal::Archived, "card_archived", RefusalKind::Rule),
        (CardRefusal::ProjectArchived, "project_archived", RefusalKind::Rule),
        (CardRefusal::TenantNotActive, "tenant_not_active", RefusalKind::Rule),
        (CardRefusal::UnknownLane(key()), "lane_unknown", RefusalKind::Invalid),
        (CardRefusal::NothingToEdit, "nothing_to_edit", RefusalKind::Invalid),
        (CardRefusal::ProviderNotUsable, "provider_not_usable", RefusalKind::Invalid),
        (CardRefusal::DependencyUnknown(id(1)), "dependency_unknown", RefusalKind::Invalid),
        (CardRefusal::DependencyCycle(id(1)), "dependency_cycle", RefusalKind::Rule),
        (CardRefusal::TooManyDependencies, "too_many_dependencies", RefusalKind::Rule),
        (CardRefusal::Blocked, "card_blocked", RefusalKind::Rule),
        (CardRefusal::RunAlreadyActive(RUN), "run_already_active", RefusalKind::Rule),
        (CardRefusal::LaneForbidsRuns(key()), "lane_forbids_runs", RefusalKind::Rule),
        (CardRefusal::DependencyNotDone(vec![id(1)]), "dependency_not_done", RefusalKind::Rule),
        (CardRefusal::NoModel, "no_model", RefusalKind::Rule),
        (CardRefusal::TooManyActiveRuns { active: 2, limit: 1 }, "too_many_active_runs", RefusalKind::Limit),
    ];
    for (refusal, code, kind) in cases {
        assert_eq!((refusal.code(), refusal.kind()), (code, kind), "{refusal}");
    }
    assert_eq!(
        CardRefusal::DependencyNotDone(vec![id(1), id(2)]).to_string(),
        "the card waits for crd_00000000000000000000000001, crd_00000000000000000000000002; finish it first"
    );
}
