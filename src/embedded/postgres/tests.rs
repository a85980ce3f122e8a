//! With the real programs.

use std::io::{BufRead, BufReader};
use std::process::Command;

use super::super::Nats;
use super::super::process::count_running;
use super::*;

const QUICK: Settings = Settings { durable: false, max_connections: 20 };

async fn number(server: &Postgres, sql: &'static str) -> i32 {
    let mut connection = sqlx::PgConnection::connect(&server.url("postgres", "postgres")).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}

async fn execute(server: &Postgres, sql: &'static str) {
    let mut connection = sqlx::PgConnection::connect(&server.url("postgres", "postgres")).await.unwrap();
    sqlx::query(sql).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn data_survives_a_restart_and_a_lying_pid_file() {
    let dir = tempfile::tempdir().unwrap();
    let server = Postgres::start(dir.path()).await.unwrap();
    execute(&server, "CREATE TABLE t AS SELECT 42 AS n").await;
    server.stop().await.unwrap();
    assert_eq!(count_running(PROGRAM, &dir.path().join("data")), 0);

    // The number of a process that lives and is no Postgres: ours.
    let pid_file = format!("{}\n{}\n0\n5432\n\n\n", std::process::id(), dir.path().join("data").display());
    std::fs::write(dir.path().join("data/postmaster.pid"), &pid_file).unwrap();
    // So may the one beside the socket.
    std::fs::write(dir.path().join("socket/.s.PGSQL.5432.lock"), &pid_file).unwrap();
    let server = Postgres::start_with(dir.path(), QUICK).await.unwrap();
    assert_eq!(number(&server, "SELECT n FROM t").await, 42);
    assert_eq!(number(&server, "SELECT current_setting('max_connections')::int").await, 20);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_or_strange_path_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("a folder, with \"quotes\" & more");
    for path in [long.clone(), long.join("x".repeat(90))] {
        let server = Postgres::start_with(&path, QUICK).await.unwrap();
        assert_eq!(number(&server, "SELECT 1").await, 1);
        let socket = server.socket.dir.clone();
        let temporary = server.socket.temporary;
        assert_eq!(temporary, path != long);
        server.stop().await.unwrap();
        assert_eq!(socket.exists(), !temporary);
    }
}

#[tokio::test]
async fn a_server_that_is_still_running_is_ended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let orphan = Postgres::start_with(dir.path(), QUICK).await.unwrap();
    execute(&orphan, "CREATE TABLE t AS SELECT 7 AS n").await;
    let mut orphan_ended = orphan;
    let next = Postgres::start_with(dir.path(), QUICK).await.unwrap();
    assert!(orphan_ended.failed().await.to_string().contains("postgres ended"));
    assert_eq!(number(&next, "SELECT n FROM t").await, 7);
    next.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_that_was_interrupted_leaves_nothing_to_trip_over() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data.unfinished")).unwrap();
    std::fs::write(dir.path().join("data.unfinished/PG_VERSION"), "15\n").unwrap();
    Postgres::start_with(dir.path(), QUICK).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn data_of_another_release_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/PG_VERSION"), "9\n").unwrap();
    let refusal = Postgres::start(dir.path()).await.unwrap_err().to_string();
    assert!(refusal.contains("written by PostgreSQL 9") && refusal.contains("install postgresql-9"), "{refusal}");
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    Postgres::start_with(dir.path(), QUICK).await.unwrap().stop().await.unwrap();
    std::fs::write(dir.path().join("data/postgresql.conf"), "no_such_setting = 1\n").unwrap();
    let refusal = Postgres::start(dir.path()).await.unwrap_err().to_string();
    assert!(refusal.contains("postgres ended") && refusal.contains("no_such_setting"), "{refusal}");
}

#[tokio::test]
async fn nothing_survives_the_kill_of_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let this = module_path!().split_once("::").unwrap().1;
    let helper = format!("{this}::helper_that_starts_servers_and_waits_to_be_killed");
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &helper, "--ignored", "--nocapture"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = |line: &std::io::Result<String>| line.as_ref().is_ok_and(|line| line.contains("server-is-ready"));
    assert!(BufReader::new(parent.stdout.take().unwrap()).lines().any(|line| ready(&line)));
    let path = dir.path().canonicalize().unwrap();
    let running = || (count_running(PROGRAM, &path.join("data")), count_running("nats-server", &path.join("nats")));
    assert!(running().0 > 3 && running().1 == 1, "postmaster and its own children, and the bus");

    parent.kill().unwrap();
    parent.wait().unwrap();
    let deadline = Instant::now() + STOP_WITHIN;
    while running() != (0, 0) {
        assert!(Instant::now() < deadline, "they end by themselves");
        sleep(Duration::from_millis(10)).await;
    }
    let server = Postgres::start_with(dir.path(), QUICK).await.unwrap();
    assert_eq!(number(&server, "SELECT n FROM t").await, 11);
    server.stop().await.unwrap();
}

#[test]
#[ignore = "run by `nothing_survives_the_kill_of_its_parent`, in a process of its own"]
fn helper_that_starts_servers_and_waits_to_be_killed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let servers = runtime.block_on(async {
        let server = Postgres::start(Path::new(".")).await.unwrap();
        execute(&server, "CREATE TABLE t AS SELECT 11 AS n").await;
        (server, Nats::start(Path::new("nats")).await.unwrap())
    });
    // The runtime's threads are gone, and the servers must not mind.
    runtime.shutdown_timeout(Duration::from_secs(5));
    println!("\nserver-is-ready");
    let mut until_the_test_ends = String::new();
    std::io::stdin().read_line(&mut until_the_test_ends).unwrap();
    drop(servers);
}

#[tokio::test]
async fn where_namespaces_are_blocked_root_hands_the_server_to_nobody_and_takes_it_back() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let dir = closed.path().join("postgres");
    let refusal = Postgres::start_as(Privileges::Nobody, &dir, QUICK).await.unwrap_err().to_string();
    assert!(refusal.contains(&format!("cannot enter {}", closed.path().display())), "{refusal}");

    std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let server = Postgres::start_as(Privileges::Nobody, &dir, QUICK).await.unwrap();
    assert_eq!(dir.join("data").metadata().unwrap().uid(), 65534);
    execute(&server, "CREATE TABLE t AS SELECT 3 AS n").await;
    server.stop().await.unwrap();

    let server = Postgres::start_with(&dir, QUICK).await.unwrap();
    assert_eq!(number(&server, "SELECT n FROM t").await, 3);
    server.stop().await.unwrap();
}
