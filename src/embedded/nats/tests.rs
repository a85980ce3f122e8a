//! With the real program.

use super::*;

async fn jetstream(server: &Nats) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(outbox::bus::connect_options(&server.url()).connect(server.url()).await.unwrap())
}

#[tokio::test]
async fn what_is_stored_survives_a_restart_and_the_password_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Nats::start(dir.path()).await.unwrap();
    let config =
        || async_nats::jetstream::stream::Config { name: "S".into(), subjects: vec!["s".into()], ..Default::default() };
    let context = jetstream(&server).await;
    context.create_stream(config()).await.unwrap();
    context.publish("s", "one".into()).await.unwrap().await.unwrap();
    let first = server.url();
    server.stop().await.unwrap();

    let server = Nats::start(dir.path()).await.unwrap();
    let mut stream = jetstream(&server).await.get_stream("S").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
    let second = server.url();
    let password = |url: &str| url.split(['@', ':']).nth(2).unwrap().to_owned();
    assert_ne!(password(&first), password(&second));
    let stale = second.replace(&password(&second), &password(&first));
    assert!(outbox::bus::connect_options(&stale).connect(&stale).await.is_err());
    assert!(!format!("{server:?}").contains(&password(&second)));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_still_running_is_ended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut orphan = Nats::start(dir.path()).await.unwrap();
    let next = Nats::start(dir.path()).await.unwrap();
    assert!(orphan.failed().await.to_string().starts_with("nats-server ended"));
    jetstream(&next).await.get_stream("none").await.unwrap_err();
    next.stop().await.unwrap();
}

#[tokio::test]
async fn several_start_at_once_and_none_takes_the_port_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let dirs: Vec<_> = (0..4).map(|n| dir.path().join(n.to_string())).collect();
    let servers = futures::future::join_all(dirs.iter().map(|dir| Nats::start(dir))).await;
    for server in servers {
        server.unwrap().stop().await.unwrap();
    }
}

#[tokio::test]
async fn the_password_is_for_our_eyes_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let server = Nats::start(dir.path()).await.unwrap();
    let mode = dir.path().join("nats.conf").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let arguments = fs::read(format!("/proc/{}/cmdline", server.child.id())).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(&server.password));
    server.stop().await.unwrap();
}
