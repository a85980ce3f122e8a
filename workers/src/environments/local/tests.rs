//! Against the real kernel and the real bubblewrap. The pod is a shell script.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use super::*;

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    folder: TempDir,
    settings: WorkerSettings,
}

impl Bench {
    fn new(pod: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = settings(folder.path());
        fs::write(&settings.pod_executable, format!("#!/bin/sh\n{pod}\n")).unwrap();
        fs::set_permissions(&settings.pod_executable, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, settings }
    }

    async fn driver(&self) -> LocalDriver {
        let driver = LocalDriver::new(&self.settings);
        driver.probe().await.unwrap();
        driver
    }

    /// Runs the pod to its end: how it ended, and all it said.
    async fn run(&self, driver: &LocalDriver, spec: Spec) -> (Exit, String) {
        let mut handle = driver.start(spec).await.unwrap();
        let exit = tokio::time::timeout(PATIENCE, handle.exited()).await.expect("the pod ends");
        let log = handle.log_tail();
        handle.stop().await.unwrap();
        assert_eq!(fs::read_dir(self.settings.data_dir.join("environments")).unwrap().count(), 0, "all is removed");
        (exit, log)
    }
}

fn settings(folder: &Path) -> WorkerSettings {
    WorkerSettings {
        data_dir: folder.join("data"),
        holder: ids::fresh(),
        max_concurrent_runs: 1,
        max_runs_per_tenant: 1,
        lease: Duration::from_secs(15),
        dispatch_timeout: Duration::from_secs(60),
        start_timeout: Duration::from_secs(60),
        drain: Duration::from_secs(1),
        control_plane: "http://127.0.0.1:1".into(),
        confinement: ConfinementMode::Required,
        read_only_paths: vec![],
        pod_executable: folder.join("pod"),
        memory_mib: 1024,
        cpus: None,
        otlp_endpoint: None,
    }
}

fn spec() -> Spec {
    Spec {
        environment: EnvironmentId::from_uuid(ids::fresh()),
        control_plane: "http://127.0.0.1:1".into(),
        token: "the-token".to_owned().into(),
        traceparent: None,
        traces: false,
        memory_mib: 512,
        max_processes: 64,
        cpu_seconds: 60,
    }
}

use crate::ids;

/// Waits until it is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in vain: {what}");
}

/// Processes of this machine that have this word in their command line.
fn processes_with(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // The sandbox's own first process shows bubblewrap's arguments, which hold no word of ours.
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    });
    processes.count()
}

#[tokio::test]
async fn only_the_workspace_can_be_written_and_the_machine_is_not_to_be_seen() {
    let mut bench = Bench::new(
        r#"try() { if ( eval "$2" ) 2>/dev/null; then echo "$1 yes"; else echo "$1 no"; fi; }
read -r boot
try workspace 'echo x > /workspace/file && test "$(pwd)" = /workspace'
try home 'echo x > "$HOME/file"'
try tmp 'echo x > /tmp/file'
try usr 'echo x > /usr/file'
try etc 'echo x > /etc/file'
try root 'echo x > /file'
try run 'echo x > /run/file'
try sysctl 'cat /proc/sys/kernel/core_pattern > /tmp/core && cat /tmp/core > /proc/sys/kernel/core_pattern'
try pod 'echo x >> /opt/agentworks/agentworks-pod'
try namespaces 'unshare --user --map-root-user true'
try mount 'mount -t tmpfs tmpfs /tmp'
try host-file "test -e FOLDER"
try extra-read 'test "$(cat FOLDER/extra/file)" = extra'
try extra-write 'echo x > FOLDER/extra/file'
try shadow 'test -e /etc/shadow'
try user 'test "$(id -un)" = agent'
try hostname 'test "$(cat /proc/sys/kernel/hostname)" = agentworks'
try alone 'test "$(ls /proc | grep -c "^[0-9]")" -lt 10'
try boot 'echo "$boot" | grep -q "\"token\":\"the-token\".*\"workspace\":\"/workspace\""'
try environment 'env | grep -q -e AGENTWORKS -e the-token'
try path 'echo "$PATH" | grep -q FOLDER/extra/bin'
exit 7"#,
    );
    let folder = bench.folder.path().display().to_string();
    let pod = fs::read_to_string(&bench.settings.pod_executable).unwrap();
    fs::write(
        &bench.settings.pod_executable,
        pod.replace("test -e FOLDER", "test -e FOLDER/data").replace("FOLDER", &folder),
    )
    .unwrap();
    fs::create_dir_all(bench.folder.path().join("extra/bin")).unwrap();
    fs::write(bench.folder.path().join("extra/file"), "extra").unwrap();
    bench.settings.read_only_paths.push(bench.folder.path().join("extra"));
    let driver = bench.driver().await;
    let (exit, log) = bench.run(&driver, spec()).await;
    let can: Vec<&str> = log.lines().filter_map(|line| line.strip_suffix(" yes")).collect();
    let cannot: Vec<&str> = log.lines().filter_map(|line| line.strip_suffix(" no")).collect();
    let wanted = ["workspace", "home", "tmp", "extra-read", "user", "hostname", "alone", "boot", "path"];
    assert_eq!(can, wanted, "{log}");
    let wanted = [
        "usr",
        "etc",
        "root",
        "run",
        "sysctl",
        "pod",
        "namespaces",
        "mount",
        "host-file",
        "extra-write",
        "shadow",
        "environment",
    ];
    assert_eq!(cannot, wanted, "{log}");
    assert_eq!((exit.success, exit.reason.as_str()), (false, "the pod ended with exit code 7"));
}

