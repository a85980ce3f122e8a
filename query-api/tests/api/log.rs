//! The log as auditors page through it, and how far the read models are.

use serde_json::{Value, json};

use crate::api::Api;
use crate::support::World;

const LOG: &str = "query L($first: Int, $after: Cursor) {
    log(first: $first, after: $after) {
        pageInfo { hasNextPage endCursor } nodes { id kind subject version digest } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_read_page_by_page_each_event_once_and_only_ones_own() {
    let mut world = World::new(31).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let project = world.project(tenant).await;
    for number in 0..7 {
        let card = world.card(tenant, project, &format!("Card {number}")).await;
        world.move_card(tenant, card, "ready").await;
        world.project(other).await;
    }
    let api = Api::start(&world).await;
    api.caught_up(&world).await;
    let pages = async |first: i32| {
        let (mut all, mut after) = (vec![], Value::Null);
        loop {
            let page = api.data(tenant, LOG, json!({ "first": first, "after": after})).await["log"].clone();
            all.extend(page["nodes"].as_array().unwrap().clone());
            assert!(page["nodes"].as_array().unwrap().len() <= usize::try_from(first).unwrap());
            if page["pageInfo"]["hasNextPage"] == false {
                return all;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
    };
    let all = pages(200).await;
    assert_eq!(all[0]["kind"], "TenantCreated");
    assert_eq!(pages(3).await, all);
    let tenants: Vec<&Value> =
        all.iter().filter(|event| event["kind"] == "TenantCreated").map(|event| &event["subject"]).collect();
    assert_eq!(tenants, [&json!(tenant)]);
    for (variables, code) in [
        (json!({ "first": 0 }), "page_invalid"),
        (json!({ "after": "p7z1" }), "cursor_invalid"),
        (json!({ "after": "p0zzzzzz" }), "cursor_invalid"),
    ] {
        assert_eq!(api.code(tenant, LOG, variables).await, code);
    }

    let models = api.data(tenant, "{ readModels { name cursor behind } }", Value::Null).await;
    let head = json!(schemas::Cursor { partition: 0, position: world.position });
    let models = models["readModels"].as_array().unwrap();
    assert!(models.iter().any(|model| model["name"] == "board"));
    for model in models {
        assert_eq!((&model["behind"], &model["cursor"]), (&json!("0"), &head), "{model}");
    }
}
