//! The driver for this machine: a sandboxed process (bubblewrap), or, if the operator said so by name, a plain one.
//!
//! A sandbox has a user, mount, PID, IPC, UTS and cgroup namespace of its own, no capability, a read-only system, and its
//! workspace, home and `/tmp` to write to. It shares the network of the machine: repositories and the pod gateway are
//! reached there. Started by root, it is moved to a user id without rights first: inside a namespace that only *renames*
//! root, files of `/proc/sys` would still take root's writes.
//! Limits come from cgroups (version 2 or 1) where they can be written, else from resource limits of each process.

mod cgroup;
mod kill;
mod launch;
mod orphans;
mod output;
mod sandbox;
mod spawner;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::EnvironmentId;
use schemas::pod::Boot;
use secrecy::ExposeSecret as _;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::{info, warn};

use self::cgroup::{Cgroups, Group};
use self::kill::Whole;
use self::launch::{Launch, Limits};
use self::output::Output;
use super::{Confinement, Driver, DriverError, Exit, Handle, Spec};
use crate::settings::{ConfinementMode, WorkerSettings};

/// Makes environments on this machine.
#[derive(Debug)]
pub struct LocalDriver {
    root: PathBuf,
    mode: ConfinementMode,
    pod: PathBuf,
    read_only: Vec<PathBuf>,
    cpus: Option<u32>,
    cgroups: Cgroups,
    /// Whether bubblewrap can keep the sandbox from making namespaces of its own; known once it was probed.
    disable_userns: AtomicBool,
}

/// The folders of one environment.
#[derive(Debug, Clone)]
struct Folders {
    /// Holds the others; named by the environment's id.
    all: PathBuf,
}

impl Folders {
    fn workspace(&self) -> PathBuf {
        self.all.join("workspace")
    }
    fn home(&self) -> PathBuf {
        self.all.join("home")
    }
    fn tmp(&self) -> PathBuf {
        self.all.join("tmp")
    }
    fn etc(&self) -> PathBuf {
        self.all.join("etc")
    }
}

impl LocalDriver {
    /// A driver as the settings say. Looks at nothing yet but where cgroups can be written.
    pub fn new(settings: &WorkerSettings) -> Self {
        Self {
            root: settings.data_dir.join("environments"),
            mode: settings.confinement,
            pod: settings.pod_executable.clone(),
            read_only: settings.read_only_paths.clone(),
            cpus: settings.cpus,
            cgroups: Cgroups::find(settings.holder),
            disable_userns: AtomicBool::new(false),
        }
    }

    fn can_disable_userns(&self) -> bool {
        self.disable_userns.load(Ordering::Relaxed)
    }

    fn set_can_disable_userns(&self, can: bool) {
        self.disable_userns.store(can, Ordering::Relaxed);
    }

    fn limits(&self, spec: &Spec) -> Limits {
        Limits {
            memory_mib: spec.memory_mib,
            processes: spec.max_processes,
            cpu_seconds: spec.cpu_seconds,
            cpus: self.cpus,
        }
    }

    fn folders(&self, environment: EnvironmentId) -> Folders {
        Folders { all: self.root.join(environment.to_string()) }
    }

    fn check_settings(&self) -> Result<(), DriverError> {
        if let Some(path) = self.read_only.iter().find(|path| !path.exists()) {
            return Err(DriverError::Setting(format!(
                "environments.local.read_only_paths names `{}`, which does not exist",
                path.display()
            )));
        }
        if self.pod.is_file() {
            return Ok(());
        }
        Err(DriverError::Setting(format!(
            "the pod executable `{}` does not exist: build `agentworks-pod`, or set environments.local.pod_executable",
            self.pod.display()
        )))
    }

    /// Makes the folders and starts the pod; what was made before a failure is the caller's to remove.
    async fn launch(&self, spec: &Spec, folders: &Folders, group: Option<Group>) -> io::Result<LocalHandle> {
        let launch = Launch::new(self, spec.environment, folders, self.limits(spec), group.as_ref());
        make_folders(folders, launch.user)?;
        let boot = Boot {
            control_plane: spec.control_plane.clone(),
            token: spec.token.expose_secret().to_owned(),
            workspace: launch.workspace.clone(),
            traceparent: spec.traceparent.clone(),
            traces: spec.traces,
        };
        let confinement = launch.confinement.clone();
        let (output, writer) = Output::new()?;
        let (reader, stdin) = io::pipe()?;
        let mut command = launch.command();
        command.stdin(reader).stdout(writer.try_clone()?).stderr(writer);
        let child = spawner::spawn(command).await?;
        let whole = Whole::new(child, self.mode == ConfinementMode::None).await?;
        let handle = LocalHandle {
            whole: Some(whole),
            group,
            folders: folders.clone(),
            output,
            confinement,
            limits: self.limits(spec),
        };
        send(stdin, &boot).await?;
        Ok(handle)
    }
}

