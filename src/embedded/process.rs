//! Child processes that own no privileges and outlive nobody.
//!
//! A child asks the kernel for a signal when its parent dies (`setpriv --pdeathsig`). To the kernel the parent is the *thread*
//! that started it, and the runtime's threads come and go: all children are therefore started by one thread that lives as
//! long as this process. A kill may still fall into the instant before the child has asked; [`end_orphans`] finds what
//! such an accident leaves behind.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::EmbeddedError;

/// Uid and gid of `nobody`, the same on every distribution.
const NOBODY: u32 = 65534;
/// Searched after `PATH`, which leaves out the `sbin`s for ordinary users.
const MORE_FOLDERS: [&str; 5] = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/opt/homebrew/bin"];

/// Where a program is, as a shell would find it.
#[expect(clippy::disallowed_methods, reason = "PATH is no setting of ours: it says where this machine keeps programs")]
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_absolute() && candidate.is_file())
}

/// How a child comes to have no privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privileges {
    /// We have none ourselves.
    Ours,
    /// Root's files, seen by an ordinary user of a namespace of its own.
    Namespace,
    /// The user `nobody`, where namespaces are not to be had; what it uses must belong to it.
    Nobody,
}

impl Privileges {
    /// What is possible here.
    pub(super) async fn choose() -> Result<Self, EmbeddedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        let mut probe = Self::Namespace.command(&find("true").unwrap_or_else(|| "/bin/true".into()), "INT")?;
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let works =
            Child::spawn("unshare", probe, Signal::KILL).await?.exited().await.is_ok_and(|status| status.success());
        Ok(if works { Self::Namespace } else { Self::Nobody })
    }

    /// A command that runs `program` so, with an empty environment, and with `signal` when this process dies.
    pub(super) fn command(self, program: &Path, signal: &str) -> Result<Command, EmbeddedError> {
        let util_linux = |program| {
            find(program).ok_or(EmbeddedError::Missing {
                program,
                package: "util-linux",
                variable: "DATABASE_URL and NATS_URL",
            })
        };
        let setpriv = util_linux("setpriv")?;
        let mut command = match self {
            Self::Ours => Command::new(&setpriv),
            Self::Namespace => {
                let mut command = Command::new(util_linux("unshare")?);
                command.args(["--user", "--map-user=1000", "--map-group=1000", "--"]).arg(&setpriv);
                command
            }
            Self::Nobody => {
                let mut command = Command::new(&setpriv);
                let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()];
                command.args(ids).arg("--").arg(&setpriv);
                command
            }
        };
        command.args(["--pdeathsig", signal, "--"]).arg(program);
        // An environment of its own keeps our secrets out of it; a process group of its own keeps the terminal's ^C from it.
        command.env_clear().env("LC_ALL", "C").process_group(0);
        Ok(command)
    }

    /// Hands a folder and all in it to the user that will work there.
    pub(super) fn hand_over(self, dir: &Path) -> Result<(), EmbeddedError> {
        let owner = match self {
            Self::Ours => return Ok(()),
            Self::Namespace => 0,
            Self::Nobody => {
                reachable_by_all(dir)?;
                NOBODY
            }
        };
        chown_all(dir, owner).map_err(EmbeddedError::io("change the owner of", dir))
    }
}

/// `nobody` must get through every folder above.
fn reachable_by_all(dir: &Path) -> Result<(), EmbeddedError> {
    for above in dir.ancestors().skip(1) {
        let metadata = above.metadata().map_err(EmbeddedError::io("read", above))?;
        if metadata.mode() & 0o001 == 0 && metadata.uid() != NOBODY {
            return Err(EmbeddedError::Unreachable {
                dir: dir.display().to_string(),
                above: above.display().to_string(),
            });
        }
    }
    Ok(())
}

