//! A world for one pod: a control plane that keeps what it is told, a repository behind `git http-backend`, and a model
//! that says what it was given to say, in its vendor's own protocol.

pub(crate) mod git;
pub(crate) mod model;
pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use schemas::pod::{Boot, Job, Limits, ModelProtocol, Report, Step, TaskOutcome};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use self::git::Origin;
use self::model::Turn;
use self::server::Fake;

pub(crate) const TOKEN: &str = "pod-token-that-must-not-show";
pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) origin: Arc<Origin>,
    pub(crate) fake: Arc<Fake>,
    pub(crate) job: Job,
    pub(crate) traces: bool,
    address: String,
}

/// How a pod ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
    pub(crate) reports: Vec<Report>,
    pub(crate) steps: Vec<Step>,
}

impl Ended {
    /// The outcome of a pod that succeeded.
    pub(crate) fn outcome(&self) -> &TaskOutcome {
        match self.reports.as_slice() {
            [Report::Succeeded(outcome)] => outcome,
            other => panic!("no success: {other:?}\n{}", self.log),
        }
    }

    /// Kind and reason of a pod that failed.
    pub(crate) fn failure(&self) -> (&'static str, &str, &str) {
        match self.reports.as_slice() {
            [Report::Failed(failure)] => (failure.kind.as_str(), &failure.reason, &failure.log_tail),
            other => panic!("no failure: {other:?}\n{}", self.log),
        }
    }
}

impl World {
    /// A repository with a few files, and a model that takes these turns.
    pub(crate) async fn new(protocol: ModelProtocol, turns: Vec<Turn>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Arc::new(Origin::create(&folder.path().join("origin")));
        let job = job(protocol);
        let fake = Arc::new(Fake::new(job.clone(), turns, Arc::clone(&origin)));
        let address = server::serve(Arc::clone(&fake)).await;
        std::fs::create_dir(folder.path().join("workspace")).unwrap();
        Self { folder, origin, fake, job, traces: false, address }
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    pub(crate) fn boot(&self) -> Boot {
        Boot {
            control_plane: self.address.clone(),
            token: TOKEN.to_owned(),
            workspace: self.workspace().to_string_lossy().into_owned(),
            traceparent: Some(format!("00-{TRACE}-b7ad6b7169203331-01")),
            traces: self.traces,
        }
    }

    /// Starts a pod.
    pub(crate) async fn start(&self) -> Child {
        *self.fake.job.lock().unwrap() = self.job.clone();
        let mut pod = Command::new(env!("CARGO_BIN_EXE_agentworks-pod"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let line = serde_json::to_string(&self.boot()).unwrap() + "\n";
        pod.stdin.take().unwrap().write_all(line.as_bytes()).await.unwrap();
        pod
    }

    /// Runs a pod to its end.
    pub(crate) async fn run(&self) -> Ended {
        self.wait(self.start().await).await
    }

    pub(crate) async fn wait(&self, pod: Child) -> Ended {
        let output = pod.wait_with_output().await.unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!log.contains(TOKEN), "the token is in the log");
        let ended = Ended {
            code: output.status.code(),
            log,
            reports: self.fake.reports.lock().unwrap().clone(),
            steps: self.fake.steps.lock().unwrap().clone(),
        };
        let told = serde_json::to_string(&(&ended.reports, &ended.steps)).unwrap();
        assert!(!told.contains(TOKEN), "the token was told");
        ended
    }
}

/// A job on the branch `main`.
fn job(protocol: ModelProtocol) -> Job {
    let id = "01h455vb4pex5vsknk084sn02q";
    Job {
        run: format!("run_{id}").parse().unwrap(),
        attempt: 1,
        card: format!("crd_{id}").parse().unwrap(),
        project: format!("prj_{id}").parse().unwrap(),
        title: "Greet the world".into(),
        description: "Make `greet.sh` greet the world.".into(),
        instructions: None,
        base_branch: "main".into(),
        branch: format!("aw/crd_{id}/run_{id}"),
        protocol,
        model: "scripted-1".into(),
        test_command: None,
        limits: Limits { max_steps: 10, max_run_seconds: 120, command_timeout_seconds: 60, max_output_tokens: 1_000 },
        tools: ["list_files", "read_file", "write_file", "edit_file", "search_files", "run_command"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// Whether any file below the folder holds this text.
pub(crate) fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            return holds(&entry.path(), text);
        }
        let bytes = if kind.is_file() { std::fs::read(entry.path()).unwrap() } else { Vec::new() };
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

/// Whether any process has this text among its arguments.
pub(crate) fn lives(text: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(text))
}
