//! Bringing a database to this release.

use outbox::{Log, LogError, LogSettings};

use crate::support::{Database, connect, fill, tenant};

fn settings(url: String) -> LogSettings {
    LogSettings { url, max_connections: 2, notify: false }
}

#[tokio::test]
async fn running_it_again_changes_nothing_and_another_number_of_partitions_is_refused() {
    let database = Database::with(3).await;
    outbox::migrate::run(&database.url, 3).await.unwrap();
    let refused = outbox::migrate::run(&database.url, 4).await.unwrap_err();
    assert!(matches!(refused, LogError::Partitions { existing: 3, wanted: 4 }), "{refused}");
    assert!(refused.to_string().contains("set 3"), "{refused}");
    let log = connect(&database).await;
    assert_eq!(log.partitions(), 3);
    let mut used: Vec<_> = (0..100).map(|_| log.partition_of(tenant())).collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, [0, 1, 2]);
}

#[tokio::test]
async fn several_may_run_at_once() {
    let database = Database::empty().await;
    let runs = (0..4).map(|_| outbox::migrate::run(&database.url, 1));
    for result in futures::future::join_all(runs).await {
        result.unwrap();
    }
    assert_eq!(connect(&database).await.partitions(), 1);
}

#[tokio::test]
async fn a_database_without_a_log_says_so() {
    let database = Database::empty().await;
    // The roles belong to the server; another test may or may not have made them already.
    let error = Log::connect(&settings(database.url)).await.unwrap_err();
    assert!(matches!(error, LogError::NotMigrated), "{error}");
}

#[tokio::test]
async fn an_owner_without_superuser_is_enough() {
    let database = Database::empty().await;
    let user = format!("owner_of_{}", database.name);
    let sql = format!("CREATE ROLE {user} LOGIN CREATEROLE; ALTER DATABASE {} OWNER TO {user}", database.name);
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut database.admin().await).await.unwrap();
    let url = database.url_of(&user);
    outbox::migrate::run(&url, 1).await.unwrap();
    let log = Log::connect(&settings(url)).await.unwrap();
    fill(&log, tenant(), 3).await;
    assert_eq!(log.read(0, 0, 10).await.unwrap().len(), 3);
}
