//! Given, when, then.

use cqrs_es::persist::SerializedEvent;
use cqrs_es::test::TestFramework;
use serde_json::{Value, json};

use super::{
    CreateFacts, ExecutionPolicy, Lane, LaneRole, Lanes, ModelChoice, Project, ProjectArchived, ProjectCommand,
    ProjectCreated, ProjectEvent, ProjectLanesConfigured, ProjectModelChosen, ProjectPolicySet, ProjectRefusal,
    ProjectRenamed, ProjectRepositoryConnected, Repository,
};
use crate::given::{id, lane, model, name, secret, url};
use crate::value::Branch;
use crate::{Decider, Event, Refusal, RefusalKind};

const ALL_WELL: CreateFacts = CreateFacts { tenant_active: true, workspace_open: true, provider_usable: true };

fn project() -> TestFramework<Project> {
    TestFramework::with(())
}

fn repository(address: &str) -> Repository {
    Repository { url: url(address), default_branch: Branch::new("main").unwrap(), credential: None }
}

fn here() -> Repository {
    repository("https://git.example/shop.git")
}

fn created() -> ProjectEvent {
    ProjectCreated {
        workspace: id(1),
        name: name("Shop"),
        repository: here(),
        lanes: Lanes::default(),
        policy: ExecutionPolicy::default(),
        model: None,
    }
    .into()
}

fn archived() -> ProjectEvent {
    ProjectArchived {}.into()
}

fn create(facts: CreateFacts) -> ProjectCommand {
    ProjectCommand::Create {
        workspace: id(1),
        name: name("Shop"),
        repository: here(),
        lanes: Lanes::default(),
        policy: ExecutionPolicy::default(),
        model: None,
        facts,
    }
}

fn rename(to: &str) -> ProjectCommand {
    ProjectCommand::Rename { name: name(to) }
}

fn connect(repository: Repository) -> ProjectCommand {
    ProjectCommand::ConnectRepository { repository }
}

fn two_lanes() -> Lanes {
    let lane = |key, role| Lane { key: lane(key), name: name(key), role, runs_allowed: true };
    Lanes::new(vec![lane("ready", LaneRole::Ready), lane("done", LaneRole::Done)]).unwrap()
}

fn configure(lanes: Lanes, occupied: &[&str]) -> ProjectCommand {
    ProjectCommand::ConfigureLanes { lanes, occupied: occupied.iter().map(|key| lane(key)).collect() }
}

fn strict() -> ExecutionPolicy {
    ExecutionPolicy { max_active_runs: 1, ..ExecutionPolicy::default() }
}

fn set_policy(policy: ExecutionPolicy) -> ProjectCommand {
    ProjectCommand::SetPolicy { policy }
}

fn choice() -> ModelChoice {
    ModelChoice { provider: id(7), model: Some(model("claude-sonnet")) }
}

fn choose(provider_usable: bool) -> ProjectCommand {
    ProjectCommand::ChooseModel { model: choice(), provider_usable }
}

/// Every command but `Create`.
fn changes() -> [ProjectCommand; 6] {
    [
        rename("Store"),
        connect(repository("https://git.example/store.git")),
        configure(two_lanes(), &[]),
        set_policy(strict()),
        choose(true),
        ProjectCommand::Archive,
    ]
}

#[test]
fn a_project_is_created() {
    project().given_no_previous_events().when(create(ALL_WELL)).then_expect_events(vec![created()]);
}

#[test]
fn a_project_is_created_only_once() {
    project().given(vec![created()]).when(create(ALL_WELL)).then_expect_error(ProjectRefusal::AlreadyExists);
    project()
        .given(vec![created(), archived()])
        .when(create(ALL_WELL))
        .then_expect_error(ProjectRefusal::AlreadyExists);
}

#[test]
fn a_project_is_not_created_where_it_could_not_work() {
    let cases = [
        (CreateFacts { tenant_active: false, ..ALL_WELL }, ProjectRefusal::TenantNotActive),
        (CreateFacts { workspace_open: false, ..ALL_WELL }, ProjectRefusal::WorkspaceNotOpen),
        (CreateFacts { provider_usable: false, ..ALL_WELL }, ProjectRefusal::ProviderNotUsable),
    ];
    for (facts, refusal) in cases {
        project().given_no_previous_events().when(create(facts)).then_expect_error(refusal);
    }
}

#[test]
fn a_project_that_does_not_exist_takes_no_command() {
    for command in changes() {
        project().given_no_previous_events().when(command).then_expect_error(ProjectRefusal::NotFound);
    }
}

#[test]
fn an_archived_project_takes_no_command_but_to_archive_it() {
    for command in changes() {
        let repeated = command == ProjectCommand::Archive;
        let then = project().given(vec![created(), archived()]).when(command);
        if repeated { then.then_expect_events(vec![]) } else { then.then_expect_error(ProjectRefusal::Archived) }
    }
}

#[test]
fn a_project_is_renamed() {
    let renamed = ProjectRenamed { name: name("Store") }.into();
    project().given(vec![created()]).when(rename("Store")).then_expect_events(vec![renamed]);
}

#[test]
fn the_code_of_a_project_moves_elsewhere_or_gets_a_credential() {
    let store = repository("https://git.example/store.git");
    let with_credential = Repository { credential: Some(secret(3)), ..here() };
    for repository in [store, with_credential] {
        project()
            .given(vec![created()])
            .when(connect(repository.clone()))
            .then_expect_events(vec![ProjectRepositoryConnected { repository }.into()]);
    }
}

