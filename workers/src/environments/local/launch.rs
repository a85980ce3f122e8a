//! The command line that starts a pod: a chain of programs in which each sets one thing and becomes the next, so that
//! all of it is one process, the one that we watch and kill.
//!
//! join the cgroup → (root: make the folders reachable in a mount namespace, give up root) → set resource limits →
//! bubblewrap → the pod.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use domain::EnvironmentId;

use super::cgroup::Group;
use super::{Folders, LocalDriver, sandbox};
use crate::environments::Confinement;
use crate::settings::ConfinementMode;

/// Where the chain's programs are. Our own environment, with what secrets it may hold, is not handed on.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// Tells in the environment of the chain (not of a sandboxed pod) whose it is; see `orphans`.
pub(super) const MARK: &str = "AGENTWORKS_ENVIRONMENT";

/// Writes its own process id into each of the `$1` files that follow, then becomes what follows them.
const JOIN: &str = r#"n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1"; shift; n=$((n-1)); done; exec "$@""#;

/// Makes each of the `$1` paths that follow appear as `/mnt/0`, `/mnt/1` …, then becomes what follows them. For a user
/// that could not walk to them: only the last folder's own permissions count there.
const EXPOSE: &str = r#"mount -t tmpfs -o mode=755,size=1m tmpfs /mnt; n=$1; shift; i=0
while [ "$i" -lt "$n" ]; do
  if [ -d "$1" ]; then mkdir "/mnt/$i"; else : > "/mnt/$i"; fi
  mount --bind "$1" "/mnt/$i"; shift; i=$((i+1))
done; exec "$@""#;

/// User ids without rights that a sandbox gets when root starts it: above those that distributions give out, and below
/// what a container without further ids of its own has.
const SPARE_USERS: std::ops::Range<u32> = 60_600..61_100;

/// Bytes that one file may have.
const FILE_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// What an environment may use up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Memory, in MiB.
    pub(super) memory_mib: u64,
    /// Processes.
    pub(super) processes: u32,
    /// Processor time of one process, in seconds, where there is no better limit.
    pub(super) cpu_seconds: u32,
    /// Processors.
    pub(super) cpus: Option<u32>,
}

/// Everything about one start.
pub(super) struct Launch<'a> {
    driver: &'a LocalDriver,
    group: Option<&'a Group>,
    limits: Limits,
    folder: PathBuf,
    places: Places,
    /// The workspace as the pod sees it.
    pub(super) workspace: String,
    /// Who the pod is outside of the sandbox, when not we ourselves.
    pub(super) user: Option<u32>,
    /// What confines the pod.
    pub(super) confinement: Confinement,
}

/// Where bubblewrap finds what it binds.
pub(super) struct Places {
    /// The environment's folders.
    pub(super) folders: Folders,
    /// The pod's executable.
    pub(super) pod: PathBuf,
    /// The operator's further paths: what is bound, and where it appears.
    pub(super) read_only: Vec<(PathBuf, PathBuf)>,
    /// What [`EXPOSE`] is to show as `/mnt/0`, `/mnt/1` …
    exposed: Vec<PathBuf>,
}

impl<'a> Launch<'a> {
    /// A start in these folders.
    pub(super) fn new(
        driver: &'a LocalDriver,
        environment: EnvironmentId,
        folders: &Folders,
        limits: Limits,
        group: Option<&'a Group>,
    ) -> Self {
        let confined = driver.mode == ConfinementMode::Required;
        let user = (confined && rustix::process::geteuid().is_root()).then(|| spare_user(environment));
        let mut confinement = sandbox::words(driver.mode);
        confinement.extend(limit_words(&limits, group, confined));
        let real = folders.workspace().display().to_string();
        let workspace = if confined { sandbox::WORKSPACE.to_owned() } else { real };
        let places = Places::new(driver, folders, user.is_some());
        Self { driver, group, limits, folder: folders.all.clone(), places, workspace, user, confinement }
    }

    /// The command that starts the pod.
    pub(super) fn command(&self) -> Command {
        self.command_of(&[if self.driver.mode == ConfinementMode::Required {
            OsString::from(sandbox::POD)
        } else {
            self.driver.pod.clone().into()
        }])
    }

