//! What the benchmarks stand on: private servers, the limits to compare with, and a history to read.
//!
//! A limit is measured on the same server in the same run as what is compared with it, so that a figure is a ratio.

// Each benchmark is a program of its own and uses what it needs.
#![expect(dead_code, reason = "no benchmark uses all of it")]

pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod limit;
pub(crate) mod sockets;

use agentworks::embedded::{Nats, Postgres};
use outbox::{Bus, Log, LogSettings};
use tempfile::TempDir;

/// Rounds whose median counts.
pub(crate) const ROUNDS: usize = 5;

/// A private Postgres with an empty log and empty read models.
pub(crate) struct Stage {
    /// Where the servers keep their data.
    pub(crate) folder: TempDir,
    /// The database.
    pub(crate) url: String,
    postgres: Postgres,
}

impl Stage {
    /// Starts the server and makes the log and the read models.
    pub(crate) async fn set(partitions: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = Postgres::start(&folder.path().join("postgres")).await.unwrap();
        let url = postgres.url("postgres", "postgres");
        outbox::migrate::run(&url, partitions).await.unwrap();
        projections::generations::prepare(&mut outbox::migrate::owner(&url).await.unwrap()).await.unwrap();
        Self { folder, url, postgres }
    }

    /// The log, as a process of ours opens it.
    pub(crate) async fn log(&self) -> Log {
        let settings = LogSettings { url: self.url.clone(), max_connections: 8, notify: false };
        Log::connect(&settings).await.unwrap()
    }

    /// A private NATS, and a connection to it.
    pub(crate) async fn bus(&self) -> (Nats, Bus) {
        let nats = Nats::start(&self.folder.path().join("nats")).await.unwrap();
        let bus = Bus::connect(&nats.url(), 8 << 30).await.unwrap();
        (nats, bus)
    }

    /// Stops the server.
    pub(crate) async fn strike(self) {
        self.postgres.stop().await.unwrap();
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that `percent` of a hundred do not exceed.
pub(crate) fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

/// A count as a number to divide by.
pub(crate) fn float(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().ok().expect("a count below 2³²"))
}

/// The most memory that this process has held, in MiB.
pub(crate) fn peak_mib() -> u64 {
    status_kib("self", "VmHWM:") / 1_024
}

/// The memory that this process holds, in MiB.
pub(crate) fn resident_mib() -> u64 {
    status_kib("self", "VmRSS:") / 1_024
}

/// The memory that a process holds without the servers that it started, in KiB.
pub(crate) fn resident_kib(process: u32) -> u64 {
    status_kib(&process.to_string(), "VmRSS:")
}

fn status_kib(process: &str, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