fn chown_all(path: &Path, owner: u32) -> io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.uid() != owner {
        lchown(path, Some(owner), Some(owner))?;
    }
    if metadata.is_dir() {
        for entry in path.read_dir()? {
            chown_all(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

type Job = Box<dyn FnOnce() + Send>;

/// The parent of all children: a thread that ends with the process and not before.
static PARENT: LazyLock<io::Result<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel::<Job>();
    let run = move || jobs.into_iter().for_each(|job| job());
    std::thread::Builder::new().name("embedded-parent".into()).spawn(run).map(|_| sender)
});

/// A running server.
#[derive(Debug)]
pub(super) struct Child {
    child: tokio::process::Child,
    pid: u32,
    handle: OwnedFd,
    when_dropped: Signal,
}

impl Child {
    /// Starts it from the thread that lives as long as we do. Dropped without [`Child::stop`], it gets a signal and no wait.
    pub(super) async fn spawn(
        program: &'static str,
        command: Command,
        when_dropped: Signal,
    ) -> Result<Self, EmbeddedError> {
        let failed = |source| EmbeddedError::Io { action: "start", path: program.into(), source };
        let no_parent = || failed(io::Error::other("the thread that starts children is gone"));
        let (reply, answer) = oneshot::channel();
        let runtime = Handle::current();
        let job = Box::new(move || {
            let _so_that_it_can_be_waited_for = runtime.enter();
            drop(reply.send(tokio::process::Command::from(command).spawn()));
        });
        PARENT.as_ref().map_err(|_| no_parent())?.send(job).map_err(|_| no_parent())?;
        let child = answer.await.map_err(|_| no_parent())?.map_err(failed)?;
        let pid = child.id().ok_or_else(no_parent)?;
        let handle = handle(pid.cast_signed()).map_err(failed)?;
        Ok(Self { child, pid, handle, when_dropped })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.pid
    }

    /// Waits for its end.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end, waits, and ends it when it does not. `true` if it ended by itself.
    pub(super) async fn stop(mut self, signal: Signal, grace: Duration) -> io::Result<bool> {
        let _already_gone = pidfd_send_signal(&self.handle, signal);
        let by_itself = timeout(grace, self.exited()).await.is_ok();
        if !by_itself {
            self.child.kill().await?;
        }
        Ok(by_itself)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _already_gone = pidfd_send_signal(&self.handle, self.when_dropped);
    }
}

/// Stands for this very process, also when its number has been given to another.
fn handle(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Ends what an earlier process left running in `dir`, and returns when it is gone: `signal` to those without a parent
/// among them, and to all that are left after `grace` a kill.
pub(super) async fn end_orphans(
    program: &'static str,
    dir: &Path,
    signal: Signal,
    grace: Duration,
) -> Result<(), EmbeddedError> {
    let search = || running(program, dir).map_err(EmbeddedError::io("search for processes in", dir));
    let mut left = search()?;
    if left.is_empty() {
        return Ok(());
    }
    tracing::warn!(program, processes = left.len(), dir = %dir.display(), "ending what an earlier process left running");
    let pids: Vec<i32> = left.iter().map(|orphan| orphan.pid).collect();
    for orphan in left.iter().filter(|orphan| !pids.contains(&orphan.parent)) {
        let _already_gone = pidfd_send_signal(&orphan.handle, signal);
    }
    let deadline = Instant::now() + grace;
    while !left.is_empty() {
        if Instant::now() > deadline {
            for orphan in &left {
                let _already_gone = pidfd_send_signal(&orphan.handle, Signal::KILL);
            }
        }
        // They are not our children: nobody tells us of their end.
        sleep(Duration::from_millis(10)).await;
        left = search()?;
    }
    Ok(())
}

struct Orphan {
    pid: i32,
    parent: i32,
    handle: OwnedFd,
}

/// How many there are, for tests.
#[cfg(test)]
pub(super) fn count_running(program: &str, dir: &Path) -> usize {
    running(program, dir).unwrap().len()
}

/// All processes of this program that work in `dir`, by what the kernel says of them: files with process ids may lie.
fn running(program: &str, dir: &Path) -> io::Result<Vec<Orphan>> {
    let mut found = Vec::new();
    for entry in Path::new("/proc").read_dir()? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let here = || parent_if_here(&entry.path(), program, dir);
        if here().is_none() {
            continue;
        }
        // Looked at again once we hold it, it cannot be another process of the same number.
        let Ok(handle) = handle(pid) else { continue };
        if let Some(parent) = here() {
            found.push(Orphan { pid, parent, handle });
        }
    }
    Ok(found)
}

fn parent_if_here(process: &Path, program: &str, dir: &Path) -> Option<i32> {
    if process.join("cwd").read_link().ok()? != dir {
        return None;
    }
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    let (head, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let (state, parent) = (fields.next()?, fields.next()?);
    let (_, name) = head.split_once('(')?;
    (name == program && state != "Z").then(|| parent.parse().ok())?
}

/// Sends a command's output, both kinds, to a file.
pub(super) fn log_to(command: &mut Command, log: File) -> io::Result<()> {
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(())
}

/// Joins an option and its value, whatever bytes the value has.
pub(super) fn option(name: &str, value: impl AsRef<OsStr>) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(value);
    option
}
