//! The log as a store of the `cqrs_es` framework.

use cqrs_es::{AggregateError, CqrsFramework, EventStore as _};
use domain::tenant::{Tenant, TenantCommand, TenantRefusal};
use domain::{Actor, TenantId};
use outbox::Log;
use outbox::store::{LogContext, LogStore};

use crate::support::{Database, connect, metadata, name, rename, tenant, uuid};

fn framework(log: &Log, tenant: TenantId) -> CqrsFramework<Tenant, LogStore> {
    CqrsFramework::new(LogStore::new(log.clone(), metadata(tenant)), vec![], ())
}

#[tokio::test]
async fn the_framework_works_over_the_log() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (tenant, id) = (tenant(), uuid().to_string());
    framework(&log, tenant).execute(&id, TenantCommand::Create { name: name("one") }).await.unwrap();
    framework(&log, tenant).execute(&id, rename("two")).await.unwrap();
    // Fulfilled already: nothing is written.
    framework(&log, tenant).execute(&id, rename("two")).await.unwrap();
    let refused = framework(&log, tenant).execute(&id, TenantCommand::Create { name: name("three") }).await;
    assert!(matches!(refused, Err(AggregateError::UserError(TenantRefusal::AlreadyExists))));

    let store = LogStore::new(log.clone(), metadata(tenant));
    let context: LogContext<Tenant> = store.load_aggregate(&id).await.unwrap();
    assert_eq!(context.version, 2);
    assert_eq!(context.aggregate, Tenant::Active { name: name("two") });
    assert_eq!((context.tenant, context.actor), (tenant, Actor::System("test".into())));
    let events: Vec<cqrs_es::EventEnvelope<Tenant>> = store.load_events(&id).await.unwrap();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn of_two_on_the_same_version_one_has_a_conflict() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (tenant, id) = (tenant(), uuid().to_string());
    framework(&log, tenant).execute(&id, TenantCommand::Create { name: name("one") }).await.unwrap();
    let stores = [LogStore::new(log.clone(), metadata(tenant)), LogStore::new(log.clone(), metadata(tenant))];
    let contexts: [LogContext<Tenant>; 2] =
        [stores[0].load_aggregate(&id).await.unwrap(), stores[1].load_aggregate(&id).await.unwrap()];
    let event = || vec![domain::tenant::TenantRenamed { name: name("two") }.into()];
    let [first, second] = contexts;
    stores[0].commit(event(), first, Default::default()).await.unwrap();
    let conflict = stores[1].commit(event(), second, Default::default()).await;
    assert!(matches!(conflict, Err(AggregateError::AggregateConflict)));
}

#[tokio::test]
async fn what_is_no_id_is_an_error_and_another_tenants_aggregate_is_absent() {
    let database = Database::with(1).await;
    let log = connect(&database).await;
    let (mine, id) = (tenant(), uuid().to_string());
    framework(&log, mine).execute(&id, TenantCommand::Create { name: name("one") }).await.unwrap();
    let error = framework(&log, mine).execute("one", rename("two")).await;
    assert!(matches!(error, Err(AggregateError::UnexpectedError(_))));
    let absent = framework(&log, tenant()).execute(&id, rename("two")).await;
    assert!(matches!(absent, Err(AggregateError::UserError(TenantRefusal::NotFound))));
}
