//! Whole runs: queue, sandbox, gateway, a real repository. The pod is a Python script in a real sandbox.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use domain::environment::Environment;
use domain::project::ExecutionPolicy;
use domain::run::{Ending, FailureKind, Run, RunCommand, RunEvent, Task};
use domain::{EnvironmentId, PersonalText, RunId};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ids;
use crate::settings::{ConfinementMode, WorkerSettings};
use crate::testing::git_host::{GitHost, TOKEN};
use crate::testing::{World, id, until};
use crate::workers::{Dependencies, Workers, WorkersError};

/// Reads its boot line, and can ask the control plane.
const PREAMBLE: &str = r#"#!/usr/bin/python3
import json, os, subprocess, sys, time, urllib.request
boot = json.loads(sys.stdin.readline())
def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer " + boot["token"], "Content-Type": "application/json"}
    request = urllib.request.Request(boot["control_plane"] + path, data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
        return json.loads(text) if text else None
def git(*arguments):
    header = "http.extraHeader=Authorization: Bearer " + boot["token"]
    who = ["-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "safe.directory=*"]
    return subprocess.run(["git", "-c", header, *who, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
"#;
const WORKS: &str = r#"
job = ask("GET", "/pod/v1/job")
git("clone", "-q", boot["control_plane"] + "/pod/v1/git/repository.git", "/workspace/clone")
os.chdir("/workspace/clone")
base = git("rev-parse", "HEAD")
open("done", "w").write(job["title"])
git("add", ".")
git("commit", "-q", "-m", job["title"])
git("push", "-q", "origin", "HEAD:refs/heads/" + job["branch"])
head = git("rev-parse", "HEAD")
ask("POST", "/pod/v1/result", {"result": "succeeded", "branch": job["branch"], "base_commit": base, "work_commit": head,
    "head_commit": head, "summary": "done", "files_changed": ["done"], "context_path": "c", "context_sha256": "0" * 64,
    "pushed_by_attempt": job["attempt"]})
"#;
const HANGS: &str = "\nask('GET', '/pod/v1/job')\nprint('working', flush=True)\ntime.sleep(1000)\n";

/// Workers before a world of their own.
struct Bench {
    world: World,
    host: GitHost,
    folder: TempDir,
    settings: WorkerSettings,
}

/// Workers at work.
struct AtWork {
    stop: CancellationToken,
    work: JoinHandle<Result<(), WorkersError>>,
}

impl AtWork {
    async fn stop(self) {
        self.stop.cancel();
        self.work.await.unwrap().unwrap();
    }
}

impl Bench {
    async fn new(pod: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = WorkerSettings {
            data_dir: folder.path().join("data"),
            holder: ids::fresh(),
            max_concurrent_runs: 2,
            max_runs_per_tenant: 2,
            lease: Duration::from_secs(15),
            dispatch_timeout: Duration::from_secs(60),
            start_timeout: Duration::from_secs(20),
            drain: Duration::from_millis(100),
            control_plane: String::new(),
            confinement: ConfinementMode::Required,
            read_only_paths: vec![],
            pod_executable: folder.path().join("pod"),
            memory_mib: 512,
            cpus: None,
            otlp_endpoint: None,
        };
        let bench = Self { world: World::new().await, host: GitHost::start().await, folder, settings };
        bench.pod(pod);
        bench
    }

    fn pod(&self, script: &str) {
        let path = &self.settings.pod_executable;
        fs::write(path, format!("{PREAMBLE}{script}")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn start(&self) -> AtWork {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control_plane = format!("http://{}", listener.local_addr().unwrap());
        let world = &self.world;
        let dependencies = Dependencies {
            log: world.log.clone(),
            bus: None,
            dispatcher: world.dispatcher.clone(),
            vault: world.vault.clone(),
            signing_key: world.key.clone(),
            verifier: world.verifier(),
        };
        let settings = WorkerSettings { control_plane, ..self.settings.clone() };
        let workers = Workers::new(settings, dependencies).unwrap();
        let router = workers.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let stop = CancellationToken::new();
        AtWork { work: tokio::spawn(workers.run(stop.clone())), stop }
    }

    /// Queues a run of this policy.
    async fn queue(&self, policy: ExecutionPolicy) -> (RunId, Task) {
        let run = id();
        let credential = self.world.secret(TOKEN).await;
        let mut task = self.world.task(run, &self.host.url(), Some(credential)).await;
        task.policy = policy;
        self.world.queue(run, &task).await;
        (run, task)
    }

    async fn ended(&self, run: RunId) -> Ending {
        until("the run ends", async || match self.world.run(run).await {
            Run::Ended { ending, .. } => Some(ending),
            _ => None,
        })
        .await
    }

    /// Waits until the environments of all attempts are gone; how they ended.
    async fn environments(&self, run: RunId) -> Vec<Environment> {
        let events = self.world.run_events(run).await;
        let ids = events.iter().filter_map(|event| match event {
            RunEvent::Dispatched(dispatched) => Some(dispatched.environment),
            _ => None,
        });
        let mut ended = vec![];
        for environment in ids.collect::<Vec<EnvironmentId>>() {
            ended.push(
                until("the environment is gone", async || {
                    let environment = self.world.environment(environment).await;
                    (!matches!(environment, Environment::Absent | Environment::Alive { .. })).then_some(environment)
                })
                .await,
            );
        }
        assert_eq!(fs::read_dir(self.folder.path().join("data/environments")).unwrap().count(), 0, "no file is left");
        until("no job is left", async || {
            let jobs = sqlx::query_scalar("SELECT count(*) FROM work.jobs").fetch_one(self.world.pool());
            let jobs: i64 = jobs.await.unwrap();
            (jobs == 0).then_some(())
        })
        .await;
        ended
    }
}

#[tokio::test]
async fn a_run_succeeds_with_a_commit_on_its_branch() {
    let bench = Bench::new(WORKS).await;
    let at_work = bench.start().await;
    let (run, task) = bench.queue(ExecutionPolicy::default()).await;
    let Ending::Succeeded(outcome) = bench.ended(run).await else { panic!("{:?}", bench.world.run_events(run).await) };
    assert_eq!(bench.host.head(task.branch.as_str()).await.as_deref(), Some(outcome.head_commit.as_str()));
    assert_eq!(bench.environments(run).await, [Environment::Stopped]);
    at_work.stop().await;
}

#[tokio::test]
async fn a_pod_that_dies_is_followed_by_another_and_its_log_says_why() {
    let bench = Bench::new("\nask('GET', '/pod/v1/job')\nprint('cannot go on', flush=True)\nsys.exit(3)\n").await;
    let at_work = bench.start().await;
    let (run, _) = bench.queue(ExecutionPolicy::default()).await;
    assert_eq!(bench.ended(run).await, Ending::Failed(FailureKind::PodLost));
    let events = bench.world.run_events(run).await;
    assert_eq!(events.iter().filter(|event| matches!(event, RunEvent::AttemptLost(_))).count(), 1);
    let Some(RunEvent::Failed(failed)) = events.last() else { panic!("{events:?}") };
    assert!(failed.reason.as_str().contains("exit code 3"), "{}", failed.reason);
    assert_eq!((failed.attempt, failed.log_tail.as_str()), (2, "cannot go on\n"));
    assert_eq!(bench.environments(run).await, [Environment::Failed, Environment::Failed]);
    at_work.stop().await;
}

#[tokio::test]
async fn a_cancelled_run_stops_its_pod() {
    let bench = Bench::new(HANGS).await;
    let at_work = bench.start().await;
    let (run, _) = bench.queue(ExecutionPolicy::default()).await;
    until("it works", async || {
        matches!(bench.world.run(run).await, Run::Active { attempt, .. } if attempt.started).then_some(())
    })
    .await;
    bench.world.tell(run, RunCommand::Cancel { reason: Some(PersonalText::plain("enough")) }).await;
    assert_eq!(bench.environments(run).await, [Environment::Stopped]);
    assert_eq!(bench.ended(run).await, Ending::Cancelled);
    at_work.stop().await;
}

#[tokio::test]
async fn the_clocks_end_what_takes_too_long() {
    let bench = Bench::new(HANGS).await;
    let at_work = bench.start().await;
    let (run, _) = bench.queue(ExecutionPolicy { max_run_seconds: 1, ..ExecutionPolicy::default() }).await;
    assert_eq!(bench.ended(run).await, Ending::TimedOut);
    assert_eq!(bench.environments(run).await, [Environment::Stopped]);
    at_work.stop().await;

    let mut bench = Bench::new("\ntime.sleep(1000)\n").await;
    bench.settings.start_timeout = Duration::from_secs(1);
    let at_work = bench.start().await;
    let (run, _) = bench.queue(ExecutionPolicy::default()).await;
    assert_eq!(bench.ended(run).await, Ending::TimedOut);
    let events = bench.world.run_events(run).await;
    let Some(RunEvent::TimedOut(end)) = events.last() else { panic!("{events:?}") };
    assert_eq!((end.timeout, end.after_seconds), (domain::run::Timeout::Start, 1));
    assert_eq!(bench.environments(run).await, [Environment::Stopped]);
    at_work.stop().await;
}

#[tokio::test]
async fn a_graceful_stop_gives_the_attempt_up_and_the_next_life_goes_on() {
    let bench = Bench::new(HANGS).await;
    let at_work = bench.start().await;
    let (run, task) = bench.queue(ExecutionPolicy::default()).await;
    until("it works", async || {
        matches!(bench.world.run(run).await, Run::Active { attempt, .. } if attempt.started).then_some(())
    })
    .await;
    at_work.stop().await;
    let events = bench.world.run_events(run).await;
    let Some(RunEvent::AttemptLost(lost)) = events.last() else { panic!("{events:?}") };
    assert!(lost.reason.as_str().contains("AgentWorks was stopped"), "{}", lost.reason);
    assert_eq!(fs::read_dir(bench.folder.path().join("data/environments")).unwrap().count(), 0);

    bench.pod(WORKS);
    let at_work = bench.start().await;
    let Ending::Succeeded(_) = bench.ended(run).await else { panic!("{:?}", bench.world.run_events(run).await) };
    assert!(bench.host.head(task.branch.as_str()).await.is_some());
    bench.environments(run).await;
    at_work.stop().await;
}

#[tokio::test]
async fn a_run_whose_environment_cannot_start_fails_with_the_reason() {
    let bench = Bench::new(WORKS).await;
    let at_work = bench.start().await;
    let (run, _) = bench.queue(ExecutionPolicy::default()).await;
    assert!(matches!(bench.ended(run).await, Ending::Succeeded(_)));
    tokio::fs::remove_file(&bench.settings.pod_executable).await.unwrap();
    let (run, _) = bench.queue(ExecutionPolicy::default()).await;
    assert_eq!(bench.ended(run).await, Ending::Failed(FailureKind::EnvironmentFailed));
    let events = bench.world.run_events(run).await;
    let Some(RunEvent::Failed(failed)) = events.last() else { panic!("{events:?}") };
    assert!(failed.reason.as_str().contains("pod executable"), "{}", failed.reason);
    assert_eq!(bench.environments(run).await, [Environment::Failed, Environment::Failed]);
    at_work.stop().await;
}

#[tokio::test]
async fn workers_do_not_start_where_nothing_can_run() {
    let mut bench = Bench::new(WORKS).await;
    bench.settings.pod_executable = "/does/not/exist".into();
    let at_work = bench.start().await;
    let error = at_work.work.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("pod_executable"), "{error}");
}
