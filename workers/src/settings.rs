//! What the workers of a process are told by its configuration.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use uuid::Uuid;

/// How far a run is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfinementMode {
    /// Inside a sandbox, or not at all.
    Required,
    /// As a plain process, which the operator asked for by name. Says so loudly.
    None,
}

/// The settings of [`Workers`](crate::Workers).
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Where environments live; this process's own.
    pub data_dir: PathBuf,
    /// Who this process is in leases. Stable over restarts (it is kept in the data folder), so that a new life can at
    /// once give up what its former self held; never shared by two live processes.
    pub holder: Uuid,
    /// Runs of this process at the same time.
    pub max_concurrent_runs: usize,
    /// Runs of one tenant at the same time, over all workers. It is kept in the database: of workers with different
    /// settings, the one that started last has its way.
    pub max_runs_per_tenant: u32,
    /// Silence after which a run is taken from its worker.
    pub lease: Duration,
    /// Longest wait of a run in the queue.
    pub dispatch_timeout: Duration,
    /// Longest time from the dispatch of a run to its pod's first request.
    pub start_timeout: Duration,
    /// Time that a graceful stop leaves running pods to report.
    pub drain: Duration,
    /// The pod gateway as a pod reaches it, such as `http://127.0.0.1:8080`.
    pub control_plane: String,
    /// How far runs are confined.
    pub confinement: ConfinementMode,
    /// Further paths of this machine that a sandbox sees; absolute. Their `bin` folders join the sandbox's `PATH`.
    pub read_only_paths: Vec<PathBuf>,
    /// The executable `agentworks-pod`.
    pub pod_executable: PathBuf,
    /// Memory that one environment may have at most, in MiB, whatever the project's policy says.
    pub memory_mib: u64,
    /// Processors that one environment may use at most; all of the machine's when absent.
    pub cpus: Option<u32>,
    /// Where traces go: the collector's OTLP/HTTP address, without `/v1/traces`.
    pub otlp_endpoint: Option<Url>,
}