    /// The command that starts `payload` where the pod would be.
    pub(super) fn command_of(&self, payload: &[OsString]) -> Command {
        let mut chain = Chain::default();
        self.join(&mut chain);
        if self.driver.mode == ConfinementMode::Required {
            self.give_up_root(&mut chain);
            self.limit(&mut chain);
            chain.add(["bwrap"]).add(sandbox::arguments(self.driver, &self.places));
            // Counted in the sandbox's own user namespace, so that it does not count the user's other processes.
            if !self.group.is_some_and(|group| group.limits_processes()) {
                chain.add(["prlimit".to_owned(), format!("--nproc={}", self.limits.processes), "--".to_owned()]);
            }
        } else {
            self.limit(&mut chain);
            chain.add(["setpriv", "--pdeathsig", "KILL", "--"]);
        }
        let mut command = chain.add(payload).command();
        command.env_clear().env("PATH", PATH).env(MARK, &self.folder).current_dir("/").process_group(0);
        if self.driver.mode == ConfinementMode::None {
            let folders = &self.places.folders;
            command.current_dir(folders.workspace()).env("HOME", folders.home()).env("TMPDIR", folders.tmp());
        }
        command
    }

    fn join(&self, chain: &mut Chain) {
        let files = self.group.map(Group::member_files).unwrap_or_default();
        if !files.is_empty() {
            chain.add(["/bin/sh", "-euc", JOIN, "sh"]).add([files.len().to_string()]).add(files);
        }
    }

    fn give_up_root(&self, chain: &mut Chain) {
        let Some(user) = self.user else { return };
        let sources = &self.places.exposed;
        chain.add(["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-euc", EXPOSE, "sh"]);
        chain.add([sources.len().to_string()]).add(sources);
        chain.add(["setpriv".to_owned(), format!("--reuid={user}"), format!("--regid={user}")]);
        chain.add(["--clear-groups", "--no-new-privs", "--"]);
    }

    fn limit(&self, chain: &mut Chain) {
        chain.add(["prlimit".to_owned(), "--core=0".to_owned(), format!("--fsize={FILE_BYTES}")]);
        if !self.group.is_some_and(|group| group.limits_memory()) {
            // Not the address space, of which many language runtimes reserve far more than they use.
            chain.add([format!("--data={}", self.limits.memory_mib * 1024 * 1024)]);
        }
        if !self.group.is_some_and(|group| group.limits_cpu()) {
            chain.add([format!("--cpu={}", self.limits.cpu_seconds)]);
        }
        chain.add(["--"]);
    }
}

impl Places {
    fn new(driver: &LocalDriver, folders: &Folders, exposed: bool) -> Self {
        if !exposed {
            let read_only = driver.read_only.iter().map(|path| (path.clone(), path.clone())).collect();
            return Self { folders: folders.clone(), pod: driver.pod.clone(), read_only, exposed: vec![] };
        }
        let mount = |number: usize| Path::new("/mnt").join(number.to_string());
        let read_only = driver.read_only.iter().enumerate().map(|(i, path)| (mount(i + 2), path.clone())).collect();
        let exposed = [folders.all.clone(), driver.pod.clone()].into_iter().chain(driver.read_only.clone()).collect();
        Self { folders: Folders { all: mount(0) }, pod: mount(1), read_only, exposed }
    }
}

fn spare_user(environment: EnvironmentId) -> u32 {
    let span = u128::from(SPARE_USERS.end - SPARE_USERS.start);
    // The random end of the id spreads them; two that meet share a user id, but no namespace.
    SPARE_USERS.start + u32::try_from(environment.uuid().as_u128() % span).unwrap_or(0)
}

fn limit_words(limits: &Limits, group: Option<&Group>, confined: bool) -> Confinement {
    let by = |has: fn(&Group) -> bool| group.filter(|group| has(group)).map(Group::version);
    let mut words = vec![match by(Group::limits_memory) {
        Some(version) => format!("memory {} MiB ({version})", limits.memory_mib),
        None => format!("memory {} MiB of each process (rlimit)", limits.memory_mib),
    }];
    match by(Group::limits_processes) {
        Some(version) => words.push(format!("{} processes ({version})", limits.processes)),
        None if confined => words.push(format!("{} processes (rlimit)", limits.processes)),
        None => {}
    }
    match (by(Group::limits_cpu), limits.cpus) {
        (Some(version), Some(cpus)) => words.push(format!("{cpus} processors ({version})")),
        (Some(_), None) => {}
        (None, _) => words.push(format!("{} s of processor time of each process (rlimit)", limits.cpu_seconds)),
    }
    words
}

/// A command line in the making.
#[derive(Default)]
struct Chain(Vec<OsString>);

impl Chain {
    fn add<S: AsRef<OsStr>>(&mut self, words: impl IntoIterator<Item = S>) -> &mut Self {
        self.0.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    fn command(&self) -> Command {
        let mut words = self.0.iter();
        let mut command = Command::new(words.next().map_or(OsStr::new("false"), OsString::as_os_str));
        command.args(words);
        command
    }
}
