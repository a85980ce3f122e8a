//! Control groups: limits on an environment as a whole, in version 2 or version 1 of the kernel's interface, where this
//! process may write it. Where it may not, resource limits of each process stand in; see `launch`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{debug, warn};
use uuid::Uuid;

use super::launch::Limits;

/// Longest wait for killed members to leave a group.
const LEAVES: Duration = Duration::from_secs(5);

/// Where groups can be made.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    /// Our folder of version 2, which holds a group of each environment.
    two: Option<PathBuf>,
    /// Our folders of version 1.
    one: Vec<(Controller, PathBuf)>,
}

/// A controller of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    const ALL: [(Self, &'static str); 3] = [(Self::Memory, "memory"), (Self::Pids, "pids"), (Self::Cpu, "cpu")];
}

/// One environment's group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    two: Option<PathBuf>,
    one: Vec<(Controller, PathBuf)>,
    cpu: bool,
}

impl Cgroups {
    /// Looks where this process may make groups. `holder` keeps the groups of two installations apart.
    pub(super) fn find(holder: Uuid) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let name = format!("agentworks-{}", holder.simple());
        let two = places(&own, &mounts, None).into_iter().find_map(|place| prepare_two(&place, &name));
        if two.is_some() {
            return Self { two, one: vec![] };
        }
        let mut one = vec![];
        for (controller, word) in Controller::ALL {
            let made = places(&own, &mounts, Some(word)).into_iter().map(|place| place.join(&name)).find(|folder| {
                make(folder).inspect_err(|error| debug!(%error, controller = word, "no cgroup")).is_ok()
            });
            one.extend(made.map(|folder| (controller, folder)));
        }
        Self { two, one }
    }

    /// What can be limited, in words.
    pub(super) fn words(&self) -> Vec<String> {
        if self.two.is_some() {
            return vec!["cgroup v2".to_owned()];
        }
        let names = Controller::ALL.iter().filter(|(controller, _)| self.one.iter().any(|(one, _)| one == controller));
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        if names.is_empty() { vec!["rlimits".to_owned()] } else { vec![format!("cgroup v1 ({})", names.join(", "))] }
    }

    /// A group with these limits; `None` where none can be made.
    pub(super) fn create(&self, name: &str, limits: &Limits) -> io::Result<Option<Group>> {
        let group = Group {
            two: self.two.as_ref().map(|folder| folder.join(name)),
            one: self.one.iter().map(|(controller, folder)| (*controller, folder.join(name))).collect(),
            cpu: false,
        };
        if group.folders().next().is_none() {
            return Ok(None);
        }
        for folder in group.folders() {
            fs::create_dir_all(folder)?;
        }
        group.limit(limits).map(Some)
    }

    /// The groups that are there.
    pub(super) fn existing(&self) -> Vec<Group> {
        let Some(first) = self.two.as_ref().or(self.one.first().map(|(_, folder)| folder)) else { return vec![] };
        let names = fs::read_dir(first).into_iter().flatten().flatten();
        let names =
            names.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.file_name());
        names
            .map(|name| Group {
                two: self.two.as_ref().map(|folder| folder.join(&name)),
                one: self.one.iter().map(|(controller, folder)| (*controller, folder.join(&name))).collect(),
                cpu: false,
            })
            .collect()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for folder in self.two.iter().chain(self.one.iter().map(|(_, folder)| folder)) {
            // Fails, as it should, while there are groups in it.
            let _in_use = fs::remove_dir(folder);
        }
    }
}

impl Group {
    fn limit(mut self, limits: &Limits) -> io::Result<Self> {
        let memory = (limits.memory_mib * 1024 * 1024).to_string();
        let processes = limits.processes.to_string();
        let quota = limits.cpus.map(|cpus| (u64::from(cpus) * 100_000).to_string());
        if let Some(folder) = &self.two {
            fs::write(folder.join("memory.max"), &memory)?;
            optional(&folder.join("memory.swap.max"), "0");
            optional(&folder.join("memory.oom.group"), "1");
            fs::write(folder.join("pids.max"), &processes)?;
            self.cpu = match quota {
                Some(quota) => optional(&folder.join("cpu.max"), &format!("{quota} 100000")),
                None => folder.join("cpu.max").exists(),
            };
            return Ok(self);
        }
        for (controller, folder) in &self.one {
            match controller {
                Controller::Memory => {
                    fs::write(folder.join("memory.limit_in_bytes"), &memory)?;
                    // Only there when swap is accounted for.
                    optional(&folder.join("memory.memsw.limit_in_bytes"), &memory);
                }
                Controller::Pids => fs::write(folder.join("pids.max"), &processes)?,
                Controller::Cpu => {
                    self.cpu = match &quota {
                        Some(quota) => optional(&folder.join("cpu.cfs_quota_us"), quota),
                        None => true,
                    };
                }
            }
        }
        Ok(self)
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.two.iter().chain(self.one.iter().map(|(_, folder)| folder))
    }

    /// What a process writes its id into to become a member.
    pub(super) fn member_files(&self) -> Vec<PathBuf> {
        self.folders().map(|folder| folder.join("cgroup.procs")).collect()
    }

    fn has(&self, controller: Controller) -> bool {
        self.two.is_some() || self.one.iter().any(|(one, _)| *one == controller)
    }

