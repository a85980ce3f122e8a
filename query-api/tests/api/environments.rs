//! Where attempts work, as it is read.
#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use domain::environment::{Environment, EnvironmentCommand};
use domain::{EnvironmentId, TenantId};
use serde_json::{Value, json};

use crate::api::Api;
use crate::support::{World, reason};

const ONE: &str =
    "query Q($id: ID!, $at: Cursor) { environment(id: $id, waitFor: $at) { id state attempt driver failure
    confinement requestedAt provisioningAt readyAt stoppingAt endedAt version run { id } project { id } } }";

async fn act(world: &mut World, tenant: TenantId, id: EnvironmentId, command: EnvironmentCommand) {
    world.act::<Environment>(tenant, id.uuid(), World::actor(), command).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environments_are_followed_from_their_wish_to_their_end_and_only_in_their_tenant() {
    let mut world = World::new(1).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let provider = world.provider(tenant).await;
    let project = world.project(tenant).await;
    let card = world.card(tenant, project, "First").await;
    let run = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, run).await;
    let environment = world.begin(tenant, run, 1).await;
    let api = Api::start(&world).await;

    let confinement = vec!["namespaces".to_owned()];
    for (command, state, time) in [
        (None, "REQUESTED", "requestedAt"),
        (Some(EnvironmentCommand::Provision), "PROVISIONING", "provisioningAt"),
        (Some(EnvironmentCommand::MarkReady { confinement }), "READY", "readyAt"),
        (Some(EnvironmentCommand::Stop { reason: reason("over") }), "STOPPING", "stoppingAt"),
        (Some(EnvironmentCommand::MarkStopped), "STOPPED", "endedAt"),
    ] {
        if let Some(command) = command {
            act(&mut world, tenant, environment, command).await;
        }
        let at = schemas::Cursor { partition: 0, position: world.position }.to_string();
        let found = api.data(tenant, ONE, json!({ "id": environment, "at": at })).await["environment"].clone();
        assert_eq!((&found["state"], &found["failure"]), (&json!(state), &Value::Null));
        assert!(found[time].is_string(), "{found}");
        assert_eq!(found["endedAt"].is_string(), state == "STOPPED");
    }
    let found = api.data(tenant, ONE, json!({ "id": environment })).await["environment"].clone();
    assert_eq!((&found["run"]["id"], &found["project"]["id"]), (&json!(run), &json!(project)));
    assert_eq!((&found["attempt"], &found["driver"], &found["version"]), (&json!(1), &json!("local"), &json!(5)));
    assert_eq!(found["confinement"], json!(["namespaces"]));

    // The next run's is another one, and that one fails.
    world.succeed(tenant, run, 1).await;
    world.move_card(tenant, card, "ready").await;
    let again = world.request_run(tenant, card, provider).await.unwrap();
    world.queue(tenant, again).await;
    let second = world.begin(tenant, again, 1).await;
    act(&mut world, tenant, second, EnvironmentCommand::Fail { reason: reason("No memory.") }).await;
    api.caught_up(&world).await;
    let query = "query Q($project: ID!, $run: ID!, $id: ID!, $after: String) {
        environments(project: $project, first: 1, after: $after) {
            nodes { id state failure } pageInfo { hasNextPage endCursor } }
        run(id: $run) { environment currentEnvironment { id state } } node(id: $id) { __typename id } }";
    let mut asked = json!({ "project": project, "run": again, "id": second });
    let found = api.data(tenant, query, asked.clone()).await;
    let page = &found["environments"];
    assert_eq!(page["nodes"], json!([{ "id": second, "state": "FAILED", "failure": "No memory." }]));
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    assert_eq!(
        found["run"],
        json!({ "environment": second, "currentEnvironment": { "id": second, "state": "FAILED" } })
    );
    assert_eq!(found["node"], json!({ "__typename": "Environment", "id": second }));
    asked["after"] = page["pageInfo"]["endCursor"].clone();
    let page = api.data(tenant, query, asked.clone()).await["environments"].clone();
    assert_eq!((&page["nodes"][0]["id"], &page["pageInfo"]["hasNextPage"]), (&json!(environment), &json!(false)));
    asked["after"] = json!("x");
    assert_eq!(api.code(tenant, query, asked).await, "cursor_invalid");

    // Another tenant's, unknown and malformed ones look the same.
    let theirs = api.data(other, query, json!({ "project": project, "run": again, "id": second })).await;
    assert_eq!((&theirs["environments"]["nodes"], &theirs["node"]), (&json!([]), &Value::Null));
    for (project, id) in [("prj_00000000000000000000000000", "env_00000000000000000000000000"), ("x", "")] {
        assert_eq!(api.data(tenant, query, json!({ "project": project, "run": "x", "id": id })).await, theirs);
        assert_eq!(api.data(tenant, ONE, json!({ "id": id })).await["environment"], Value::Null);
    }
    assert_eq!(api.data(other, ONE, json!({ "id": environment })).await["environment"], Value::Null);
}
