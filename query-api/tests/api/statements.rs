//! How many statements a question costs: the database itself writes down what it was asked.
//!
//! Counted is every `SELECT` of the role that questions are asked in, the one that sets the tenant among them; not
//! counted are `BEGIN` and `ROLLBACK`.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::time::Duration;

use domain::card::CardCommand;
use domain::id::CommentId;
use domain::personal::SealedText;
use domain::{CardId, PersonalText, ProjectId, ProviderId, SubjectId, TenantId};
use query_api::Settings;
use serde_json::{Value, json};

use crate::api::Api;
use crate::support::{World, model_call};

/// The role that questions are asked in.
const ROLE: &str = "agentworks_app";

/// An API with so many connections, all of its own.
async fn with_connections(world: &World, max_connections: u32, time: Duration) -> Api {
    let settings = outbox::LogSettings { url: world.database.url.clone(), max_connections, notify: false };
    let log = outbox::Log::connect(&settings).await.unwrap();
    let settings = Settings { max_complexity: 10_000_000, time, ..Settings::default() };
    let api = Api::of(world, log, settings, None).await;
    api.caught_up(world).await;
    api
}

/// A world with an API whose statements are written down.
async fn written_down(world: &World) -> Api {
    let name = &world.database.name;
    let set = format!("ALTER DATABASE {name} SET log_statement = 'all'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut world.database.admin().await).await.unwrap();
    with_connections(world, 4, Duration::from_secs(30)).await
}

/// Every statement that was written down, in order.
fn statements(world: &World) -> Vec<String> {
    let (_, folder) = world.database.url.split_once("host=").unwrap();
    let log = std::fs::read_to_string(format!("{folder}/server.log")).unwrap();
    let mine = format!("{} {ROLE} LOG:  ", world.database.name);
    let statement = |line: &str| {
        let (how, text) = line.strip_prefix(&mine)?.split_once(": ")?;
        (how == "statement" || how.starts_with("execute ")).then(|| text.to_owned())
    };
    log.lines().filter_map(statement).collect()
}

/// The answer, and the `SELECT`s that it took.
async fn counted(world: &World, api: &Api, tenant: TenantId, query: &str, variables: Value) -> (Value, Vec<String>) {
    // What connections ask once, such as what a type is called, is asked now.
    api.data(tenant, query, variables.clone()).await;
    let before = statements(world).len();
    let answer = api.data(tenant, query, variables).await;
    let mut asked = statements(world).split_off(before);
    assert!(!asked.is_empty());
    asked.retain(|statement| statement.starts_with("SELECT"));
    (answer, asked)
}

async fn run(world: &mut World, tenant: TenantId, card: CardId, provider: ProviderId) {
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    world.begin(tenant, run, 1).await;
    world.step(tenant, run, 1, 1).await;
    world.run_act(tenant, run, model_call(1, provider, 1_000)).await.unwrap();
    world.succeed(tenant, run, 1).await;
    world.move_card(tenant, card, "ready").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_history_with_run_and_usage_takes_four_statements_whatever_its_size() {
    let mut world = World::new(41).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    // Said by somebody, so that there is somebody to be asked for.
    let text =
        PersonalText::Sealed(SealedText { subject: SubjectId::from_uuid(world.uuid()), sealed: "AAAA".to_owned() });
    let comment = CommentId::from_uuid(world.uuid());
    world.card_act(tenant, card, CardCommand::Comment { comment, text }).await;
    for _ in 0..6 {
        run(&mut world, tenant, card, provider).await;
    }
    let api = written_down(&world).await;
    let query = "query Q($card: ID!, $first: Int) { cardHistory(card: $card, first: $first) {
        nodes { kind summary text actor inRun { id state requestedBy reason modelCalls
            tokens { input output cacheRead cacheWrite } } }
        pageInfo { hasNextPage endCursor } } }";
    for first in [5, 50] {
        let asked = json!({ "card": card, "first": first });
        let (answer, statements) = counted(&world, &api, tenant, query, asked).await;
        let entries = answer["cardHistory"]["nodes"].as_array().unwrap().clone();
        assert_eq!(entries.len(), first);
        assert!(first == 5 || entries.iter().any(|entry| entry["inRun"]["tokens"]["input"] == "1000"), "{answer}");
        // Tenant, history, runs, people.
        assert_eq!(statements.len(), 4, "{statements:#?}");
    }
}

/// So many cards in a project of their own, each with its runs.
async fn cards(world: &mut World, tenant: TenantId, provider: ProviderId, count: usize) -> ProjectId {
    let project = world.project(tenant).await;
    for number in 0..count {
        let card = world.card(tenant, project, &format!("Card {number}")).await;
        for _ in 0..number % 3 {
            run(world, tenant, card, provider).await;
        }
    }
    project
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_below_a_list_takes_as_many_statements_for_a_long_list_as_for_a_short_one() {
    let mut world = World::new(42).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let few = cards(&mut world, tenant, provider, 3).await;
    let many = cards(&mut world, tenant, provider, 40).await;
    let api = written_down(&world).await;
    let query = "query Q($project: ID!) { cards(project: $project, orderBy: CREATED) { totalCount nodes { id createdBy
        runs(first: 2) { nodes { id steps { title } } }
        history(last: 9) { nodes { kind actor inRun { state } } } } } }";
    let mut counts = Vec::new();
    for (project, count) in [(few, 3), (many, 40)] {
        let (answer, statements) = counted(&world, &api, tenant, query, json!({ "project": project })).await;
        let cards = answer["cards"]["nodes"].as_array().unwrap();
        assert_eq!(cards.len(), count);
        let runs: usize = cards.iter().map(|card| card["runs"]["nodes"].as_array().unwrap().len()).sum();
        assert!(runs * 10 > count * 5, "{answer}");
        counts.push((statements.len(), statements));
    }
    assert_eq!(counts[0].0, counts[1].0, "{counts:#?}");
    // Tenant, project, how many, cards; people, runs, history; steps, runs of the history, people of it.
    assert!(counts[0].0 <= 10, "{counts:#?}");
}

/// Who held a connection while waiting for another one could wait for ever, and all others with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_enough_for_whatever_a_request_reads() {
    let mut world = World::new(43).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = cards(&mut world, tenant, provider, 2).await;
    let card = world.card(tenant, project, "First").await;
    run(&mut world, tenant, card, provider).await;
    let api = with_connections(&world, 1, Duration::from_secs(5)).await;
    let at = json!(schemas::Cursor { partition: 0, position: world.position });
    let query = "query Q($project: ID!, $card: ID!, $at: Cursor!) {
        me { tenant { projects { totalCount nodes { cards(first: 5) { nodes { lastRun { run { card { id } } } } } } } } }
        log(first: 3) { nodes { kind } } readModels { name behind } usage { totals { modelCalls } }
        waits: cards(project: $project, waitFor: $at) { totalCount nodes { id createdBy } }
        board(project: $project) { cursor lanes { cards { id runs(last: 1) { nodes { steps { title } } } } } }
        was: board(project: $project, asOf: $at) { cursor lanes { cards { activeRun { id } history(last: 1) { nodes { actor } } } } }
        cardReplay(card: $card) { nodes { cursor } checkpoint }
        cardHistory(card: $card, waitFor: $at) { nodes { actor text inRun { id } } } }";
    let asked = json!({ "project": project, "card": card, "at": at });
    let answers = (0..8).map(|_| api.data(tenant, query, asked.clone()));
    for answer in futures::future::join_all(answers).await {
        assert_eq!(answer["waits"]["totalCount"], 3);
        assert_eq!(answer["board"]["cursor"], answer["was"]["cursor"]);
    }
}
