//! Lists of cards and runs, in pages.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use domain::card::{AgentProfile, CardCommand};
use domain::value::{Name, Title};
use domain::{CardId, ProjectId, TenantId};
use serde_json::{Value, json};

use crate::api::Api;
use crate::support::{World, text};

const CARDS: &str = "query Q($project: ID!, $filter: CardFilter, $order: CardOrder! = BOARD, $first: Int, $after: String,
        $last: Int, $before: String, $at: Cursor) {
    cards(project: $project, filter: $filter, orderBy: $order, first: $first, after: $after, last: $last, before: $before,
        waitFor: $at) {
        totalCount edges { cursor node { id title } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

/// Every page of a list in turn, from either end; what stood on them, in the list's order. `at` is where the list stands in
/// the answer.
async fn pages(api: &Api, tenant: TenantId, query: &str, at: &str, mut asked: Value, backward: bool) -> Vec<Value> {
    let (size, from, more, edge) = if backward {
        ("last", "before", "hasPreviousPage", "startCursor")
    } else {
        ("first", "after", "hasNextPage", "endCursor")
    };
    asked[size] = json!(2);
    let mut all: Vec<Value> = Vec::new();
    loop {
        let answer = api.data(tenant, query, asked.clone()).await;
        let page = answer.pointer(at).unwrap_or_else(|| panic!("no {at} in {answer}")).clone();
        let edges = page["edges"].as_array().unwrap().clone();
        assert!(edges.len() <= 2);
        all = if backward { [edges, all].concat() } else { [all, edges].concat() };
        // A page says that others follow it exactly when they do.
        assert_eq!(page["totalCount"].as_u64().unwrap() > all.len() as u64, page["pageInfo"][more] == true, "{page}");
        if page["pageInfo"][more] == false {
            return all;
        }
        asked[from] = page["pageInfo"][edge].clone();
    }
}

/// As [`pages`], of a project's cards.
async fn walked(api: &Api, tenant: TenantId, asked: Value, backward: bool) -> Vec<Value> {
    pages(api, tenant, CARDS, "/cards", asked, backward).await
}

fn titles(edges: &[Value]) -> Vec<&str> {
    edges.iter().map(|edge| edge["node"]["title"].as_str().unwrap()).collect()
}

async fn edit(world: &mut World, tenant: TenantId, card: CardId, title: &str, description: &str) {
    let edit = CardCommand::Edit { title: Some(Title::new(title).unwrap()), description: Some(text(description)) };
    world.card_act(tenant, card, edit).await;
}

/// Seven cards in several states; their ids by their titles' order.
async fn seven(world: &mut World, tenant: TenantId, project: ProjectId) -> Vec<CardId> {
    let mut cards = Vec::new();
    for title in ["a", "b", "c", "d", "e", "f", "g"] {
        cards.push(world.card(tenant, project, title).await);
    }
    world.move_card(tenant, cards[2], "review").await;
    world.move_card(tenant, cards[0], "ready").await;
    let reason = domain::PersonalText::plain("waits");
    let rank = domain::card::Rank::end(time::OffsetDateTime::UNIX_EPOCH);
    world
        .card_act(tenant, cards[4], CardCommand::Block { reason, lanes: domain::project::Lanes::default(), rank })
        .await;
    world.card_act(tenant, cards[5], CardCommand::Archive).await;
    cards
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cards_are_listed_in_each_order_from_both_ends() {
    let mut world = World::new(1).await;
    let tenant = world.tenant().await;
    let project = world.project(tenant).await;
    let cards = seven(&mut world, tenant, project).await;
    let api = Api::start(&world).await;
    api.caught_up(&world).await;

    let both = json!({ "archived": null });
    for (order, filter, expected) in [
        ("BOARD", Value::Null, ["b", "d", "g", "a", "c", "e"].as_slice()),
        ("CREATED", Value::Null, &["g", "e", "d", "c", "b", "a"]),
        ("UPDATED", Value::Null, &["e", "a", "c", "g", "d", "b"]),
        ("CREATED", both.clone(), &["g", "f", "e", "d", "c", "b", "a"]),
        ("UPDATED", both, &["f", "e", "a", "c", "g", "d", "b"]),
    ] {
        let asked = json!({ "project": project, "order": order, "filter": filter });
        let whole = walked(&api, tenant, asked.clone(), false).await;
        assert_eq!(titles(&whole), expected, "{order}");
        assert_eq!(walked(&api, tenant, asked.clone(), true).await, whole, "{order}");
        // Between two places, from either end.
        let between = json!({ "project": project, "order": order, "filter": filter,
            "after": whole[1]["cursor"], "before": whole[4]["cursor"] });
        for (size, more) in [("first", "hasNextPage"), ("last", "hasPreviousPage")] {
            let mut asked = between.clone();
            asked[size] = json!(2);
            let page = api.data(tenant, CARDS, asked).await["cards"].clone();
            assert_eq!(page["edges"], json!(whole[2..4]), "{order}");
            assert_eq!(page["totalCount"], whole.len());
            assert_eq!(page["pageInfo"][more], false, "{page}");
        }
    }

    // A place outlives its card's move, and a page goes on from where it ended.
    let asked = json!({ "project": project, "first": 2 });
    let page = api.data(tenant, CARDS, asked).await["cards"].clone();
    world.move_card(tenant, cards[3], "done").await;
    let at = schemas::Cursor { partition: 0, position: world.position }.to_string();
    let asked = json!({ "project": project, "after": page["pageInfo"]["endCursor"], "at": at });
    let page = api.data(tenant, CARDS, asked).await["cards"].clone();
    assert_eq!(titles(page["edges"].as_array().unwrap()), ["g", "a", "c", "d", "e"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cards_are_narrowed_down_and_found_by_their_words() {
    let mut world = World::new(2).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let cards = seven(&mut world, tenant, project).await;
    edit(&mut world, tenant, cards[1], "Upload fails", "The proxy cuts large files off.").await;
    let since = world.card(tenant, project, "Proxy settings").await;
    let agent = AgentProfile { name: Name::new("Coder").unwrap(), provider: None, model: None, instructions: None };
    let assign = CardCommand::AssignAgent { agent: Some(agent), provider_usable: true };
    world.card_act(tenant, cards[6], assign).await;
    world.request_run(tenant, cards[0], provider).await.unwrap();
    let api = Api::start(&world).await;
    api.caught_up(&world).await;

    let before = "query Q($id: ID!) { card(id: $id) { updatedAt } }";
    let edited = api.data(tenant, before, json!({ "id": cards[1] })).await["card"]["updatedAt"].clone();
    for (filter, expected) in [
        (json!({ "lanes": ["review"] }), ["c"].as_slice()),
        (json!({ "lanes": [] }), &[]),
        (json!({ "lanes": ["No Lane\u{0}", "x"] }), &[]),
        (json!({ "archived": true }), &["f"]),
        (json!({ "blocked": true }), &["e"]),
        (
            json!({ "blocked": false, "running": false, "lanes": ["backlog"] }),
            &["Upload fails", "d", "g", "Proxy settings"],
        ),
        (json!({ "running": true }), &["a"]),
        (json!({ "assigned": true }), &["g"]),
        (json!({ "assigned": false, "lanes": ["backlog"] }), &["Upload fails", "d", "Proxy settings"]),
        (json!({ "updatedAfter": edited }), &["Proxy settings", "a", "g"]),
        (json!({ "search": "PROXY" }), &["Upload fails", "Proxy settings"]),
        (json!({ "search": "proxy -settings" }), &["Upload fails"]),
        (json!({ "search": "\"large files\" or settings" }), &["Upload fails", "Proxy settings"]),
        (json!({ "search": "files large upload" }), &["Upload fails"]),
        (json!({ "search": "'); DROP TABLE cards; --\u{0} & | ! : * <->" }), &[]),
        (json!({ "search": "f" }), &[]),
        (json!({ "search": "f", "archived": null }), &["f"]),
    ] {
        let found = walked(&api, tenant, json!({ "project": project, "filter": filter }), false).await;
        let mut found = titles(&found);
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{filter}");
    }
    assert_ne!(since, cards[1]);
    let blank = api.data(tenant, CARDS, json!({ "project": project, "filter": { "search": "  " } })).await;
    assert_eq!(blank["cards"]["totalCount"], 7);

    // What is not ours, or not at all, has no cards.
    let theirs = api.data(other, CARDS, json!({ "project": project })).await;
    for unknown in ["prj_00000000000000000000000000", "", "x"] {
        assert_eq!(api.data(tenant, CARDS, json!({ "project": unknown })).await, theirs);
    }
    assert_eq!((&theirs["cards"]["totalCount"], &theirs["cards"]["edges"]), (&json!(0), &json!([])));

    let first = api.data(tenant, CARDS, json!({ "project": project, "first": 1 })).await;
    let cursor = first["cards"]["pageInfo"]["endCursor"].clone();
    for (order, cursor) in [
        ("CREATED", cursor),
        ("BOARD", json!("")),
        ("BOARD", json!("b.backlog.\u{0}.crd_00000000000000000000000000")),
        ("BOARD", json!("b.back log.a.crd_00000000000000000000000000")),
        ("BOARD", json!("b.backlog.a.crd_x")),
        ("UPDATED", json!("u.-1.crd_00000000000000000000000000")),
        ("UPDATED", json!("u.18446744073709551615.crd_00000000000000000000000000")),
    ] {
        for end in ["after", "before"] {
            let mut asked = json!({ "project": project, "order": order });
            asked[end] = cursor.clone();
            assert_eq!(api.code(tenant, CARDS, asked).await, "cursor_invalid", "{order} {cursor}");
        }
    }
    let both = json!({ "project": project, "first": 1, "last": 1 });
    assert_eq!(api.code(tenant, CARDS, both).await, "page_invalid");
    let long = json!({ "project": project, "filter": { "search": "x".repeat(1_001) } });
    assert_eq!(api.code(tenant, CARDS, long).await, "filter_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_has_its_runs_and_its_history_with_the_runs_in_it() {
    let mut world = World::new(3).await;
    let tenant = world.tenant().await;
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let run = world.request_run(tenant, card, provider).await.unwrap();
        world.queue(tenant, run).await;
        world.begin(tenant, run, 1).await;
        world.succeed(tenant, run, 1).await;
        world.move_card(tenant, card, "ready").await;
        runs.push(run);
    }
    let second = world.card(tenant, project, "Second").await;
    let api = Api::start(&world).await;
    api.caught_up(&world).await;

    let query = "query Q($id: ID!, $after: String) { card(id: $id) {
        runs(first: 1, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } }
        history(last: 30) { nodes { id kind run inRun { id state } } pageInfo { hasPreviousPage } } }
        cardHistory(card: $id, last: 30) { nodes { id kind run inRun { id state } } pageInfo { hasPreviousPage } } }";
    let found = api.data(tenant, query, json!({ "id": card })).await;
    let page = &found["card"]["runs"];
    assert_eq!((&page["nodes"], &page["pageInfo"]["hasNextPage"]), (&json!([{ "id": runs[1] }]), &json!(true)));
    let next = api.data(tenant, query, json!({ "id": card, "after": page["pageInfo"]["endCursor"] })).await;
    let page = &next["card"]["runs"];
    assert_eq!((&page["nodes"], &page["pageInfo"]["hasNextPage"]), (&json!([{ "id": runs[0] }]), &json!(false)));
    assert_eq!(found["card"]["history"], found["cardHistory"]);
    let entries = found["card"]["history"]["nodes"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["run"] == Value::Null && entry["inRun"] == Value::Null));
    for entry in entries.iter().filter(|entry| entry["run"] != Value::Null) {
        assert_eq!(entry["inRun"], json!({ "id": entry["run"], "state": "SUCCEEDED" }));
    }

    // Each card's own, though they are read together.
    let each = "query Q($id: ID!) { cards(project: $id, orderBy: CREATED, first: 3) {
        nodes { id runs(first: 1) { nodes { id } } history(first: 1) { nodes { kind payload } } } } }";
    let found = api.data(tenant, each, json!({ "id": project })).await;
    let found = found["cards"]["nodes"].as_array().unwrap();
    assert_eq!((found[0]["id"].clone(), &found[0]["runs"]["nodes"]), (json!(second), &json!([])));
    assert_eq!((found[1]["id"].clone(), &found[1]["runs"]["nodes"]), (json!(card), &json!([{ "id": runs[1] }])));
    for (entry, title) in [(&found[0], "Second"), (&found[1], "First")] {
        let entry = &entry["history"]["nodes"][0];
        assert_eq!(entry["kind"], "CardCreated");
        assert!(entry["payload"].as_str().unwrap().contains(title), "{entry}");
    }
    let bad = "query Q($id: ID!) { card(id: $id) { runs(after: \"x\") { nodes { id } } } }";
    assert_eq!(api.code(tenant, bad, json!({ "id": card })).await, "cursor_invalid");
}

/// The arguments of a page, and what is asked of each.
const RANGE: &str = "first: $first, after: $after, last: $last, before: $before";
const EDGES: &str =
    "{ totalCount edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }";

fn question(declared: &str, path: &str) -> String {
    let path = path.replace("RANGE", RANGE).replace("EDGES", EDGES);
    format!("query Q({declared} $first: Int, $after: String, $last: Int, $before: String) {{ {path} }}")
}

fn ids(edges: &[Value]) -> Vec<Value> {
    edges.iter().map(|edge| edge["node"]["id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_is_the_same_from_both_ends_and_below_what_it_belongs_to() {
    let mut world = World::new(4).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let provider = world.provider(tenant).await;
    let workspace = world.workspace(tenant).await;
    let mut projects = Vec::new();
    for _ in 0..5 {
        projects.push(world.project_in(tenant, workspace).await);
    }
    let project = projects[1];
    let elsewhere = world.project(tenant).await;
    let (first, second) = (world.card(tenant, project, "First").await, world.card(tenant, project, "Second").await);
    let (mut runs, mut firsts, mut environments) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..7 {
        let card = if number % 2 == 0 { first } else { second };
        let run = world.request_run(tenant, card, provider).await.unwrap();
        world.queue(tenant, run).await;
        environments.insert(0, world.begin(tenant, run, 1).await);
        world.succeed(tenant, run, 1).await;
        world.move_card(tenant, card, "ready").await;
        runs.insert(0, run);
        if card == first {
            firsts.insert(0, run);
        }
    }
    let api = Api::start(&world).await;
    api.caught_up(&world).await;

    let all: Vec<_> = projects.iter().chain([&elsewhere]).collect();
    let cards = json!([second, first]);
    for (declared, root, below, at, expected) in [
        ("", "projects(RANGE) EDGES", "me { tenant { projects(RANGE) EDGES } }", "/me/tenant/projects", json!(all)),
        (
            "$workspace: ID!",
            "projects(workspace: $workspace, RANGE) EDGES",
            "node(id: $workspace) { ... on Workspace { projects(RANGE) EDGES } }",
            "/node/projects",
            json!(projects),
        ),
        (
            "$project: ID!",
            "cards(project: $project, orderBy: CREATED, filter: { blocked: false }, RANGE) EDGES",
            "project(id: $project) { cards(orderBy: CREATED, filter: { blocked: false }, RANGE) EDGES }",
            "/project/cards",
            cards,
        ),
        (
            "$project: ID!",
            "runs(project: $project, RANGE) EDGES",
            "project(id: $project) { runs(RANGE) EDGES }",
            "/project/runs",
            json!(runs),
        ),
        (
            "$project: ID!, $card: ID!",
            "runs(project: $project, card: $card, RANGE) EDGES",
            "project(id: $project) { runs(card: $card, RANGE) EDGES }",
            "/project/runs",
            json!(firsts),
        ),
        (
            "$project: ID!, $card: ID!",
            "runs(project: $project, card: $card, RANGE) EDGES",
            "card(id: $card) { project { id } runs(RANGE) EDGES } project(id: $project) { id }",
            "/card/runs",
            json!(firsts),
        ),
        (
            "$project: ID!",
            "environments(project: $project, RANGE) EDGES",
            "project(id: $project) { environments(RANGE) EDGES }",
            "/project/environments",
            json!(environments),
        ),
        (
            "$card: ID!",
            "cardHistory(card: $card, RANGE) EDGES",
            "card(id: $card) { history(RANGE) EDGES }",
            "/card/history",
            Value::Null,
        ),
    ] {
        let asked = json!({ "workspace": workspace, "project": project, "card": first });
        let name = root.split('(').next().unwrap();
        let (root, below, root_at) = (question(declared, root), question(declared, below), format!("/{name}"));
        let whole = pages(&api, tenant, &root, &root_at, asked.clone(), false).await;
        // What is to come is known of all but the history, whose events come in the order of the log.
        if expected == Value::Null {
            assert!(whole.len() > 20, "{whole:?}");
        } else {
            assert_eq!(json!(ids(&whole)), expected, "{root}");
        }
        for (query, at) in [(&root, root_at.as_str()), (&below, at)] {
            for backward in [false, true] {
                assert_eq!(pages(&api, tenant, query, at, asked.clone(), backward).await, whole, "{query} {backward}");
            }
            // Between two places, from either end.
            for (size, more) in [("first", "hasNextPage"), ("last", "hasPreviousPage")] {
                let mut asked = asked.clone();
                asked["after"] = whole[0]["cursor"].clone();
                asked["before"] = whole[whole.len() - 1]["cursor"].clone();
                asked[size] = json!(1);
                let answer = api.data(tenant, query, asked).await;
                let page = answer.pointer(at).unwrap();
                let between = &whole[1..whole.len() - 1];
                let one = if size == "first" { between.first() } else { between.last() };
                assert_eq!(page["edges"].as_array().unwrap().first(), one, "{query}");
                assert_eq!(
                    (&page["pageInfo"][more], &page["totalCount"]),
                    (&json!(between.len() > 1), &json!(whole.len()))
                );
            }
            for (bad, code) in [
                (json!({ "first": 1, "last": 1 }), "page_invalid"),
                (json!({ "last": 0 }), "page_invalid"),
                (json!({ "before": "x" }), "cursor_invalid"),
            ] {
                let mut asked = asked.clone();
                asked.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
                assert_eq!(api.code(tenant, query, asked).await, code, "{query} {bad}");
            }
        }
        // Nobody else has any of it.
        let theirs = api.data(other, &root, asked.clone()).await;
        if theirs[name] != Value::Null {
            assert_eq!((&theirs[name]["edges"], &theirs[name]["totalCount"]), (&json!([]), &json!(0)), "{theirs}");
        }
    }

    // A card of another project has no runs here.
    let foreign = question("$project: ID!, $card: ID!", "runs(project: $project, card: $card, RANGE) EDGES");
    let found = api.data(tenant, &foreign, json!({ "project": elsewhere, "card": first })).await;
    assert_eq!((&found["runs"]["edges"], &found["runs"]["totalCount"]), (&json!([]), &json!(0)));

    // Each project's own, though they are read together.
    let each = "query Q($workspace: ID!) { me { tenant { workspaces { id } providers { id } } }
        projects(workspace: $workspace, first: 9) { nodes { id runs(first: 1) { totalCount nodes { id } }
            cards(last: 1) { totalCount nodes { id } } environments(first: 1) { nodes { id } }
            usage(from: \"2023-11-01\", to: \"2023-12-31\") { totals { runs { succeeded } } } } } }";
    let found = api.data(tenant, each, json!({ "workspace": workspace })).await;
    for (entry, id) in found["projects"]["nodes"].as_array().unwrap().iter().zip(&projects) {
        let has = |these: Value| if *id == project { these } else { json!([]) };
        let count = if *id == project { 1 } else { 0 };
        let expected = json!({ "id": id,
            "runs": { "totalCount": 7 * count, "nodes": has(json!([{ "id": runs[0] }])) },
            "cards": { "totalCount": 2 * count, "nodes": has(json!([{ "id": first }])) },
            "environments": { "nodes": has(json!([{ "id": environments[0] }])) },
            "usage": { "totals": { "runs": { "succeeded": (7 * count).to_string() } } } });
        assert_eq!(*entry, expected);
    }
    assert_eq!(found["me"]["tenant"]["workspaces"][0]["id"], json!(workspace));
    assert_eq!(found["me"]["tenant"]["providers"], json!([{ "id": provider }]));
}
