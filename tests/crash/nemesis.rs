//! What befalls servers and processes beside the named points: killed, frozen, cut off, emptied, full, out of time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::process::Signal;
use schemas::subject;

use crate::checker::Bus;
use crate::scenario::{Outcome, Stage};
use crate::world::{ALL, LOOK, PATIENCE, Start, World, free_port};

/// Longer than every lease.
const FROZEN: Duration = Duration::from_secs(7);
/// For what people do before, between and after.
const MEANWHILE: Duration = Duration::from_millis(1_500);
/// The roles, each in a process of its own.
const ROLES: [&str; 5] = ["command-api", "query-api", "relay", "projections", "workers"];
/// A process that plays the same roles as the first.
const SECOND: &str = "second";
/// Where Debian has the library that lies about the time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// Of the disk that gets full.
const DISK: &str = "size=320m";

/// Which processes there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Processes {
    /// One with every role.
    One,
    /// One for each role.
    EachRole,
    /// Two with every role.
    Two,
}

/// A misfortune.
pub(crate) struct Nemesis {
    pub(crate) name: &'static str,
    processes: Processes,
    bus: Bus,
    happens: for<'a> fn(&'a mut Stage) -> BoxFuture<'a, ()>,
}

const fn nemesis(
    name: &'static str,
    processes: Processes,
    bus: Bus,
    happens: for<'a> fn(&'a mut Stage) -> BoxFuture<'a, ()>,
) -> Nemesis {
    Nemesis { name, processes, bus, happens }
}

/// All of them.
pub(crate) const NEMESES: &[Nemesis] = &[
    nemesis("roles.killed", Processes::EachRole, Bus::Kept, |stage| roles_killed(stage).boxed()),
    nemesis("roles.frozen", Processes::EachRole, Bus::Kept, |stage| roles_frozen(stage).boxed()),
    nemesis("two.of.each", Processes::Two, Bus::Kept, |stage| two_of_each(stage).boxed()),
    nemesis("postgres.restarted", Processes::One, Bus::Kept, |stage| postgres_restarted(stage).boxed()),
    nemesis("postgres.crashed", Processes::One, Bus::Kept, |stage| postgres_crashed(stage).boxed()),
    nemesis("nats.stopped", Processes::One, Bus::Lost, |stage| nats(stage, Signal::TERM, false).boxed()),
    nemesis("nats.killed", Processes::One, Bus::Lost, |stage| nats(stage, Signal::KILL, false).boxed()),
    nemesis("nats.emptied", Processes::One, Bus::Lost, |stage| nats(stage, Signal::KILL, true).boxed()),
    nemesis("stream.deleted", Processes::One, Bus::Lost, |stage| stream_deleted(stage).boxed()),
    nemesis(DISK_FULL, Processes::One, Bus::Lost, |stage| disk_full(stage).boxed()),
    nemesis(CLOCK_STEPPED, Processes::One, Bus::Kept, |stage| clock_stepped(stage).boxed()),
];
const DISK_FULL: &str = "disk.full";
const CLOCK_STEPPED: &str = "clock.stepped";

impl Nemesis {
    /// Lets it happen under load; what the checker says afterwards. `None`, loudly, where this machine does not let it happen.
    pub(crate) async fn befall(&self, seed: u64) -> Option<Outcome> {
        let disk = if self.name == DISK_FULL { Some(Disk::mount()?) } else { None };
        if self.name == CLOCK_STEPPED && !Path::new(FAKETIME).exists() {
            println!("{}: SKIPPED: {FAKETIME} is missing: apt-get install libfaketime", self.name);
            return None;
        }
        let mut world = World::new(disk.as_ref().map(|disk| disk.0.as_path())).await;
        let port = free_port();
        let mut queries = port;
        match self.processes {
            Processes::One => {
                world.start(ALL, ALL, port, &Start::default());
                world.ready(ALL, port).await;
            }
            Processes::Two => {
                for (name, port) in [(ALL, port), (SECOND, free_port())] {
                    world.start(name, ALL, port, &Start::default());
                    world.ready(name, port).await;
                    queries = port;
                }
            }
            Processes::EachRole => {
                let mut ports = vec![port];
                for role in ROLES {
                    let port = ports.pop().unwrap_or_else(free_port);
                    world.start(role, role, port, &Start::default());
                    world.ready(role, port).await;
                    queries = if role == "query-api" { port } else { queries };
                }
            }
        }
        let mut stage = Stage::in_world(self.name, seed, world, port, queries).await;
        stage.load.run_cards(true);
        tokio::time::sleep(MEANWHILE).await;
        (self.happens)(&mut stage).await;
        tokio::time::sleep(MEANWHILE).await;
        let outcome = stage.judge(self.bus).await;
        drop(disk);
        Some(outcome)
    }
}

/// Starts a role's process again, where it was.
async fn again(stage: &mut Stage, role: &str) {
    let port = stage.world.port(role);
    stage.world.kill(role);
    stage.world.start(role, role, port, &Start::default());
    stage.world.ready(role, port).await;
}

