//! Ending a sandbox as a whole.
//!
//! The first process inside a PID namespace takes all others with it, however they detached themselves, and counts as
//! ended only when they are gone. It is the child of the process that we start, which waits for it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};
use schemas::pod::exit;
use tokio::io::unix::AsyncFd;

use super::watch;

/// Longest search for the first process inside: bubblewrap makes it within milliseconds or fails.
const APPEARS: Duration = Duration::from_secs(5);
/// Longest wait for a killed process; only one stuck in the kernel takes longer.
const DIES: Duration = Duration::from_secs(10);

/// The processes of one environment.
#[derive(Debug)]
pub(super) struct Whole {
    child: Child,
    exit: AsyncFd<OwnedFd>,
    /// The first process inside; absent without a sandbox, or when it ended before it was seen.
    first: Option<AsyncFd<OwnedFd>>,
    /// Whether the child leads a process group that is all there is to kill.
    unconfined: bool,
    status: Option<ExitStatus>,
}

impl Whole {
    /// `unconfined` processes have no namespace; their process group is killed instead.
    pub(super) async fn new(child: Child, unconfined: bool) -> io::Result<Self> {
        let exit = watch(child.id())?;
        let mut whole = Self { child, exit, first: None, unconfined, status: None };
        if !unconfined {
            whole.first = tokio::time::timeout(APPEARS, whole.find_first()).await.unwrap_or_default();
        }
        Ok(whole)
    }

    /// Waits for the end of the child.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        self.exit.readable().await?.retain_ready();
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    /// Ends everything and waits until it is gone.
    pub(super) async fn kill(mut self) -> io::Result<()> {
        self.signal();
        let gone = async {
            if let Some(first) = &self.first {
                first.readable().await?.retain_ready();
            }
            self.exit.readable().await?.retain_ready();
            io::Result::Ok(())
        };
        tokio::time::timeout(DIES, gone).await.map_err(|_| io::Error::other("a killed process does not end"))??;
        self.child.wait().map(drop)
    }

    fn signal(&self) {
        if let Some(first) = &self.first {
            let _already_gone = pidfd_send_signal(first, Signal::KILL);
        }
        if self.unconfined
            && let Some(group) = Pid::from_raw(self.child.id().cast_signed())
        {
            let _already_gone = kill_process_group(group, Signal::KILL);
        }
        let _already_gone = pidfd_send_signal(&self.exit, Signal::KILL);
    }

    /// The kernel tells of no new child, so it is looked for until it is there.
    async fn find_first(&self) -> Option<AsyncFd<OwnedFd>> {
        loop {
            if let Some(found) = only_child(self.child.id()) {
                return watch(found).ok();
            }
            tokio::select! {
                _ = self.exit.readable() => return None,
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
            }
        }
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if self.status.is_none() && matches!(self.child.try_wait(), Ok(None)) {
            self.signal();
        }
    }
}

/// The child of a process that has just one, once the process is bubblewrap: before that, it is the launcher, whose
/// helpers come and go.
fn only_child(pid: u32) -> Option<u32> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    if name.trim_end() != "bwrap" {
        return None;
    }
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_whitespace().next()?.parse().ok()
}

/// How a process ended, for people.
pub(super) fn describe(status: ExitStatus) -> String {
    // Bubblewrap passes the signal of what it ran on as 128 and its number.
    let signal =
        status.signal().or_else(|| status.code().filter(|code| (129..=192).contains(code)).map(|code| code - 128));
    match (signal, status.code()) {
        (Some(signal), _) => format!("the pod was killed by signal {signal}"),
        (None, Some(0)) => "the pod ended without reporting a result".to_owned(),
        (None, Some(code)) => match meaning(code) {
            Some(meaning) => format!("{meaning} (exit code {code})"),
            None => format!("the pod ended with exit code {code}"),
        },
        (None, None) => "the pod ended".to_owned(),
    }
}

/// What a pod says by its exit code.
fn meaning(code: i32) -> Option<&'static str> {
    match u8::try_from(code).ok()? {
        exit::BAD_BOOT => Some("the pod could not be set up"),
        exit::OVER => Some("the pod was told that its attempt is over"),
        exit::OUT_OF_TIME => Some("the pod ran out of time"),
        exit::UNREPORTED => Some("the pod could not report its result"),
        exit::NO_JOB => Some("the pod was given no job"),
        _ => None,
    }
}
