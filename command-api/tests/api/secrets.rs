//! Secrets open for their tenant only, and none is left behind. That they stand nowhere else is shown in `tests/traced`.

use domain::TenantId;
use domain::value::SecretRef;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::support::{KEY, World, uuid};

#[tokio::test]
async fn a_secret_opens_for_its_tenant_only_and_is_put_once() {
    let world = World::new().await;
    let (own, other) = (TenantId::from_uuid(uuid()), TenantId::from_uuid(uuid()));
    let place = uuid();
    let reference = world.vault.put(own, place, &SecretString::from("first")).await.unwrap();
    world.vault.put(own, place, &SecretString::from("second")).await.unwrap();
    assert_eq!(world.vault.get(own, &reference).await.unwrap().unwrap().expose_secret(), "first");
    assert!(world.vault.get(other, &reference).await.unwrap().is_none());
    assert!(world.vault.get(own, &SecretRef::vault(uuid())).await.unwrap().is_none());

    // Not even a row that is moved to another tenant opens there.
    let mut admin = world.database.admin().await;
    sqlx::query("UPDATE vault.secrets SET tenant = $1").bind(other.uuid()).execute(&mut admin).await.unwrap();
    let error = world.vault.get(other, &reference).await.unwrap_err();
    assert!(matches!(error, command_api::vault::VaultError::Seal(access::SealError::Broken)));

    // Without a tenant there are no rows, and the workers' role sees none at all.
    let count = "SELECT count(*) FROM vault.secrets";
    let rows: i64 = sqlx::query_scalar(count).fetch_one(world.log.app_pool()).await.unwrap();
    assert_eq!(rows, 0);
    assert!(sqlx::query_scalar::<_, i64>(count).fetch_one(world.log.worker_pool()).await.is_err());
}

#[tokio::test]
async fn a_refused_command_leaves_no_secret_behind() {
    let world = World::new().await;
    let shop = world.shop().await;
    let count = || async {
        let mut admin = world.database.admin().await;
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM vault.secrets").fetch_one(&mut admin).await.unwrap()
    };
    let before = count().await;
    let gone = "/v1/providers/prv_01h455vb4pex5vsknk084sn02q/rotate-key";
    assert_eq!(world.post(&shop, gone, json!({ "key": KEY })).await.refusal(), (404, "not_found"));
    assert_eq!(count().await, before);
}
