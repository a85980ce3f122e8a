//! The contract: everything in it is described, and tools can read it.

use serde_json::{Value, json};

use crate::api::Api;
use crate::support::World;

/// What GraphiQL and code generators ask, with nine types in each other.
const INTROSPECTION: &str = "query { __schema { queryType { name } subscriptionType { name }
    types { kind name description
        fields(includeDeprecated: true) { name description type { ...T } args { name description type { ...T } } }
        inputFields { name description type { ...T } }
        enumValues(includeDeprecated: true) { name description } } } }
    fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
        ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { name } } } } } } } } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_described() {
    let mut world = World::new(1).await;
    let tenant = world.tenant().await;
    let api = Api::start(&world).await;
    let schema = api.data(tenant, INTROSPECTION, Value::Null).await;
    let mut undescribed = Vec::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let described = |value: &Value| value["description"].as_str().is_some_and(|text| !text.is_empty());
    for kind in list(&schema["__schema"]["types"]) {
        let name = kind["name"].as_str().unwrap().to_owned();
        if name.starts_with("__") {
            continue;
        }
        // This one is the library's own; GraphQL says what it is.
        if name != "ID" && !described(&kind) {
            undescribed.push(name.clone());
        }
        for field in [list(&kind["fields"]), list(&kind["inputFields"]), list(&kind["enumValues"])].concat() {
            for part in [vec![field.clone()], list(&field["args"])].concat() {
                if !described(&part) {
                    undescribed.push(format!("{name}.{}.{}", field["name"], part["name"]));
                }
            }
        }
    }
    assert_eq!(undescribed, Vec::<String>::new());
    assert_eq!(schema["__schema"]["subscriptionType"], json!({ "name": "Subscription" }));
}

#[test]
fn the_contract_names_what_the_product_promises() {
    let sdl = query_api::sdl();
    for promise in
        ["board(", "cardHistory(", "boardChanged(", "runProgress(", "usage(", "scalar Cursor", "waitFor: Cursor"]
    {
        assert!(sdl.contains(promise), "{promise} is not in\n{sdl}");
    }
    assert!(!sdl.to_lowercase().contains("secretref"));
    assert_eq!(sdl, query_api::sdl());
}