#[test]
fn a_board_gets_other_lanes() {
    project()
        .given(vec![created()])
        .when(configure(two_lanes(), &["ready", "done"]))
        .then_expect_events(vec![ProjectLanesConfigured { lanes: two_lanes() }.into()]);
}

#[test]
fn a_lane_that_holds_cards_never_vanishes() {
    project()
        .given(vec![created()])
        .when(configure(two_lanes(), &["ready", "review"]))
        .then_expect_error(ProjectRefusal::LaneOccupied(lane("review")));
}

#[test]
fn the_runs_of_a_project_get_other_bounds() {
    project()
        .given(vec![created()])
        .when(set_policy(strict()))
        .then_expect_events(vec![ProjectPolicySet { policy: strict() }.into()]);
}

#[test]
fn the_runs_of_a_project_get_another_model() {
    project()
        .given(vec![created()])
        .when(choose(true))
        .then_expect_events(vec![ProjectModelChosen { model: choice() }.into()]);
}

#[test]
fn a_model_is_not_chosen_from_a_provider_that_runs_could_not_use() {
    project().given(vec![created()]).when(choose(false)).then_expect_error(ProjectRefusal::ProviderNotUsable);
}

#[test]
fn a_project_is_archived() {
    project().given(vec![created()]).when(ProjectCommand::Archive).then_expect_events(vec![archived()]);
}

#[test]
fn what_is_so_already_changes_nothing() {
    let as_created = [
        rename("Shop"),
        connect(here()),
        configure(Lanes::default(), &["ready"]),
        set_policy(ExecutionPolicy::default()),
    ];
    for command in as_created {
        project().given(vec![created()]).when(command).then_expect_events(vec![]);
    }
    let changed = [
        created(),
        ProjectRenamed { name: name("Store") }.into(),
        ProjectRepositoryConnected { repository: repository("https://git.example/store.git") }.into(),
        ProjectLanesConfigured { lanes: two_lanes() }.into(),
        ProjectPolicySet { policy: strict() }.into(),
        ProjectModelChosen { model: choice() }.into(),
        archived(),
    ];
    for command in changes() {
        let until = if command == ProjectCommand::Archive { changed.len() } else { changed.len() - 1 };
        project().given(changed[..until].to_vec()).when(command).then_expect_events(vec![]);
    }
}

#[test]
fn an_archived_project_is_still_known_but_not_open() {
    let state = Project::fold(&[created(), archived()]);
    assert!(state.open().is_none());
    let Project::Archived(known) = state else { panic!("{state:?}") };
    assert_eq!(known.name, name("Shop"));
}

#[test]
fn a_fact_that_makes_no_sense_changes_nothing() {
    assert_eq!(Project::fold(&[archived()]), Project::Absent);
    let history = [created(), archived(), created(), ProjectRenamed { name: name("Store") }.into()];
    assert_eq!(Project::fold(&history), Project::fold(&history[..2]));
}

/// What the upcasters make of a stored `ProjectCreated` of version 1.
fn lifted(payload: Value) -> SerializedEvent {
    let old = SerializedEvent::new(
        String::new(),
        1,
        Project::TYPE.into(),
        "ProjectCreated".into(),
        "1".into(),
        payload,
        Value::Null,
    );
    Project::upcasters().iter().fold(old, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) { upcaster.upcast(event) } else { event }
    })
}

#[test]
fn a_project_of_version_one_gets_its_repository_as_a_value_and_no_model() {
    let mut payload: Value = serde_json::from_str(&created().encode().unwrap()).unwrap();
    let fields = payload.as_object_mut().unwrap();
    fields.remove("model");
    fields.remove("repository");
    fields.insert("repository_url".into(), json!("https://git.example/shop.git"));
    fields.insert("default_branch".into(), json!("main"));

    let event = lifted(payload);

    assert_eq!(event.event_version, "2");
    assert_eq!(ProjectEvent::decode(&event.event_type, &event.payload.to_string()).unwrap(), created());
}

#[test]
fn a_project_of_the_current_version_is_not_lifted() {
    assert!(!Project::upcasters().iter().any(|upcaster| upcaster.can_upcast("ProjectCreated", "2")));
    assert!(!Project::upcasters().iter().any(|upcaster| upcaster.can_upcast("ProjectRenamed", "1")));
}

#[test]
fn refusals_have_stable_codes() {
    let told = |refusal: ProjectRefusal| (refusal.code(), refusal.kind());
    assert_eq!(told(ProjectRefusal::NotFound), ("not_found", RefusalKind::NotFound));
    assert_eq!(told(ProjectRefusal::AlreadyExists), ("project_already_exists", RefusalKind::Rule));
    assert_eq!(told(ProjectRefusal::TenantNotActive), ("tenant_not_active", RefusalKind::Rule));
    assert_eq!(told(ProjectRefusal::WorkspaceNotOpen), ("workspace_not_found", RefusalKind::Invalid));
    assert_eq!(told(ProjectRefusal::ProviderNotUsable), ("provider_not_usable", RefusalKind::Invalid));
    assert_eq!(told(ProjectRefusal::Archived), ("project_archived", RefusalKind::Rule));
    assert_eq!(told(ProjectRefusal::LaneOccupied(lane("ready"))), ("lane_occupied", RefusalKind::Rule));
}
