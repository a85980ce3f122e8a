//! Running commands, and making sure that nothing of them stays.
//!
//! Guarantees: a command sees a clean environment and no input; it is bounded in time and in the output that is kept;
//! when [`shell`] returns, no process that the command started is alive, not even one in a session of its own.
//! Never: runs two commands at a time ([`kill_descendants`] kills every descendant of the pod).

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;

use crate::text::Excerpt;

/// How often the descendants are looked for until they are all gone, and how long to wait between.
const ROUNDS: usize = 400;
const ROUND: Duration = Duration::from_millis(5);
/// How long output may take to arrive once every process is gone.
const DRAIN: Duration = Duration::from_secs(5);

/// What a command sees of the world.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Where commands are looked for.
    pub(crate) path: String,
    /// The home folder.
    pub(crate) home: PathBuf,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit status; none when a signal or the time limit ended it.
    pub(crate) status: Option<i32>,
    /// How it ended, in words, such as `exit status: 0`.
    pub(crate) ending: String,
    /// Both outputs as they came, without the middle when that is long.
    pub(crate) output: String,
    /// SHA-256 of the whole output.
    pub(crate) sha256: String,
}

impl Finished {
    pub(crate) fn passed(&self) -> bool {
        self.status == Some(0)
    }
}

/// Runs `sh -c command` in `folder` for at most `limit`.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn shell(
    command: &str,
    folder: &Path,
    surroundings: &Surroundings,
    limit: Duration,
) -> io::Result<Finished> {
    let (reader, writer) = io::pipe()?;
    let mut reader = pipe::Receiver::from_owned_fd(reader.into())?;
    let mut child = {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).current_dir(folder).env_clear();
        shell.env("PATH", &surroundings.path).env("HOME", &surroundings.home);
        shell.env("LANG", "C.UTF-8").env("TERM", "dumb");
        shell.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        shell.process_group(0).kill_on_drop(true).spawn()?
        // `shell` holds our ends of the pipe: they close here, so that its end is the commands' end.
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut excerpt = Excerpt::new();
    let status = tokio::select! {
        status = wait(&mut child, &mut reader, &mut excerpt) => Some(status?),
        () = tokio::time::sleep(limit) => None,
    };
    if let Some(group) = group {
        // It is gone already when the command ended by itself and left nothing.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if status.is_none() {
        child.wait().await?;
    }
    kill_descendants().await;
    let _ = tokio::time::timeout(DRAIN, drain(&mut reader, &mut excerpt)).await;
    let (output, sha256) = excerpt.finish();
    let ending = match status {
        Some(status) => status.to_string(),
        None => format!("timed out after {} s and was killed", limit.as_secs()),
    };
    Ok(Finished { status: status.and_then(|it| it.code()), ending, output, sha256 })
}

/// Waits for the child's end while its output is read.
async fn wait(
    child: &mut tokio::process::Child,
    reader: &mut pipe::Receiver,
    excerpt: &mut Excerpt,
) -> io::Result<std::process::ExitStatus> {
    let mut buffer = vec![0; 16 * 1024];
    let mut open = true;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            read = reader.read(&mut buffer), if open => match read? {
                0 => open = false,
                count => excerpt.push(&buffer[..count]),
            },
        }
    }
}

async fn drain(reader: &mut pipe::Receiver, excerpt: &mut Excerpt) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match reader.read(&mut buffer).await? {
            0 => return Ok(()),
            count => excerpt.push(&buffer[..count]),
        }
    }
}

/// Kills every process that descends from this one, those in sessions of their own included, and waits for their end.
pub(crate) async fn kill_descendants() {
    for _ in 0..ROUNDS {
        let alive = descendants();
        if alive.is_empty() {
            return;
        }
        for process in alive {
            // A process may have ended meanwhile, and only our own children can be waited for.
            let _ = kill_process(process, Signal::KILL);
            let _ = waitpid(Some(process), WaitOptions::NOHANG);
        }
        tokio::time::sleep(ROUND).await;
    }
    tracing::warn!("some processes of commands could not be killed");
}

/// The living descendants of this process. None where there is no `/proc`.
fn descendants() -> Vec<Pid> {
    let all = processes();
    let mut family = vec![rustix::process::getpid().as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(all.iter().filter(|it| it.parent == parent).map(|it| it.id));
        next += 1;
    }
    let is_alive = |id: &i32| all.iter().any(|it| it.id == *id && it.state != 'Z');
    let is_zombie_child = |id: &i32| all.iter().any(|it| it.id == *id && it.state == 'Z' && it.parent == family[0]);
    for zombie in family[1..].iter().filter(|id| is_zombie_child(id)).filter_map(|id| Pid::from_raw(*id)) {
        let _ = waitpid(Some(zombie), WaitOptions::NOHANG);
    }
    family[1..].iter().filter(|id| is_alive(id)).filter_map(|id| Pid::from_raw(*id)).collect()
}

struct Process {
    id: i32,
    parent: i32,
    state: char,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may hold anything; what follows the last one has a fixed form.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let state = fields.next()?.chars().next()?;
            Some(Process { id, parent: fields.next()?.parse().ok()?, state })
        })
        .collect()
}

/// Commands of tests that share a process must not run at the same time, see [`kill_descendants`].
#[cfg(test)]
pub(crate) static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn run(command: &str, limit: Duration) -> Finished {
        let _alone = ONE_AT_A_TIME.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings { path: "/usr/bin:/bin".into(), home: folder.path().into() };
        shell(command, folder.path(), &surroundings, limit).await.unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn tells_status_and_both_outputs_in_order() {
        let finished = run("echo a; echo b >&2; echo c; exit 3", LONG).await;
        assert_eq!((finished.status, finished.output.as_str()), (Some(3), "a\nb\nc\n"));
        assert_eq!(finished.ending, "exit status: 3");
        assert_eq!(finished.sha256, crate::text::sha256(b"a\nb\nc\n"));
    }

    #[tokio::test]
    async fn the_environment_is_clean() {
        let finished = run("env | cut -d= -f1 | sort | tr '\\n' ' '", LONG).await;
        assert_eq!(finished.output.replace("_ ", "").replace("OLDPWD ", ""), "HOME LANG PATH PWD TERM ");
    }

    #[tokio::test]
    async fn output_is_bounded() {
        let finished = run("echo first; head -c 1000000 /dev/zero | tr '\\0' x; echo last", LONG).await;
        assert!(finished.output.len() < Excerpt::HEAD + Excerpt::TAIL + 100);
        assert!(finished.output.starts_with("first") && finished.output.ends_with("last\n"));
    }

    /// Whether any process has this text among its arguments.
    fn lives(text: &str) -> bool {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.any(|line| String::from_utf8_lossy(&line).contains(text))
    }

    #[tokio::test]
    async fn at_the_time_limit_everything_dies_even_in_its_own_session() {
        inherit();
        let started = Instant::now();
        let finished =
            run("setsid sh -c 'setsid sleep 98761 & sleep 98761' & sleep 98761", Duration::from_millis(300)).await;
        assert_eq!(finished.status, None);
        assert!(finished.ending.starts_with("timed out"));
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(!lives("98761"));
    }

    #[tokio::test]
    async fn what_a_command_leaves_behind_dies_with_it() {
        inherit();
        let finished = run("setsid sleep 98762 & echo done", LONG).await;
        assert_eq!((finished.status, finished.output.as_str()), (Some(0), "done\n"));
        assert!(!lives("98762"));
    }

    fn inherit() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    }
}
