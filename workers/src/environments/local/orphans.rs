//! What an earlier life of this worker left: groups, processes, folders. The folder of environments is this worker's
//! alone, so whatever is in it before the first start is left over.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tracing::warn;

use super::cgroup::Cgroups;
use super::launch::MARK;
use super::{remove_tree, watch};

/// Longest wait for a killed process.
const DIES: Duration = Duration::from_secs(10);

/// Ends and removes all of it; how many folders there were.
pub(super) async fn remove(root: &Path, cgroups: &Cgroups) -> io::Result<usize> {
    for group in cgroups.existing() {
        group.remove().await;
    }
    kill_processes(root).await?;
    let mut removed = 0;
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        remove_tree(entry?.path()).await?;
        removed += 1;
    }
    if removed > 0 {
        warn!(removed, "removed what an earlier process left of its environments");
    }
    Ok(removed)
}

/// Kills every process that was started for an environment below `root`.
async fn kill_processes(root: &Path) -> io::Result<()> {
    let mut dying = vec![];
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() || !names(pid, root) {
            continue;
        }
        // Held by a descriptor first and looked at again then, it cannot be another process of the same number.
        let Ok(descriptor) = watch(pid) else { continue };
        if names(pid, root) {
            let _already_gone = pidfd_send_signal(&descriptor, Signal::KILL);
            dying.push(descriptor);
        }
    }
    let gone = async {
        for process in &dying {
            process.readable().await?.retain_ready();
        }
        io::Result::Ok(())
    };
    tokio::time::timeout(DIES, gone).await.unwrap_or_else(|_| {
        warn!("a process of an earlier environment does not end");
        Ok(())
    })
}

/// Whether the process was started for an environment below `root`.
fn names(pid: u32, root: &Path) -> bool {
    let mut wanted = format!("{MARK}=").into_bytes();
    wanted.extend_from_slice(root.as_os_str().as_bytes());
    wanted.push(b'/');
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&wanted))
}