#[tokio::test]
async fn everything_is_killed_however_it_detached_itself() {
    let word = format!("8{}", ids::fresh().as_u128() % 100_000_000);
    let bench = Bench::new(&format!(
        "setsid sleep {word} &\n(setsid sh -c 'exec setsid sleep {word}' &)\nnohup sleep {word} >/dev/null 2>&1 &\nsleep {word}"
    ));
    let driver = bench.driver().await;
    let handle = driver.start(spec()).await.unwrap();
    assert!(handle.confinement().iter().any(|word| word.contains("namespaces")), "{:?}", handle.confinement());
    until("all are running", || processes_with(&word) == 4).await;
    handle.stop().await.unwrap();
    assert_eq!(processes_with(&word), 0);
    assert_eq!(fs::read_dir(bench.settings.data_dir.join("environments")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_pod_left_running_ends_with_it() {
    let word = format!("9{}", ids::fresh().as_u128() % 100_000_000);
    let bench = Bench::new(&format!("setsid sleep {word} >/dev/null 2>&1 &\nexit 0"));
    let driver = bench.driver().await;
    let (exit, _) = bench.run(&driver, spec()).await;
    assert!(exit.success);
    assert_eq!(processes_with(&word), 0);
}

#[tokio::test]
async fn limits_bite_with_and_without_cgroups() {
    // The shell that tells forks once, before there are many: it must not be the one that is refused.
    let processes = Bench::new(
        r#"( for i in 1 2 3 4 5 6 7 8; do for j in 1 2 3 4 5; do sleep 30 & done; done; wait ) 2> refused
while read -r line; do case $line in *[Ff]ork*|*esource*) echo 'processes limited';; esac; done < refused"#,
    );
    let memory = Bench::new(r#"head -c 300000000 /dev/zero | tail > /dev/null; echo "memory: $?""#);
    for cgroups in [true, false] {
        for (bench, within) in [(&processes, "processes limited"), (&memory, "memory: ")] {
            let mut driver = bench.driver().await;
            if !cgroups {
                driver.cgroups = Cgroups::default();
            }
            let (_, log) = bench.run(&driver, Spec { memory_mib: 96, max_processes: 24, ..spec() }).await;
            assert!(log.contains(within) && !log.contains("memory: 0"), "with cgroups {cgroups}: {log}");
            assert!(driver.cgroups.existing().is_empty(), "groups are removed");
        }
    }
}

#[tokio::test]
async fn memory_that_ran_out_is_named_as_the_reason() {
    let bench = Bench::new("exec tail /dev/zero");
    let driver = bench.driver().await;
    if driver.cgroups.words() == ["rlimits"] {
        eprintln!("not tried: no cgroup can be written here");
        return;
    }
    let (exit, _) = bench.run(&driver, Spec { memory_mib: 64, ..spec() }).await;
    assert_eq!(exit.reason, "the pod was killed by signal 9 after it used up its memory (64 MiB)");
}

#[tokio::test]
async fn the_end_of_the_output_is_kept() {
    let bench = Bench::new("i=0; while [ $i -lt 5000 ]; do echo \"line $i\"; i=$((i+1)); done; echo oops >&2; exit 3");
    let driver = bench.driver().await;
    let (_, log) = bench.run(&driver, spec()).await;
    assert!(log.len() <= 16 * 1024 && log.starts_with("line ") && log.ends_with("line 4999\noops\n"), "{log}");
}

#[tokio::test]
async fn read_only_folders_of_the_agent_are_removed_too() {
    let bench = Bench::new("mkdir -p a/b && touch a/b/c && chmod 0555 a/b a && ln -s / link");
    let driver = bench.driver().await;
    assert!(bench.run(&driver, spec()).await.0.success);
}

#[tokio::test]
async fn what_the_operator_named_wrongly_is_said() {
    let mut bench = Bench::new("");
    bench.settings.read_only_paths.push("/does/not/exist".into());
    let problem = LocalDriver::new(&bench.settings).probe().await.unwrap_err().to_string();
    assert!(problem.contains("read_only_paths") && problem.contains("/does/not/exist"), "{problem}");
    let mut bench = Bench::new("");
    bench.settings.pod_executable = "/does/not/exist".into();
    let problem = LocalDriver::new(&bench.settings).probe().await.unwrap_err().to_string();
    assert!(problem.contains("pod_executable"), "{problem}");
}

#[tokio::test]
async fn an_unconfined_pod_says_so_and_is_killed_with_its_group() {
    let word = format!("7{}", ids::fresh().as_u128() % 100_000_000);
    let mut bench = Bench::new(&format!("pwd\nsleep {word} &\nsleep {word}"));
    bench.settings.confinement = ConfinementMode::None;
    let driver = bench.driver().await;
    let handle = driver.start(spec()).await.unwrap();
    assert_eq!(handle.confinement()[0], "none");
    until("both are running", || processes_with(&word) == 2).await;
    until("it has written", || handle.log_tail().contains("/workspace")).await;
    handle.stop().await.unwrap();
    assert_eq!(processes_with(&word), 0);
}

/// Not a test: a process that starts a sandbox and waits to be killed. See below.
#[tokio::test]
#[ignore = "started by other tests"]
#[expect(clippy::disallowed_methods, reason = "how a test tells its helper where to work")]
async fn helper_that_starts_a_sandbox() {
    let Some(folder) = std::env::var_os("SANDBOX_HELPER") else { return };
    let folder = Path::new(&folder);
    let settings = WorkerSettings { holder: Uuid::from_u128(7), ..settings(folder) };
    let driver = LocalDriver::new(&settings);
    driver.probe().await.unwrap();
    let mut handle = driver.start(spec()).await.unwrap();
    fs::write(folder.join("started"), handle.confinement().join("\n")).unwrap();
    let exit = handle.exited().await;
    fs::write(folder.join("ended"), exit.reason).unwrap();
    handle.stop().await.unwrap();
}

fn helper(wrapper: &[&str], folder: &Path) -> std::process::Child {
    let test = "environments::local::tests::helper_that_starts_a_sandbox";
    let this = std::env::current_exe().unwrap();
    let words = wrapper.iter().map(|word| (*word).to_owned()).chain([this.display().to_string()]);
    let words: Vec<String> = words.collect();
    Command::new(&words[0])
        .args(&words[1..])
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env("SANDBOX_HELPER", folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_killed_parent_leaves_nothing_and_its_next_life_cleans_up() {
    let word = format!("6{}", ids::fresh().as_u128() % 100_000_000);
    let bench = Bench::new(&format!("setsid sleep {word} &\nsleep {word}"));
    let folder = bench.folder.path().to_owned();
    let mut parent = helper(&[], &folder);
    until("the sandbox runs", || processes_with(&word) == 2 && folder.join("started").exists()).await;
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("nothing is left running", || processes_with(&word) == 0).await;
    let settings = WorkerSettings { holder: Uuid::from_u128(7), ..bench.settings };
    let driver = LocalDriver::new(&settings);
    assert_eq!(driver.remove_orphans().await.unwrap(), 1);
    assert_eq!(fs::read_dir(settings.data_dir.join("environments")).unwrap().count(), 0);
    assert!(driver.cgroups.existing().is_empty());
}

#[tokio::test]
async fn a_process_that_did_outlive_its_parent_is_found_and_killed() {
    let word = format!("5{}", ids::fresh().as_u128() % 100_000_000);
    let bench = Bench::new("");
    let root = bench.settings.data_dir.join("environments");
    fs::create_dir_all(root.join("env_x/workspace")).unwrap();
    let mut orphan = Command::new("sleep").arg(&word).env(launch::MARK, root.join("env_x")).spawn().unwrap();
    until("it runs", || processes_with(&word) == 1).await;
    let driver = LocalDriver::new(&bench.settings);
    assert_eq!(driver.remove_orphans().await.unwrap(), 1);
    assert!(!orphan.wait().unwrap().success());
    assert_eq!(processes_with(&word), 0);
}

#[tokio::test]
async fn an_ordinary_user_can_do_it_as_well() {
    if !rustix::process::geteuid().is_root() {
        return; // Then all tests here are the proof.
    }
    let bench = Bench::new("id -u; touch /usr/x || touch /workspace/x && exit 5");
    let folder = bench.folder.path().to_owned();
    // A copy, since the test's own folder may be closed to others.
    let this = folder.join("test");
    fs::copy(std::env::current_exe().unwrap(), &this).unwrap();
    fs::set_permissions(&this, fs::Permissions::from_mode(0o755)).unwrap();
    for path in [&folder, &bench.settings.pod_executable] {
        chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    let mut user = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&this)
        .args(["environments::local::tests::helper_that_starts_a_sandbox", "--exact", "--ignored", "--nocapture"])
        .env("SANDBOX_HELPER", &folder)
        .env("TMPDIR", &folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(user.wait().unwrap().success());
    assert_eq!(fs::read_to_string(folder.join("ended")).unwrap(), "the pod ended with exit code 5");
    let confinement = fs::read_to_string(folder.join("started")).unwrap();
    assert!(!confinement.contains("unprivileged user"), "{confinement}");
}