async fn roles_killed(stage: &mut Stage) {
    for role in ROLES {
        again(stage, role).await;
        tokio::time::sleep(MEANWHILE).await;
    }
}

async fn roles_frozen(stage: &mut Stage) {
    for role in ROLES {
        stage.world.signal(role, Signal::STOP);
        tokio::time::sleep(FROZEN).await;
        stage.world.signal(role, Signal::CONT);
        tokio::time::sleep(MEANWHILE).await;
    }
}

/// The one takes over while the other is frozen; then that one comes back and believes that nothing has happened.
async fn two_of_each(stage: &mut Stage) {
    let second = stage.world.port(SECOND);
    for name in [ALL, SECOND] {
        stage.world.signal(name, Signal::STOP);
        tokio::time::sleep(FROZEN).await;
        stage.world.signal(name, Signal::CONT);
        tokio::time::sleep(MEANWHILE).await;
    }
    stage.world.kill(SECOND);
    tokio::time::sleep(MEANWHILE).await;
    stage.world.start(SECOND, ALL, second, &Start::default());
    stage.world.ready(SECOND, second).await;
}

async fn postgres_restarted(stage: &mut Stage) {
    let postgres = stage.world.postgres.take().expect("it runs");
    postgres.stop().await.expect("it stops");
    tokio::time::sleep(MEANWHILE).await;
    stage.world.postgres_again().await;
}

async fn postgres_crashed(stage: &mut Stage) {
    for signal in [Signal::QUIT, Signal::KILL] {
        stage.world.signal_postgres(signal);
        tokio::time::sleep(MEANWHILE).await;
        stage.world.postgres_again().await;
        tokio::time::sleep(MEANWHILE).await;
    }
}

async fn nats(stage: &mut Stage, signal: Signal, emptied: bool) {
    for _ in 0..2 {
        stage.world.signal_nats(signal);
        tokio::time::sleep(MEANWHILE * 2).await;
        if emptied {
            std::fs::remove_dir_all(stage.world.stream_data()).expect("it can be deleted");
        }
        stage.world.nats_again().await;
        tokio::time::sleep(MEANWHILE).await;
    }
}

async fn stream_deleted(stage: &mut Stage) {
    let options = outbox::bus::connect_options(&stage.world.bus);
    let client = options.connect(&stage.world.bus).await.expect("a connection");
    let jetstream = async_nats::jetstream::new(client);
    for _ in 0..3 {
        let deleted = async {
            while jetstream.delete_stream(subject::STREAM).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, deleted).await.expect("the relay makes it again");
        tokio::time::sleep(MEANWHILE).await;
    }
}

/// A small disk of its own, until dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("agentworks-disk-").tempdir().expect("a folder").keep();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&folder).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            refused => {
                println!("{DISK_FULL}: SKIPPED: no disk can be mounted here (it takes root): {refused:?}");
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _stays = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _stays = std::fs::remove_dir(&self.0);
    }
}

/// Everything that is written fails for a while. Then somebody makes room, and starts what has died of it.
async fn disk_full(stage: &mut Stage) {
    let ballast = stage.world.disk().join("ballast");
    let filled = Command::new("dd").args(["if=/dev/zero", "bs=1M"]).arg(format!("of={}", ballast.display())).output();
    assert!(!filled.expect("dd runs").status.success(), "the disk is full");
    tokio::time::sleep(FROZEN * 2).await;
    std::fs::remove_file(&ballast).expect("it can be deleted");
    let postgres = stage.world.postgres.as_mut().expect("it was started");
    if postgres.failed().now_or_never().is_some() {
        println!("{DISK_FULL}: Postgres had died of it and is started again");
        stage.world.postgres_again().await;
    }
    let nats = stage.world.nats.as_mut().expect("it was started");
    if nats.failed().now_or_never().is_some() {
        println!("{DISK_FULL}: NATS had died of it and is started again");
    }
    // It does not come back to a disk that it has given up by itself.
    stage.world.nats_again().await;
}

/// The clock of the product's processes jumps, forth and back, by more than every lease and less than a token's life. The
/// database keeps its own time.
async fn clock_stepped(stage: &mut Stage) {
    let clock = stage.world.folder.join("clock");
    let set = |text: &str| std::fs::write(&clock, text).expect("it can be written");
    set("+0\n");
    let lies = [
        ("LD_PRELOAD", FAKETIME.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    stage.world.kill(ALL);
    let start = Start { environment: lies.to_vec(), ..Start::default() };
    stage.world.start(ALL, ALL, stage.port, &start);
    stage.world.ready(ALL, stage.port).await;
    for step in ["+900s\n", "-900s\n", "+0\n"] {
        tokio::time::sleep(MEANWHILE * 2).await;
        set(step);
    }
    tokio::time::sleep(MEANWHILE * 2).await;
    // Time really went back and forth in what was recorded.
    let stepped = "SELECT count(*) FROM log.events WHERE abs(extract(epoch FROM recorded_at - occurred_at)) > 600";
    if stage.world.count(stepped).await == 0 {
        stage.troubles.push("no event has another time: the clock was not stepped".to_owned());
    }
}