/// Writes the boot line and closes the pipe. In a thread of its own, since a pod that reads nothing would block it; the
/// line fits into a pipe's buffer, so that does not happen in practice.
async fn send(mut stdin: io::PipeWriter, boot: &Boot) -> io::Result<()> {
    let mut line = serde_json::to_vec(boot)?;
    line.push(b'\n');
    let written = tokio::task::spawn_blocking(move || stdin.write_all(&line)).await.map_err(io::Error::other)?;
    match written {
        // It died before it read: its exit says why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn make_folders(folders: &Folders, user: Option<u32>) -> io::Result<()> {
    if let Some(parent) = folders.all.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    fs::DirBuilder::new().mode(0o755).create(&folders.all)?;
    for folder in [folders.workspace(), folders.home(), folders.tmp()] {
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        if user.is_some() {
            chown(&folder, user, user)?;
        }
    }
    fs::create_dir(folders.etc())?;
    sandbox::write_accounts(&folders.etc())
}

#[async_trait]
impl Driver for LocalDriver {
    fn kind(&self) -> domain::environment::Driver {
        domain::environment::Driver::Local
    }

    async fn probe(&self) -> Result<Confinement, DriverError> {
        self.check_settings()?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(DriverError::io("prepared"))?;
        if self.mode == ConfinementMode::None {
            warn!(
                "RUNS ARE NOT CONFINED: agents run as plain processes with every right of this user, as the configuration demands"
            );
        } else {
            sandbox::probe(self).await?;
        }
        let mut confinement = sandbox::words(self.mode);
        confinement.extend(self.cgroups.words());
        info!(?confinement, "environments can be made");
        Ok(confinement)
    }

    async fn start(&self, spec: Spec) -> Result<Box<dyn Handle>, DriverError> {
        self.check_settings()?;
        let folders = self.folders(spec.environment);
        let limits = self.limits(&spec);
        let group = self.cgroups.create(&spec.environment.to_string(), &limits).map_err(DriverError::io("limited"))?;
        match self.launch(&spec, &folders, group.clone()).await {
            Ok(handle) => Ok(Box::new(handle)),
            Err(source) => {
                if let Some(group) = group {
                    group.remove().await;
                }
                if let Err(error) = remove_tree(folders.all).await {
                    warn!(%error, environment = %spec.environment, "the files of an environment that did not start stay behind");
                }
                Err(DriverError::Io { doing: "started", source })
            }
        }
    }

    async fn remove_orphans(&self) -> Result<usize, DriverError> {
        orphans::remove(&self.root, &self.cgroups).await.map_err(DriverError::io("removed"))
    }
}

/// A live local environment.
struct LocalHandle {
    /// `None` once stopped.
    whole: Option<Whole>,
    group: Option<Group>,
    folders: Folders,
    output: Output,
    confinement: Confinement,
    limits: Limits,
}

impl LocalHandle {
    /// What is known of the end besides the status.
    fn explain(&self, status: std::process::ExitStatus) -> Exit {
        let memory = self.limits.memory_mib;
        let starved = self.group.as_ref().is_some_and(Group::ran_out_of_memory);
        let cause = if starved { format!(" after it used up its memory ({memory} MiB)") } else { String::new() };
        Exit { success: status.success(), reason: format!("{}{cause}", kill::describe(status)) }
    }
}

#[async_trait]
impl Handle for LocalHandle {
    fn confinement(&self) -> Confinement {
        self.confinement.clone()
    }

    async fn exited(&mut self) -> Exit {
        let Some(whole) = &mut self.whole else { return Exit { success: false, reason: "it was stopped".to_owned() } };
        match whole.exited().await {
            Ok(status) => {
                // What it wrote last is still on its way through the pipe.
                self.output.settle().await;
                self.explain(status)
            }
            Err(error) => Exit { success: false, reason: format!("its end could not be observed: {error}") },
        }
    }

    fn log_tail(&self) -> String {
        self.output.tail()
    }

    async fn stop(mut self: Box<Self>) -> Result<(), DriverError> {
        if let Some(group) = &self.group {
            group.kill();
        }
        if let Some(whole) = self.whole.take() {
            whole.kill().await.map_err(DriverError::io("stopped"))?;
        }
        if let Some(group) = self.group.take() {
            group.remove().await;
        }
        remove_tree(self.folders.all.clone()).await.map_err(DriverError::io("removed"))
    }
}

/// Removes a folder with all in it, folders that an agent made read-only included. What is not there is removed already.
async fn remove_tree(path: PathBuf) -> io::Result<()> {
    let work = move || match fs::remove_dir_all(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(&path)?;
            fs::remove_dir_all(&path)
        }
        other => other,
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Follows no symbolic link: it may point anywhere.
fn make_writable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

/// A descriptor that becomes readable when the process ends.
#[expect(
    deprecated,
    reason = "its successor is unsafe to call; an `OwnedFd` keeps the descriptor open for as long as it must be"
)]
fn watch(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    let descriptor = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Nothing to read, nothing to write.
fn silent(command: &mut std::process::Command) -> &mut std::process::Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped())
}
