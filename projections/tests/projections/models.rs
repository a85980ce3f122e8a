//! What each read model makes of what happened.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use domain::card::CardCommand;
use domain::run::{FailureKind, RunCommand};
use domain::{ProviderId, TenantId};
use projections::{Page, board, card_history, environments, runs, usage};
use time::macros::date;

use crate::support::{World, lane, model_call, reason, text};

/// A world in which one card has run, was lost once and then succeeded; and another tenant.
async fn one_run() -> (World, TenantId, domain::ProjectId, domain::CardId, domain::RunId, ProviderId) {
    let mut world = World::new(1).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    world.move_card(tenant, card, "ready").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.step(tenant, run, 1, 1).await;
    let lose = RunCommand::LoseAttempt {
        attempt: 1,
        kind: FailureKind::PodLost,
        reason: reason("the pod died"),
        log_tail: text(""),
    };
    world.run_act(tenant, run, lose).await.unwrap();
    world.begin(tenant, run, 2).await;
    world.step(tenant, run, 2, 1).await;
    world.run_act(tenant, run, model_call(2, provider, 1_000)).await.unwrap();
    world.succeed(tenant, run, 2).await;
    (world, tenant, project, card, run, provider)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_shows_in_every_model() {
    let (world, tenant, project, card, run, provider) = one_run().await;
    let following = world.follow();
    following.caught_up(&world).await;
    let mut tx = projections::read(&world.log, tenant).await.unwrap();

    let row = board::card(&mut tx, tenant, card).await.unwrap().unwrap();
    assert_eq!((row.lane.as_str(), row.active_run), ("review", None));
    let last = row.last_run.unwrap().0;
    assert_eq!((last.run, last.result.as_str(), last.commit), (run.uuid(), "succeeded", Some("c".repeat(40))));
    let occupied = board::occupied_lanes(&mut tx, tenant, project).await.unwrap();
    assert_eq!(occupied, [lane("review")].into());

    let row = runs::run(&mut tx, tenant, run).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.attempt, row.input_tokens), ("succeeded", 2, 1_000));
    assert_eq!(row.outcome.as_ref().unwrap().0.files_changed, ["src/lib.rs", "odd\u{fffd}name"]);
    assert_eq!(runs::active_runs(&mut tx, tenant, project).await.unwrap(), 0);
    let steps = runs::steps(&mut tx, tenant, run, 0).await.unwrap();
    assert_eq!(steps.iter().map(|step| (step.attempt, step.number)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    assert_eq!(steps[0].detail, "ok\n\\u0000 stays as it is");

    let found = environments::environments(&mut tx, tenant, &[(project, first(9))]).await.unwrap().remove(0);
    let attempts: Vec<_> = found.iter().map(|row| (row.run, row.attempt, row.state.as_str())).collect();
    assert_eq!(attempts, [(run.uuid(), 2, "requested"), (run.uuid(), 1, "requested")]);
    assert_eq!(row.environment, Some(found[0].environment));

    let rows =
        usage::usage(&mut tx, tenant, date!(2020 - 01 - 01), date!(2030 - 01 - 01), Some(project)).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.model_calls).sum::<i64>(), 1);
    assert_eq!(rows.iter().map(|row| row.input_tokens).sum::<i64>(), 1_000);
    assert_eq!(rows.iter().map(|row| row.runs_succeeded).sum::<i64>(), 1);
    assert!(rows.iter().map(|row| row.run_ms).sum::<i64>() > 0);
    assert!(rows.iter().all(|row| row.provider == provider.uuid()));

    let all = Page { after: None, before: None, last: false, limit: 100 };
    let history = card_history::history(&mut tx, tenant, card, all).await.unwrap();
    let kinds: Vec<&str> = history.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds.first(), Some(&"CardCreated"));
    for kind in
        ["CardRunRequested", "RunQueued", "EnvironmentRequested", "RunAttemptLost", "RunModelCalled", "CardRunFinished"]
    {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    let lost = history.iter().find(|row| row.kind == "RunAttemptLost").unwrap();
    assert_eq!(
        (lost.summary.as_str(), lost.run, lost.attempt),
        ("Attempt 1 lost: the pod died", Some(run.uuid()), Some(1))
    );
    assert!(history.iter().all(|row| !row.payload.0.get().contains("vault:")));

    // Pages, both ways.
    let middle = history[3].position;
    let page = |after, before, last| Page { after, before, last, limit: 2 };
    let positions = |rows: Vec<card_history::HistoryRow>| rows.iter().map(|row| row.position).collect::<Vec<_>>();
    let next = card_history::history(&mut tx, tenant, card, page(Some(middle), None, false)).await.unwrap();
    assert_eq!(positions(next), [history[4].position, history[5].position]);
    let before = card_history::history(&mut tx, tenant, card, page(None, Some(middle), true)).await.unwrap();
    assert_eq!(positions(before), [history[1].position, history[2].position]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_there_as_soon_as_it_is_asked_for() {
    let mut world = World::new(2).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    let following = world.follow();
    following.caught_up(&world).await;
    let mut tx = projections::read(&world.log, tenant).await.unwrap();
    let row = runs::run(&mut tx, tenant, run).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.version), ("queued", 0));
    assert_eq!(runs::active_runs(&mut tx, tenant, project).await.unwrap(), 1);
    tx.rollback().await.unwrap();

    let asked = row.queued_at;
    world.queue(tenant, run).await;
    following.caught_up(&world).await;
    let mut tx = projections::read(&world.log, tenant).await.unwrap();
    let row = runs::run(&mut tx, tenant, run).await.unwrap().unwrap();
    assert_eq!((row.version, row.queued_at), (1, asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_since_a_position_is_found_and_an_archived_card_stays_as_a_tombstone() {
    let mut world = World::new(3).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let first = world.card(tenant, project, "First").await;
    let second = world.card(tenant, project, "Second").await;
    let since = world.position;
    let third = world.card(tenant, project, "Third").await;
    world.card_act(tenant, first, CardCommand::Archive).await;
    let following = world.follow();
    following.caught_up(&world).await;
    let mut tx = projections::read(&world.log, tenant).await.unwrap();
    let changed = board::cards_changed(&mut tx, tenant, project, since).await.unwrap();
    let changed: Vec<_> = changed.iter().map(|card| (card.card, card.archived)).collect();
    assert_eq!(changed, [(third.uuid(), false), (first.uuid(), true)]);
    let shown = board::cards(&mut tx, tenant, project).await.unwrap();
    assert_eq!(shown.iter().map(|card| card.card).collect::<Vec<_>>(), [second.uuid(), third.uuid()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_board_as_of_a_position_is_what_was_shown_then() {
    let mut world = World::new(4).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let following = world.follow();
    let mut shown = Vec::new();
    for round in 0..4 {
        let card = world.card(tenant, project, &format!("Card {round}")).await;
        world.move_card(tenant, card, "ready").await;
        world.rename_project(tenant, project, &format!("Project {round}")).await;
        world.provider(tenant).await;
        world.project(tenant).await;
        if round == 2 {
            world.card_act(tenant, card, CardCommand::Archive).await;
        }
        following.caught_up(&world).await;
        let mut tx = projections::read(&world.log, tenant).await.unwrap();
        let row = board::project(&mut tx, tenant, project).await.unwrap();
        let cards = board::cards(&mut tx, tenant, project).await.unwrap();
        let workspaces = board::workspaces(&mut tx, tenant).await.unwrap();
        let providers = board::providers(&mut tx, tenant).await.unwrap();
        shown.push((world.log.head(0).await.unwrap(), row, cards, workspaces, providers));
    }
    let events = world.log.read(0, 0, 10_000).await.unwrap();
    for (position, row, cards, workspaces, providers) in &shown {
        let at = board::as_of(events.iter().take_while(|event| event.position <= *position)).unwrap();
        assert_eq!(at.project(tenant.uuid(), project.uuid()), row.as_ref());
        assert_eq!(at.cards(tenant.uuid(), project.uuid()), cards.iter().collect::<Vec<_>>());
        assert_eq!(at.workspaces(tenant.uuid()), workspaces.iter().collect::<Vec<_>>());
        assert_eq!(at.providers(tenant.uuid()), providers.iter().collect::<Vec<_>>());
        assert!(at.tenant(tenant.uuid()).is_some() && at.tenant(project.uuid()).is_none());
    }
    assert_ne!(shown[0].2, shown[3].2);
}

fn first<P>(limit: i64) -> Page<P> {
    Page { after: None, before: None, last: false, limit }
}

/// Row-level security refuses even where a query would name the wrong tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_rows_do_not_exist() {
    let (mut world, tenant, project, card, run, _) = one_run().await;
    let other = world.tenant().await;
    let following = world.follow();
    following.caught_up(&world).await;
    let of = runs::RunsOf { project, card: None };
    for named in [tenant, other] {
        let mut tx = projections::read(&world.log, other).await.unwrap();
        assert_eq!(board::tenant(&mut tx, named).await.unwrap().is_some(), named == other);
        assert_eq!(board::workspaces(&mut tx, named).await.unwrap(), []);
        assert_eq!(board::providers(&mut tx, named).await.unwrap(), []);
        assert_eq!(board::projects(&mut tx, named, &[(None, first(10))]).await.unwrap(), [[]]);
        assert_eq!(board::count_projects(&mut tx, named, &[None]).await.unwrap(), [0]);
        assert_eq!(board::project(&mut tx, named, project).await.unwrap(), None);
        assert_eq!(board::cards(&mut tx, named, project).await.unwrap(), []);
        assert_eq!(board::cards_changed(&mut tx, named, project, 0).await.unwrap(), []);
        assert_eq!(board::card(&mut tx, named, card).await.unwrap(), None);
        assert_eq!(board::occupied_lanes(&mut tx, named, project).await.unwrap(), [].into());
        assert_eq!(runs::run(&mut tx, named, run).await.unwrap(), None);
        assert_eq!(runs::runs(&mut tx, named, &[(of, first(10))]).await.unwrap(), [[]]);
        assert_eq!(runs::counts(&mut tx, named, &[of]).await.unwrap(), [0]);
        assert_eq!(environments::environments(&mut tx, named, &[(project, first(10))]).await.unwrap(), [[]]);
        assert_eq!(runs::steps(&mut tx, named, run, 0).await.unwrap(), []);
        assert_eq!(runs::active_runs(&mut tx, named, project).await.unwrap(), 0);
        assert!(!card_history::exists(&mut tx, named, card).await.unwrap());
        let days = (date!(2020 - 01 - 01), date!(2030 - 01 - 01));
        assert_eq!(usage::usage(&mut tx, named, days.0, days.1, None).await.unwrap(), []);
    }
}
