//! Another tenant's things look exactly like what does not exist, on every endpoint of the contract.

use serde_json::{Value, json};

use crate::support::{Shop, World};

/// A valid body of the operation, so that nothing but the ids can be wrong.
fn body(operation: &str, shop: &Shop) -> Value {
    match operation {
        "renameTenant" | "renameWorkspace" | "renameProject" => json!({ "name": "x" }),
        "createCard" | "editCard" => json!({ "title": "x" }),
        "rotateProviderKey" => json!({ "key": "k" }),
        "configureProvider" => json!({ "name": "x" }),
        "connectRepository" => json!({ "url": "https://git.example/x.git" }),
        "configureLanes" => json!({ "lanes": [{ "key": "done", "name": "Done", "role": "done" }] }),
        "chooseModel" => json!({ "provider": shop.provider }),
        "moveCard" => json!({ "lane": "ready" }),
        "blockCard" | "suspendTenant" => json!({ "reason": "x" }),
        "commentCard" => json!({ "text": "x" }),
        "assignAgent" => json!({ "name": "x" }),
        _ => json!({}),
    }
}

struct Things<'a> {
    tenant: &'a str,
    shop: &'a Shop,
    card: &'a str,
    run: &'a str,
    subject: &'a str,
}

fn fill(path: &str, things: &Things<'_>) -> String {
    path.replace("{tenant}", things.tenant)
        .replace("{workspace}", &things.shop.workspace)
        .replace("{provider}", &things.shop.provider)
        .replace("{project}", &things.shop.project)
        .replace("{card}", things.card)
        .replace("{on}", things.card)
        .replace("{run}", things.run)
        .replace("{subject}", things.subject)
}

#[tokio::test]
async fn foreign_things_are_unknown_on_every_endpoint() {
    let world = World::new().await;
    let (own, foreign) = (world.shop().await, world.shop().await);
    let card = world.card(&foreign, "secret").await;
    let run =
        world.post(&foreign, &foreign.at(&card, "/run"), json!({})).await.body["run"].as_str().unwrap().to_owned();
    let tenant = foreign.tenant.to_string();
    let subject = "sub_01k9fz8n5xe2r8m0q4t6v9w9s9";
    let about = json!({ "text": "x", "about": subject });
    assert_eq!(world.post(&foreign, &foreign.at(&card, "/comments"), about).await.status, 200);
    let theirs = Things { tenant: &tenant, shop: &foreign, card: &card, run: &run, subject };
    // The same shape of ids, of things that nobody has.
    let none = |text: &str| format!("{}_01h455vb4pex5vsknk084sn02q", text.split('_').next().unwrap());
    let nowhere = Shop {
        workspace: none(&foreign.workspace),
        provider: none(&foreign.provider),
        project: none(&foreign.project),
        ..foreign.clone()
    };
    let nobodys = Things {
        tenant: &none(&tenant),
        shop: &nowhere,
        card: &none(&card),
        run: &none(&run),
        subject: &none(subject),
    };

    let contract = serde_json::to_value(command_api::openapi()).unwrap();
    let before = world.head().await;
    let mut tried = 0;
    for (path, item) in contract["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if !path.contains('{') {
                continue;
            }
            tried += 1;
            let name = operation["operationId"].as_str().unwrap();
            let send = |path: String| {
                let (world, own, method) = (&world, &own, method.to_uppercase());
                async move { world.call(&method, &path, &own.token, &[], &body(name, own)).await }
            };
            let (foreign, unknown) = (send(fill(path, &theirs)).await, send(fill(path, &nobodys)).await);
            let (status, code) = unknown.refusal();
            assert_eq!((foreign.status, &foreign.body), (unknown.status, &unknown.body), "{method} {path}");
            assert_eq!((status, code), (404, "not_found"), "{method} {path}: {}", unknown.body);
        }
    }
    assert!(tried >= 28, "only {tried} endpoints were tried");
    // A foreign workspace, provider or card in a body is unknown as well.
    let project =
        json!({ "workspace": foreign.workspace, "name": "x", "repository": { "url": "https://git.example/x" } });
    assert_eq!(world.post(&own, "/v1/projects", project).await.refusal(), (422, "workspace_not_found"));
    let model = json!({ "provider": foreign.provider });
    let path = format!("/v1/projects/{}/model", own.project);
    assert_eq!(world.put(&own, &path, model).await.refusal(), (422, "provider_not_usable"));
    assert_eq!(world.head().await, before, "nothing has changed");
}

#[tokio::test]
async fn a_card_is_only_on_its_own_projects_board() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "a").await;
    let project = json!({ "workspace": shop.workspace, "name": "x", "repository": { "url": "https://git.example/x" } });
    let other = Shop { project: world.post(&shop, "/v1/projects", project).await.id(), ..shop.clone() };
    let elsewhere = world.card(&other, "b").await;
    assert_eq!(world.post(&other, &other.at(&card, "/run"), json!({})).await.refusal(), (404, "not_found"));
    let depend = shop.at(&card, &format!("/dependencies/{elsewhere}"));
    assert_eq!(world.put(&shop, &depend, json!({})).await.refusal(), (422, "dependency_unknown"));
    let rank = world.post(&shop, &shop.at(&card, "/rank"), json!({ "after": elsewhere })).await;
    assert_eq!(rank.refusal(), (422, "neighbour_unknown"));
}

#[tokio::test]
async fn an_agent_of_another_tenant_cannot_be_named() {
    let world = World::new().await;
    let (own, foreign) = (world.shop().await, world.shop().await);
    let card = world.card(&own, "a").await;
    let agent = json!({ "name": "x", "provider": foreign.provider });
    assert_eq!(world.put(&own, &own.at(&card, "/agent"), agent).await.refusal(), (422, "provider_not_usable"));
}
