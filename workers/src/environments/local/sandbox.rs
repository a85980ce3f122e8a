//! What the sandbox looks like from inside, and whether this machine can make it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use domain::EnvironmentId;

use super::launch::{Launch, Limits, Places};
use super::{LocalDriver, make_folders, remove_tree, silent, spawner};
use crate::environments::{Confinement, DriverError};
use crate::ids;
use crate::settings::ConfinementMode;

/// The workspace inside.
pub(super) const WORKSPACE: &str = "/workspace";
/// The pod's executable inside.
pub(super) const POD: &str = "/opt/agentworks/agentworks-pod";
const HOME: &str = "/home/agent";
/// The user inside, which is nobody in particular outside.
const USER: &str = "1000";

/// Folders of the system; where they are symbolic links, they are the same links inside.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"];
/// What programs look up in `/etc`, and nothing that is this machine's own business.
const ETC: [&str; 20] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "gai.conf",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl",
    "terminfo",
    "timezone",
];

/// What a sandbox is made of, in words.
pub(super) fn words(mode: ConfinementMode) -> Confinement {
    match mode {
        ConfinementMode::None => vec!["none".to_owned()],
        ConfinementMode::Required => {
            let mut words = vec!["bubblewrap: user, mount, pid, ipc, uts, cgroup namespaces".to_owned()];
            words.extend(["no capabilities", "read-only system", "shared network"].map(str::to_owned));
            if rustix::process::geteuid().is_root() {
                words.push("unprivileged user".to_owned());
            }
            words
        }
    }
}

