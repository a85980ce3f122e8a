//! Environments: isolated places where an attempt of a run works, made by a driver.
//!
//! What every driver guarantees: a pod gets its token by its standard input and nothing else of ours; an environment
//! that was stopped has left no process and no file behind; what a former life of this worker left is found and removed.
//! Never: less confinement than was asked for. A driver that cannot confine says what is missing, and what to do.

pub mod local;

use async_trait::async_trait;
use domain::EnvironmentId;
use secrecy::SecretString;

/// What an environment is to be.
#[derive(Debug)]
pub struct Spec {
    /// Its id; also names what the driver makes for it.
    pub environment: EnvironmentId,
    /// The control plane's address, as the pod reaches it.
    pub control_plane: String,
    /// The pod's token.
    pub token: SecretString,
    /// W3C trace context for the pod to continue.
    pub traceparent: Option<String>,
    /// Whether the pod sends traces.
    pub traces: bool,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Processes.
    pub max_processes: u32,
    /// Seconds of processor time that one process may use, where nothing better limits it.
    pub cpu_seconds: u32,
}

/// What confines environments, in words for auditors, such as `user namespace` or `memory 2048 MiB (cgroup v2)`.
pub type Confinement = Vec<String>;

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// This machine cannot confine what runs in an environment.
    #[error("environments cannot be confined on this machine: {lacks}. {remedy}")]
    CannotConfine {
        /// What is missing.
        lacks: String,
        /// What to do.
        remedy: String,
    },
    /// A setting of the operator's does not fit this machine.
    #[error("{0}")]
    Setting(String),
    /// Starting failed.
    #[error("the environment could not be {doing}: {source}")]
    Io {
        /// `started`, `removed` …
        doing: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

impl DriverError {
    fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// How a pod ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Whether it said that all went well.
    pub success: bool,
    /// For people, such as `it was killed by signal 9 after it used up its memory (512 MiB)`.
    pub reason: String,
}

/// Makes environments.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// What it is, as events name it.
    fn kind(&self) -> domain::environment::Driver;

    /// Whether environments can be made here, tried out: what will confine them.
    ///
    /// # Errors
    /// What is missing, and the remedy.
    async fn probe(&self) -> Result<Confinement, DriverError>;

    /// Makes an environment and starts its pod.
    ///
    /// # Errors
    /// Why not; nothing is left behind then.
    async fn start(&self, spec: Spec) -> Result<Box<dyn Handle>, DriverError>;

    /// Ends and removes whatever an earlier life of this worker left. Called once, before the first start.
    ///
    /// # Errors
    /// When something cannot be looked at or removed.
    async fn remove_orphans(&self) -> Result<usize, DriverError>;
}

/// A live environment. Dropped without [`Handle::stop`], its processes are killed but its files stay for
/// [`Driver::remove_orphans`].
#[async_trait]
pub trait Handle: Send {
    /// What confines it.
    fn confinement(&self) -> Confinement;

    /// Waits until the pod has ended. May be given up and called again.
    async fn exited(&mut self) -> Exit;

    /// The end of what the pod has written, for people.
    fn log_tail(&self) -> String;

    /// Ends everything in it and removes it.
    ///
    /// # Errors
    /// When something cannot be removed. Nothing is left running in any case.
    async fn stop(self: Box<Self>) -> Result<(), DriverError>;
}
