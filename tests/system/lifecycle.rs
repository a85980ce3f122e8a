//! Start, stop, and what is left behind.

use std::time::Duration;

use serde_json::json;

use crate::support::{Installation, Stage, writes};

fn processes_in(folder: &std::path::Path) -> Vec<String> {
    let folder = folder.display().to_string();
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .filter(|command| command.contains(&folder))
        .collect()
}

#[tokio::test]
async fn it_stops_within_ten_seconds_and_its_data_survives() {
    let mut installation = Installation::start(&[]);
    let mut stage = Stage::set(&installation).await;
    let mut script = writes("a", "a");
    script[0]["hold"] = json!("never");
    let card = stage.card("Kept", &script).await;
    stage.run(&card).await;
    stage.model.wait_until_held("never", 1).await;
    let (took, well) = installation.stop();
    assert!(well, "{}", installation.log_text());
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(processes_in(&installation.data), Vec::<String>::new());
    installation.start_again();
    stage.again(&installation);
    let data = stage.owner.query("query($id: ID!) { card(id: $id) { title } }", json!({ "id": card })).await.unwrap();
    assert_eq!(data["card"]["title"], "Kept");
    stage.model.release("never");
}

#[tokio::test]
async fn no_orphan_survives_its_sudden_death() {
    let mut installation = Installation::start(&[]);
    assert!(!processes_in(&installation.data).is_empty(), "the private servers run in the data folder");
    installation.kill();
    let gone = async {
        while !processes_in(&installation.data).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), gone).await;
    assert!(in_time.is_ok(), "{:?}", processes_in(&installation.data));
    installation.start_again();
}

#[tokio::test]
async fn a_second_one_on_the_same_data_is_refused_and_told_why() {
    let installation = Installation::start(&[]);
    let output = std::process::Command::new(crate::support::executable())
        .arg("up")
        .env("AGENTWORKS_DATA_DIR", &installation.data)
        .env("AGENTWORKS_HTTP__ADDRESS", "127.0.0.1:0")
        .env_remove("DATABASE_URL")
        .env_remove("NATS_URL")
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is in use by another agentworks"), "{said}");
}