/// Bubblewrap's arguments, up to the command that runs inside.
pub(super) fn arguments(driver: &LocalDriver, places: &Places) -> Vec<OsString> {
    let mut arguments = Arguments::default();
    arguments.add(&["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
    if driver.can_disable_userns() {
        arguments.add(&["--disable-userns"]);
    }
    arguments.add(&["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]);
    arguments.add(&["--uid", USER, "--gid", USER, "--hostname", "agentworks"]);
    for folder in SYSTEM {
        arguments.system(Path::new(folder));
    }
    for name in ETC {
        let path = Path::new("/etc").join(name);
        // `resolv.conf` is often a link to where nothing is inside.
        if let Ok(real) = fs::canonicalize(&path) {
            arguments.bind("--ro-bind-try", &real, &path);
        }
    }
    let folders = &places.folders;
    for name in ["passwd", "group"] {
        arguments.bind("--ro-bind", &folders.etc().join(name), &Path::new("/etc").join(name));
    }
    arguments.add(&["--proc", "/proc", "--dev", "/dev", "--dir", "/run"]);
    arguments.bind("--bind", &folders.tmp(), Path::new("/tmp"));
    arguments.bind("--bind", &folders.home(), Path::new(HOME));
    arguments.bind("--bind", &folders.workspace(), Path::new(WORKSPACE));
    for (source, path) in &places.read_only {
        arguments.bind("--ro-bind", source, path);
    }
    arguments.bind("--ro-bind", &places.pod, Path::new(POD));
    arguments.add(&["--remount-ro", "/", "--chdir", WORKSPACE]);
    for (name, value) in
        [("HOME", HOME), ("USER", "agent"), ("LOGNAME", "agent"), ("LANG", "C.UTF-8"), ("TERM", "dumb")]
    {
        arguments.add(&["--setenv", name, value]);
    }
    arguments.add(&["--setenv", "PATH"]).0.push(path_inside(driver));
    arguments.0
}

fn path_inside(driver: &LocalDriver) -> OsString {
    let mut path = OsString::from("/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    for folder in &driver.read_only {
        let bin = if folder.ends_with("bin") { folder.clone() } else { folder.join("bin") };
        if bin.is_dir() {
            path.push(":");
            path.push(bin);
        }
    }
    path
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, words: &[&str]) -> &mut Self {
        self.0.extend(words.iter().map(OsString::from));
        self
    }

    fn bind(&mut self, how: &str, source: &Path, inside: &Path) {
        self.0.extend([OsString::from(how), source.into(), inside.into()]);
    }

    fn system(&mut self, folder: &Path) {
        match fs::read_link(folder) {
            Ok(target) => self.bind("--symlink", &target, folder),
            Err(_) if folder.is_dir() => self.bind("--ro-bind", folder, folder),
            Err(_) => {}
        }
    }
}

/// The accounts that exist inside.
pub(super) fn write_accounts(etc: &Path) -> io::Result<()> {
    let nobody = "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
    let agent = format!("agent:x:{USER}:{USER}:agent:{HOME}:/bin/sh\n");
    fs::write(etc.join("passwd"), format!("root:x:0:0:root:/:/usr/sbin/nologin\n{agent}{nobody}"))?;
    fs::write(etc.join("group"), format!("root:x:0:\nagent:x:{USER}:\nnogroup:x:65534:\n"))
}

/// Makes a sandbox and runs a program in it that does nothing.
pub(super) async fn probe(driver: &LocalDriver) -> Result<(), DriverError> {
    let help = output(Command::new("bwrap").arg("--help")).await.map_err(|error| missing(&error))?;
    driver.set_can_disable_userns(help.contains("--disable-userns"));
    let environment = EnvironmentId::from_uuid(ids::fresh());
    let folders = driver.folders(environment);
    let limits = Limits { memory_mib: 64, processes: 64, cpu_seconds: 10, cpus: None };
    let launch = Launch::new(driver, environment, &folders, limits, None);
    let tried = match make_folders(&folders, launch.user) {
        Ok(()) => output(&mut launch.command_of(&["true".into()])).await,
        Err(error) => Err(error),
    };
    remove_tree(folders.all).await.map_err(DriverError::io("removed"))?;
    tried.map(drop).map_err(|error| cannot(&error))
}

/// What a program writes to its standard output; as an error what it writes about its failure.
async fn output(command: &mut Command) -> io::Result<String> {
    silent(command).stdout(std::process::Stdio::piped());
    let command = std::mem::replace(command, Command::new("true"));
    let child = spawner::spawn(command).await?;
    let done = tokio::task::spawn_blocking(move || child.wait_with_output()).await.map_err(io::Error::other)??;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned()))
}

fn missing(error: &io::Error) -> DriverError {
    DriverError::CannotConfine {
        lacks: format!("the program `bwrap` does not run ({error})"),
        remedy: with_way_out("Install bubblewrap: `apt-get install bubblewrap`, or `dnf install bubblewrap`."),
    }
}

fn cannot(error: &io::Error) -> DriverError {
    let knob = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    let remedy = if knob("/proc/sys/user/max_user_namespaces", "0") {
        "The kernel allows no user namespaces: `sysctl -w user.max_user_namespaces=15000`."
    } else if knob("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "The kernel allows user namespaces to root only: `sysctl -w kernel.unprivileged_userns_clone=1`."
    } else if knob("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor keeps bubblewrap from user namespaces: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, \
         or give `bwrap` an AppArmor profile that allows `userns`."
    } else if rustix::process::geteuid().is_root() {
        "Root may make no namespaces here, as in a container without CAP_SYS_ADMIN: start AgentWorks as an ordinary \
         user, or give the container the capability and a seccomp profile that allows it."
    } else {
        "User, mount and PID namespaces must be allowed: in a container, use a seccomp profile that allows `unshare`, \
         `mount` and `pivot_root`."
    };
    DriverError::CannotConfine { lacks: format!("a sandbox cannot be made ({error})"), remedy: with_way_out(remedy) }
}

fn with_way_out(remedy: &str) -> String {
    format!(
        "{remedy} To run agents without any confinement, at your own risk, set environments.local.confinement to \
         `none-i-accept-the-risk`."
    )
}
