//! The contract is whole, and the routes are those that it names.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::World;

#[test]
fn every_operation_says_all_there_is_to_say() {
    let contract = serde_json::to_value(command_api::openapi()).unwrap();
    assert!(contract["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut names = BTreeSet::new();
    for (path, item) in contract["paths"].as_object().unwrap() {
        assert!(path.starts_with("/v1/"), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}");
            assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{at}");
            assert_eq!(operation["security"], json!([{ "token": [] }]), "{at}");
            let parameters = operation["parameters"].as_array().unwrap();
            let named: BTreeSet<_> = parameters.iter().map(|p| p["name"].as_str().unwrap()).collect();
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                assert!(named.contains(part), "{at}: {part}");
            }
            assert!(named.contains("Idempotency-Key"), "{at}");
            let responses = operation["responses"].as_object().unwrap();
            let good: Vec<_> = responses.iter().filter(|(status, _)| status.starts_with('2')).collect();
            assert_eq!(good.len(), 1, "{at}");
            assert!(good[0].1["headers"]["ETag"].is_object(), "{at}");
            assert_eq!(named.contains("If-Match"), good[0].0 != "201", "{at}");
            for status in ["400", "401", "403", "404", "409", "413", "415", "422", "429", "503"] {
                let content = &responses[status]["content"]["application/problem+json"];
                assert_eq!(content["schema"]["$ref"], "#/components/schemas/Problem", "{at}: {status}");
                assert!(content["example"]["code"].is_string(), "{at}: {status}");
            }
        }
    }
    assert_eq!(names.len(), 34, "{names:?}");
    assert_no_dangling(&contract, &contract);
}

fn assert_no_dangling(whole: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get("$ref") {
                assert!(whole.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            }
            members.values().for_each(|member| assert_no_dangling(whole, member));
        }
        Value::Array(items) => items.iter().for_each(|item| assert_no_dangling(whole, item)),
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_of_the_contract_is_routed_and_asks_for_a_token() {
    let world = World::new().await;
    let contract = serde_json::to_value(command_api::openapi()).unwrap();
    for (path, item) in contract["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "patch", "delete"] {
            let path = path.replace(['{', '}'], "");
            let reply = world.call(&method.to_uppercase(), &path, "nonsense", &[], &json!({})).await;
            let expected =
                if item[method].is_object() { (401, "token_malformed") } else { (405, "method_not_allowed") };
            assert_eq!(reply.refusal(), expected, "{method} {path}");
        }
    }
}

/// The bodies that the contract shows are taken: their shape, not what they name.
#[tokio::test]
async fn the_examples_of_the_contract_have_the_right_shape() {
    let world = World::new().await;
    let shop = world.shop().await;
    let contract = serde_json::to_value(command_api::openapi()).unwrap();
    for (path, item) in contract["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(schema) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()
            else {
                continue;
            };
            let schema = contract.pointer(schema.trim_start_matches('#')).unwrap();
            let example = &schema["example"];
            assert!(example.is_object(), "{method} {path} has no example");
            let path = path
                .replace("{tenant}", &shop.tenant.to_string())
                .replace("{workspace}", &shop.workspace)
                .replace("{provider}", &shop.provider)
                .replace("{project}", &shop.project)
                .replace("{card}", "crd_01h455vb4pex5vsknk084sn02q")
                .replace("{run}", "run_01h455vb4pex5vsknk084sn02q")
                .replace("{subject}", "sub_01h455vb4pex5vsknk084sn02q");
            let token = if path.starts_with("/v1/tenants") { world.operator() } else { shop.token.clone() };
            let reply = world.call(&method.to_uppercase(), &path, &token, &[], example).await;
            assert_ne!(reply.status, 400, "{method} {path}: {}", reply.body);
        }
    }
}
