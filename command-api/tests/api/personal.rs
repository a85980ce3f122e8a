//! What people say is sealed before it is stored, and people can be erased.

use access::{Role, Sealed};
use domain::personal::SealedText;
use domain::{Actor, PersonalText, Saying, SubjectId, TenantId};
use outbox::subjects::{self, Kept};
use serde_json::{Value, json};

use crate::support::{Shop, World};

/// Stands where a person said something.
const MARK: &str = "zaphod-beeblebrox";

/// The last event of the tenant.
async fn last(world: &World, tenant: TenantId) -> schemas::Recorded {
    world.log.read_tenant(tenant, 0, 100_000).await.unwrap().pop().unwrap()
}

/// What a sealed text says, for whoever holds the master key.
async fn opened(world: &World, tenant: TenantId, saying: Saying, text: &Value) -> Option<String> {
    let text: SealedText = serde_json::from_value(text.clone()).unwrap();
    let kept = subjects::kept(&world.log, tenant, &[text.subject]).await.unwrap().remove(&text.subject)?;
    let Kept::Key { key, .. } = kept else { return None };
    let sealed = Sealed { key_id: key.key_id, nonce: key.nonce, bytes: key.bytes };
    world.vault.keys().subject_key(tenant, text.subject, sealed).unwrap().open(saying, &text)
}

async fn comment(world: &World, shop: &Shop, card: &str, about: Option<&str>) -> Value {
    let body = json!({ "text": MARK, "about": about });
    let reply = world.post(shop, &shop.at(card, "/comments"), body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let event = last(world, shop.tenant).await;
    let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
    payload["text"].clone()
}

fn erase_path(text: &Value) -> String {
    format!("/v1/subjects/{}/erase", text["subject"].as_str().unwrap())
}

#[tokio::test]
async fn what_people_say_is_stored_sealed_and_opens_until_they_are_erased() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "a").await;
    let text = comment(&world, &shop, &card, None).await;
    assert_eq!(opened(&world, shop.tenant, Saying::Comment, &text).await.as_deref(), Some(MARK));
    assert_eq!(opened(&world, shop.tenant, Saying::Reason, &text).await, None, "as what it is only");
    world.post(&shop, &shop.at(&card, "/block"), json!({ "reason": MARK })).await;

    let erased = world.post(&shop, &erase_path(&text), json!({})).await;
    assert_eq!((erased.status.as_u16(), erased.id()), (200, text["subject"].as_str().unwrap().to_owned()));
    assert_eq!(opened(&world, shop.tenant, Saying::Comment, &text).await, None);
    let event = last(&world, shop.tenant).await;
    assert_eq!((event.event_type.as_str(), event.aggregate_type.as_str()), ("SubjectErased", "subject"));
    assert!(subjects::purge(&world.log).await.unwrap());

    let again = world.post(&shop, &erase_path(&text), json!({})).await;
    assert_eq!((again.status.as_u16(), again.version()), (200, 1), "erasing again changes nothing");
    let reply = world.post(&shop, &shop.at(&card, "/comments"), json!({ "text": MARK })).await;
    assert_eq!(reply.refusal(), (409, "subject_erased"));
    let moved = world.post(&shop, &shop.at(&card, "/move"), json!({ "lane": "ready" })).await;
    assert_eq!(moved.status, 200, "whoever was erased may still work");
}

#[tokio::test]
async fn what_is_said_about_somebody_is_erased_with_them() {
    let world = World::new().await;
    let shop = world.shop().await;
    let card = world.card(&shop, "a").await;
    let own = comment(&world, &shop, &card, None).await;
    let other = comment(&world, &shop, &card, Some("sub_01k9fz8n5xe2r8m0q4t6v9w9s9")).await;
    assert_eq!(other["subject"], "sub_01k9fz8n5xe2r8m0q4t6v9w9s9");
    assert_eq!(world.post(&shop, &erase_path(&other), json!({})).await.status, 200);
    assert_eq!(opened(&world, shop.tenant, Saying::Comment, &other).await, None);
    assert_eq!(opened(&world, shop.tenant, Saying::Comment, &own).await.as_deref(), Some(MARK));
    let reply =
        world.post(&shop, &shop.at(&card, "/comments"), json!({ "text": "x", "about": other["subject"] })).await;
    assert_eq!(reply.refusal(), (409, "subject_erased"));
}