    /// Whether it bounds the memory of all its members together.
    pub(super) fn limits_memory(&self) -> bool {
        self.has(Controller::Memory)
    }

    /// Whether it bounds their number.
    pub(super) fn limits_processes(&self) -> bool {
        self.has(Controller::Pids)
    }

    /// Whether it bounds the processors that they use.
    pub(super) fn limits_cpu(&self) -> bool {
        self.cpu
    }

    /// For people.
    pub(super) fn version(&self) -> &'static str {
        if self.two.is_some() { "cgroup v2" } else { "cgroup v1" }
    }

    /// Whether the kernel killed a member for its memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let memory = self.one.iter().find(|(controller, _)| *controller == Controller::Memory);
        let file = match (&self.two, memory) {
            (Some(folder), _) => folder.join("memory.events"),
            (None, Some((_, folder))) => folder.join("memory.oom_control"),
            (None, None) => return false,
        };
        let counters = fs::read_to_string(file).unwrap_or_default();
        counters.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }

    /// Kills every member. Where the kernel cannot do it at once, one by one, until none is left that was not seen.
    pub(super) fn kill(&self) {
        if self.two.as_ref().is_some_and(|folder| optional(&folder.join("cgroup.kill"), "1")) {
            return;
        }
        for member in self.members() {
            if let Some(pid) = rustix::process::Pid::from_raw(member) {
                let _already_gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    fn members(&self) -> Vec<i32> {
        let Some(folder) = self.folders().next() else { return vec![] };
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Kills what is left in it and removes it. A group that does not empty stays, and is told of.
    pub(super) async fn remove(&self) {
        let deadline = tokio::time::Instant::now() + LEAVES;
        loop {
            self.kill();
            // Removing fails as long as there are members, so it is itself the question.
            let left: Vec<&PathBuf> =
                self.folders().filter(|folder| folder.exists() && fs::remove_dir(folder).is_err()).collect();
            if left.is_empty() {
                return;
            }
            if tokio::time::Instant::now() > deadline {
                warn!(?left, "a cgroup could not be removed");
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Where our own group is in the file system and may hold more groups: beside it, then below it. Beside comes first,
/// since in version 2 a group with members may not hand its controllers down. Version 1 when `controller` is given.
fn places(own: &str, mounts: &str, controller: Option<&str>) -> Vec<PathBuf> {
    let group = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let fits = match controller {
            None => names.is_empty(),
            Some(controller) => names.split(',').any(|name| name == controller),
        };
        fits.then_some(path)
    });
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let fits = match controller {
            None => kind == "cgroup2",
            Some(controller) => kind == "cgroup" && options.split(',').any(|option| option == controller),
        };
        fits.then_some((root, point))
    });
    let (Some(group), Some((root, point))) = (group, mount) else { return vec![] };
    // In a container the mount shows a part of the tree only, and our path may or may not be told from its root.
    let below = group.strip_prefix(root.trim_end_matches('/')).unwrap_or(group).trim_start_matches('/');
    let ours = Path::new(point).join(below);
    let ours = if ours.is_dir() { ours } else { PathBuf::from(point) };
    let beside = ours.parent().filter(|parent| parent.starts_with(point)).map(Path::to_owned);
    match controller {
        None => beside.into_iter().chain([ours]).collect(),
        Some(_) => vec![ours],
    }
}

/// Makes our folder of version 2 if the controllers that we need can be had in it.
fn prepare_two(place: &Path, name: &str) -> Option<PathBuf> {
    let available = fs::read_to_string(place.join("cgroup.controllers")).ok()?;
    let has = |text: &str, controller: &str| text.split_whitespace().any(|word| word == controller);
    if !["memory", "pids"].iter().all(|controller| has(&available, controller)) {
        return None;
    }
    for controller in ["memory", "pids", "cpu"] {
        optional(&place.join("cgroup.subtree_control"), &format!("+{controller}"));
    }
    let folder = place.join(name);
    make(&folder).ok()?;
    for controller in ["memory", "pids", "cpu"] {
        optional(&folder.join("cgroup.subtree_control"), &format!("+{controller}"));
    }
    let handed_down = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
    if has(&handed_down, "memory") && has(&handed_down, "pids") {
        return Some(folder);
    }
    let _stays = fs::remove_dir(&folder);
    None
}

/// Makes our folder, and makes sure that groups can be made in it: it may be there already and be another user's.
fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let trial = folder.join(format!("trial-{}", std::process::id()));
    fs::create_dir(&trial)?;
    fs::remove_dir(&trial)
}

/// Writes a file that may be missing or may refuse; whether it took it.
fn optional(file: &Path, text: &str) -> bool {
    fs::write(file, text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_group_is_read_from_the_kernels_files() {
        let own = "4:memory:/\n1:cpu,cpuacct:/\n0::/\n";
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      35 31 0:32 / /proc rw,relatime - cgroup cgroup rw,memory\n\
                      32 31 0:29 / /sys rw,relatime - cgroup cgroup rw,cpu,cpuacct\n";
        assert_eq!(places(own, mounts, Some("memory")), [PathBuf::from("/proc")]);
        assert_eq!(places(own, mounts, Some("cpu")), [PathBuf::from("/sys")]);
        assert!(places(own, mounts, Some("pids")).is_empty());
        assert!(places(own, mounts, None).is_empty(), "no version 2 is mounted");
    }
}
