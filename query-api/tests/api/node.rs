//! Things by their ids alone.

use serde_json::{Value, json};

use crate::api::Api;
use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_alone_finds_what_it_names_and_only_in_its_tenant() {
    let mut world = World::new(1).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let provider = world.provider(tenant).await;
    let workspace = world.workspace(tenant).await;
    let project = world.project_in(tenant, workspace).await;
    let card = world.card(tenant, project, "First").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    let api = Api::start(&world).await;
    api.caught_up(&world).await;

    let things = [
        ("Run", run.to_string()),
        ("Tenant", tenant.to_string()),
        ("Card", card.to_string()),
        ("Workspace", workspace.to_string()),
        ("Provider", provider.to_string()),
        ("Project", project.to_string()),
    ];
    let one = "query Q($id: ID!) { node(id: $id) { __typename id } }";
    for (kind, id) in &things {
        let found = api.data(tenant, one, json!({ "id": id })).await;
        assert_eq!(found["node"], json!({ "__typename": kind, "id": id }));
        assert_eq!(api.data(other, one, json!({ "id": id })).await["node"], Value::Null, "{kind}");
    }

    // In the order asked for, twice where asked for twice, null where there is nothing.
    let nothing = ["prj_00000000000000000000000000".to_owned(), "x".to_owned(), String::new(), other.to_string()];
    let ids: Vec<&String> = things.iter().map(|(_, id)| id).chain(&nothing).chain([&things[2].1]).collect();
    let many = "query Q($ids: [ID!]!) { nodes(ids: $ids) { id ... on Card { title } ... on Run { state } } }";
    let found = api.data(tenant, many, json!({ "ids": ids })).await;
    let found = found["nodes"].as_array().unwrap();
    let expected = |id: &String| if nothing.contains(id) { Value::Null } else { json!(id) };
    assert_eq!(
        found.iter().map(|node| node["id"].clone()).collect::<Vec<_>>(),
        ids.into_iter().map(expected).collect::<Vec<_>>()
    );
    assert_eq!((&found[2]["title"], &found[0]["state"], &found[2]), (&json!("First"), &json!("QUEUED"), &found[10]));

    let few = "query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let found = api.data(tenant, few, json!({ "ids": vec![card; 200] })).await;
    assert_eq!(found["nodes"], json!(vec![json!({ "id": card }); 200]));
    assert_eq!(api.code(tenant, few, json!({ "ids": vec![card; 201] })).await, "page_invalid");
    assert_eq!(api.data(tenant, few, json!({ "ids": [] })).await["nodes"], json!([]));
}