#[tokio::test]
async fn an_operator_acts_under_a_pseudonym_and_erases_where_it_says() {
    let world = World::new().await;
    let (shop, elsewhere) = (world.shop().await, world.shop().await);
    let event = last(&world, shop.tenant).await;
    let Actor::Operator(pseudonym) = &event.metadata.actor else { panic!("{event:?}") };
    assert!(pseudonym.starts_with("opr_") && event.metadata.actor.operator_name().is_none());
    let subject = SubjectId::of(&event.metadata.actor).unwrap();
    let kept = subjects::kept(&world.log, shop.tenant, &[subject]).await.unwrap().remove(&subject);
    let Some(Kept::Key { name: Some(name), .. }) = kept else { panic!("no name is kept: {kept:?}") };
    let name = serde_json::to_value(SealedText { subject, sealed: name }).unwrap();
    assert_eq!(opened(&world, shop.tenant, Saying::Name, &name).await.as_deref(), Some("ada"));

    let path = format!("/v1/subjects/{subject}/erase");
    let call = async |token: String, body: Value| world.call("POST", &path, &token, &[], &body).await;
    assert_eq!(call(world.operator(), json!({})).await.refusal(), (422, "tenant_missing"));
    let auditor = world.token(Some(shop.tenant), Role::Auditor);
    assert_eq!(call(auditor, json!({})).await.refusal(), (403, "forbidden"));
    let foreign = call(elsewhere.token.clone(), json!({ "tenant": shop.tenant })).await;
    assert_eq!(foreign.refusal(), (404, "not_found"));
    assert_eq!(call(world.operator(), json!({ "tenant": shop.tenant })).await.status, 200);
    assert_eq!(opened(&world, shop.tenant, Saying::Name, &name).await, None);
    let still = subjects::kept(&world.log, elsewhere.tenant, &[subject]).await.unwrap();
    assert!(matches!(still[&subject], Kept::Key { .. }), "in another tenant nothing was erased");
}

#[tokio::test]
async fn nobody_is_known_before_they_have_said_something() {
    let world = World::new().await;
    let shop = world.shop().await;
    let reply = world.post(&shop, "/v1/subjects/sub_01k9fz8n5xe2r8m0q4t6v9w9s9/erase", json!({})).await;
    assert_eq!(reply.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_person_has_one_key_whoever_asks_for_it_at_once() {
    let world = World::new().await;
    let shop = world.shop().await;
    let subject = SubjectId::from_uuid(uuid::Uuid::from_u128(7));
    let seal = async |_| world.vault.seal(shop.tenant, subject, Saying::Comment, MARK).await.unwrap();
    for text in futures::future::join_all((0..8).map(seal)).await {
        let PersonalText::Sealed(text) = text else { panic!("{text:?}") };
        let text = serde_json::to_value(text).unwrap();
        assert_eq!(opened(&world, shop.tenant, Saying::Comment, &text).await.as_deref(), Some(MARK));
    }
}

/// Whoever may erase cannot read, and nobody makes a key for somebody who was erased.
#[tokio::test]
async fn the_database_keeps_its_own_rules_about_keys() {
    let world = World::new().await;
    let shop = world.shop().await;
    let subject = SubjectId::from_uuid(uuid::Uuid::from_u128(7));
    let seal = || world.vault.seal(shop.tenant, subject, Saying::Comment, MARK);
    seal().await.unwrap();
    let mut worker = world.log.worker_pool().acquire().await.unwrap();
    assert!(sqlx::query("SELECT sealed FROM vault.subject_keys").fetch_all(&mut *worker).await.is_err());
    let mut other = world.log.tenant_read(world.shop().await.tenant).await.unwrap();
    assert!(subjects::erase(&mut other, shop.tenant, subject).await.is_err(), "in a transaction of another tenant");
    drop(other);
    assert!(subjects::erase(&mut worker, shop.tenant, subject).await.unwrap());
    assert!(!subjects::erase(&mut worker, shop.tenant, subject).await.unwrap(), "once");
    let refused = seal().await;
    assert!(matches!(refused, Err(command_api::vault::VaultError::Erased(_))), "{refused:?}");
    let mut app = world.log.app_pool().acquire().await.unwrap();
    for statement in [
        "UPDATE vault.subject_keys SET erased_at = NULL",
        "DELETE FROM vault.subject_keys",
        "UPDATE vault.subject_keys SET sealed = '\\x00'",
    ] {
        assert!(sqlx::query(statement).execute(&mut *app).await.is_err(), "{statement}");
    }
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM vault.subject_keys").fetch_one(&mut *app).await.unwrap();
    assert_eq!(seen, 0, "no tenant, no rows");
}
