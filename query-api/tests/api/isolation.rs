//! What belongs to another tenant looks exactly like what does not exist.

use serde_json::{Value, json};

use crate::api::Api;
use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_ids_are_answered_as_unknown_and_malformed_ones_are() {
    let mut world = World::new(1).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let provider = world.provider(tenant).await;
    let workspace = world.workspace(tenant).await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    let environment = world.begin(tenant, run, 1).await;
    let api = Api::start(&world).await;
    api.caught_up(&world).await;
    let query = "query Q($workspace: ID!, $project: ID!, $card: ID!, $run: ID!,
        $environment: ID!) {
        workspaces { id } providers { id }
        projects { nodes { id } pageInfo { hasNextPage } edges { cursor } }
        inWorkspace: projects(workspace: $workspace) { nodes { id } }
        project(id: $project) { id } board(project: $project) { cursor }
        card(id: $card) { id } cardHistory(card: $card) { nodes { id } }
        run(id: $run) { id } runs(project: $project) { nodes { id } }
        ofCard: runs(project: $project, card: $card) { nodes { id } }
        node(id: $card) { id } nodes(ids: [$workspace, $project, $card, $run, $environment]) { id }
        cards(project: $project) { totalCount nodes { id } pageInfo { hasNextPage } }
        environment(id: $environment) { id } environments(project: $project) { nodes { id } }
        usage(from: \"2023-11-01\", to: \"2023-11-30\") { rows { day } totals { modelCalls } }
        inProject: usage(from: \"2023-11-01\", to: \"2023-11-30\", project: $project) { rows { day } }
    }";
    let theirs = json!({ "workspace": workspace, "project": project, "card": card, "run": run,
        "environment": environment });
    let mine = api.data(tenant, query, theirs.clone()).await;
    for lookup in ["project", "board", "card", "cardHistory", "run", "node", "environment"] {
        assert_ne!(mine[lookup], Value::Null, "{lookup}");
    }
    let unknown = json!({
        "workspace": "wsp_00000000000000000000000000", "project": "prj_00000000000000000000000000",
        "card": "crd_00000000000000000000000000", "run": "run_00000000000000000000000000",
        "environment": "env_00000000000000000000000000",
    });
    let malformed = json!({ "workspace": "x", "project": "", "card": "crd_", "run": "run_x", "environment": "env" });
    let seen = api.data(other, query, theirs).await;
    assert_eq!(seen, api.data(other, query, unknown).await);
    assert_eq!(seen, api.data(other, query, malformed).await);
    for lookup in ["project", "board", "card", "cardHistory", "run", "node", "environment"] {
        assert_eq!(seen[lookup], Value::Null, "{lookup}");
    }
    for list in ["projects", "inWorkspace", "runs", "ofCard", "cards", "environments"] {
        assert_eq!(seen[list]["nodes"], json!([]), "{list}");
    }
    assert_eq!((&seen["workspaces"], &seen["providers"]), (&json!([]), &json!([])));
    assert_eq!((&seen["nodes"], &seen["cards"]["totalCount"]), (&json!(vec![Value::Null; 5]), &json!(0)));
    assert_eq!(
        mine["cards"],
        json!({ "totalCount": 1, "nodes": [{ "id": card }], "pageInfo": { "hasNextPage": false } })
    );
    assert_eq!(seen["usage"], json!({ "rows": [], "totals": { "modelCalls": "0" } }));

    // Subscriptions end with the same error.
    let mut socket = api.open(other).await;
    let head = schemas::Cursor { partition: 0, position: world.position };
    let at_head = format!("boardChanged(project: $id, since: \"{head}\")");
    for (field, id) in [
        ("boardChanged(project: $id)", project.to_string()),
        ("boardChanged(project: $id)", "prj_00000000000000000000000000".to_owned()),
        ("boardChanged(project: $id)", "x".to_owned()),
        ("boardChanged(project: $id, since: \"p0z0\")", project.to_string()),
        (&at_head, project.to_string()),
        ("runProgress(run: $id)", run.to_string()),
        ("runProgress(run: $id, since: \"p0z0\")", run.to_string()),
        ("runProgress(run: $id)", "x".to_owned()),
    ] {
        let subscription = format!("subscription S($id: ID!) {{ {field} {{ cursor }} }}");
        socket.subscribe("1", &subscription, json!({ "id": id })).await;
        let message = socket.hear().await;
        assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "not_found", "{field} {id}: {message}");
        assert_eq!(socket.hear().await, json!({ "type": "complete", "id": "1" }));
    }
}
