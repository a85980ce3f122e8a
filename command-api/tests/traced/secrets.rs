//! Secrets are in the vault and nowhere else.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use domain::id::{ProjectKind, ProviderKind};
use domain::project::Project;
use domain::provider::Provider;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span;

use crate::support::{CREDENTIAL, KEY, World, id};

/// Every row of every table of ours, as text.
async fn everything(world: &World) -> String {
    let mut admin = world.database.admin().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(tables.contains(&"log.events".to_owned()) && tables.contains(&"vault.secrets".to_owned()));
    let mut all = String::new();
    for table in tables {
        let query = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        let rows: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut admin).await.unwrap();
        all.extend(rows);
    }
    all
}

/// Writes down everything that is logged.
struct Listener(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut Line(&mut self.0.lock().unwrap()));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, record: &span::Record<'_>) {
        record.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn a_secret_stands_in_no_table_no_log_line_and_no_answer() {
    let _alone = crate::ALONE.lock().await;
    let heard = Arc::new(Mutex::new(String::new()));
    let listening = tracing::subscriber::set_default(Listener(Arc::clone(&heard)));
    let world = World::new().await;
    let shop = world.shop().await;
    let private = "https://private.example/x.git";
    let project = json!({
        "workspace": shop.workspace, "name": "x", "repository": { "url": private, "credential": CREDENTIAL },
    });
    let project = world.post(&shop, "/v1/projects", project).await.id();
    let rotate = format!("/v1/providers/{}/rotate-key", shop.provider);
    world.post(&shop, &rotate, json!({ "key": format!("{KEY}2") })).await.version();
    let refusals = [
        world
            .post(&shop, "/v1/providers", json!({ "name": "", "kind": "openai", "default_model": "m", "key": KEY }))
            .await,
        world.post(&shop, &rotate, json!({ "key": format!("{KEY} with spaces") })).await,
        world.post(&shop, &rotate.replace("/v1/providers/prv_0", "/v1/providers/prv_1"), json!({ "key": KEY })).await,
    ];
    for refusal in refusals {
        assert!(refusal.status.is_client_error());
        assert!(!refusal.body.to_string().contains("SECRETSECRET"), "{refusal:?}");
    }
    drop(listening);
    assert!(heard.lock().unwrap().contains("provider.rotate_key"));
    assert!(!heard.lock().unwrap().contains("SECRETSECRET"));
    let all = everything(&world).await;
    assert!(all.contains("vault:"), "events hold references");
    assert!(!all.contains("SECRETSECRET"));
    assert!(!all.contains(&hex(b"SECRETSECRET")), "bytea is shown as hexadecimal");

    // And they are there for whom they are.
    let provider = world.log.load::<Provider>(shop.tenant, id::<ProviderKind>(&shop.provider).uuid()).await.unwrap();
    let Provider::Registered { key, .. } = provider.state else { panic!("no provider") };
    let found = world.vault.get(shop.tenant, &key).await.unwrap().unwrap();
    assert_eq!(found.expose_secret(), format!("{KEY}2"));
    let project = world.log.load::<Project>(shop.tenant, id::<ProjectKind>(&project).uuid()).await.unwrap();
    let credential = project.state.open().unwrap().repository.credential.clone().unwrap();
    assert_eq!(world.vault.get(shop.tenant, &credential).await.unwrap().unwrap().expose_secret(), CREDENTIAL);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}
