//! What every whole-system test stands on: an installation, and a stage with a tenant, a repository and a model.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use access::Role;
use agentworks::config::Config;
use agentworks::demo::Client;
use agentworks::demo::git_host::{Access, GitHost};
use agentworks::demo::scripted_model::ScriptedModel;
use agentworks::tokens;
use domain::TenantId;
use futures::StreamExt;
use http::Method;
use serde_json::{Value, json};

/// Nothing in a test takes longer; a condition that has not come by then will not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The executable under test.
pub(crate) fn executable() -> PathBuf {
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_agentworks"));
    let pod = executable.with_file_name("agentworks-pod");
    assert!(
        pod.exists(),
        "{} is missing: `cargo build --workspace --bins` makes it, as `./dev test` does",
        pod.display()
    );
    executable
}

/// Starts `command` so that it dies with the test process. The kernel ties that to the starting *thread*, so one that lives
/// as long as the process does it for all tests.
pub(crate) fn spawn(mut command: Command) -> Child {
    type Order = (Command, mpsc::Sender<Child>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                answer.send(command.spawn().expect("the command starts")).expect("somebody waits for it");
            }
        });
        orders
    });
    command.stdin(Stdio::null());
    let (answer, started) = mpsc::channel();
    spawner.send((command, answer)).expect("the spawner lives");
    started.recv().expect("the spawner answers")
}

/// A running `agentworks up`.
pub(crate) struct Installation {
    child: Option<Child>,
    pub(crate) base: String,
    pub(crate) data: PathBuf,
    environment: Vec<(String, String)>,
    _folder: Option<tempfile::TempDir>,
}

impl Installation {
    /// One for all tests that leave it alive.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: tokio::sync::OnceCell<Installation> = tokio::sync::OnceCell::const_new();
        SHARED.get_or_init(|| async { Self::start(&[]) }).await
    }

    /// A new one, with these settings in the environment.
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut installation = Self { child: None, base: String::new(), data, environment, _folder: Some(folder) };
        installation.start_again();
        installation
    }

    /// Starts it (again) on its data.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(executable()).arg("up");
        command.env_remove("DATABASE_URL").env_remove("NATS_URL").env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        command.env("AGENTWORKS_DATA_DIR", &self.data).env("AGENTWORKS_HTTP__ADDRESS", "127.0.0.1:0");
        command.env("AGENTWORKS_WORKERS__LEASE_SECONDS", "5").envs(self.environment.iter().cloned());
        let log = std::fs::File::options().append(true).create(true).open(self.log()).expect("a log file");
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = spawn(command);
        let mut out = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let ready = out.find_map(|line| {
            let (_, rest) = line.split_once("agentworks is ready on ")?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        self.child = Some(child);
        self.base = ready.unwrap_or_else(|| panic!("`up` did not get ready:\n{}", self.log_text()));
    }

    fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// What it has logged.
    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// SIGTERM; how long it took to end, and whether it ended well.
    pub(crate) fn stop(&mut self) -> (Duration, bool) {
        let mut child = self.child.take().expect("it runs");
        let pid = rustix::process::Pid::from_child(&child);
        let begun = std::time::Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be stopped");
        let status = child.wait().expect("it ends");
        (begun.elapsed(), status.success())
    }

    /// Its configuration, as far as minting tokens needs it.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::defaults().expect("the defaults are valid");
        config.data_dir.clone_from(&self.data);
        config
    }

    /// A client that may create tenants.
    pub(crate) fn operator(&self) -> Client {
        let token = tokens::mint(&self.config(), None, Role::Operator, "test", 1).expect("a token");
        Client::new(&self.base, &token)
    }

    /// A client that owns `tenant`.
    pub(crate) fn owner(&self, tenant: TenantId) -> Client {
        let token = tokens::mint(&self.config(), Some(tenant), Role::Owner, "test", 1).expect("a token");
        Client::new(&self.base, &token)
    }

    /// Runs another subcommand on its data and returns its standard output.
    pub(crate) fn command(&self, args: &[&str]) -> String {
        let output = Command::new(executable())
            .args(args)
            .env("AGENTWORKS_DATA_DIR", &self.data)
            .env_remove("DATABASE_URL")
            .env_remove("NATS_URL")
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Every event of `tenant`, in order.
    pub(crate) fn events(&self, tenant: TenantId) -> Vec<Value> {
        let lines = self.command(&["events", "--tenant", &tenant.to_string()]);
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
    }
}

/// A tenant with a workspace, a provider (the scripted model) and a project on a repository of its own.
pub(crate) struct Stage {
    pub(crate) owner: Client,
    pub(crate) tenant: TenantId,
    pub(crate) project: String,
    pub(crate) git: GitHost,
    pub(crate) model: ScriptedModel,
    _folder: tempfile::TempDir,
}

/// The name of a stage's repository at its host.
pub(crate) const REPOSITORY: &str = "work";
const KEY: &str = "sk-scripted-secret-key";

/// A repository with a test that passes.
pub(crate) const FILES: &[(&str, &str, bool)] =
    &[("README.md", "# Work\n", false), ("check.sh", "#!/bin/sh\ntest -f README.md\n", true)];

impl Stage {
    pub(crate) async fn set(installation: &Installation) -> Self {
        Self::with_policy(installation, json!({})).await
    }

    /// With these bounds of runs.
    pub(crate) async fn with_policy(installation: &Installation, policy: Value) -> Self {
        Self::with(installation, "anthropic", policy).await
    }

    /// With a model that is spoken to in this vendor's protocol.
    pub(crate) async fn with(installation: &Installation, kind: &str, policy: Value) -> Self {
        let owner = |tenant| installation.owner(tenant);
        let (stage, project) = Self::told(&installation.operator(), owner, kind, policy).await;
        let seen = "query($id: ID!, $position: Cursor) { project(id: $id, waitFor: $position) { id } }";
        let variables = json!({ "id": project["id"], "position": project["position"] });
        stage.owner.query(seen, variables).await.expect("who waits for a command sees it");
        stage
    }

    /// By commands alone, wherever these clients send them; and what the last one was answered.
    pub(crate) async fn told(
        operator: &Client,
        owner: impl FnOnce(TenantId) -> Client,
        kind: &str,
        policy: Value,
    ) -> (Self, Value) {
        let folder = tempfile::tempdir().expect("a folder");
        let git = GitHost::start(folder.path().join("git")).expect("a Git host");
        git.create_repository(REPOSITORY, FILES).await.expect("a repository");
        let model = ScriptedModel::start(KEY).expect("a model");
        let tenant = operator.post("/v1/tenants", json!({ "name": "Test" })).await.expect("a tenant");
        let tenant: TenantId = text(&tenant, "id").parse().expect("an id");
        let owner = owner(tenant);
        let workspace = owner.post("/v1/workspaces", json!({ "name": "Test" })).await.expect("a workspace");
        let provider = json!({
            "name": "Scripted", "kind": kind, "key": KEY, "base_url": model.base_url(), "default_model": "scripted-1",
        });
        let provider = owner.post("/v1/providers", provider).await.expect("a provider");
        let token = git.issue_token(REPOSITORY, Access::ReadWrite, None).expect("a token");
        let mut project = json!({
            "workspace": workspace["id"], "name": "Test", "model": { "provider": provider["id"] },
            "repository": { "url": git.url(REPOSITORY), "credential": token },
        });
        if policy.as_object().is_some_and(|policy| !policy.is_empty()) {
            project["policy"] = policy;
        }
        let project = owner.post("/v1/projects", project).await.expect("a project");
        let stage = Self { owner, tenant, project: text(&project, "id"), git, model, _folder: folder };
        (stage, project)
    }

    /// The same stage after its installation has been started again on another port.
    pub(crate) fn again(&mut self, installation: &Installation) {
        self.owner = installation.owner(self.tenant);
    }

    /// A card whose run follows this script.
    pub(crate) async fn card(&self, title: &str, script: &Value) -> String {
        let description = format!("Do as the script says.\n\n```agentworks-script\n{script}\n```\n");
        let body = json!({ "title": title, "description": description });
        text(&self.owner.post(&self.cards(), body).await.expect("a card"), "id")
    }

    fn cards(&self) -> String {
        format!("/v1/projects/{}/cards", self.project)
    }

    /// The path of something that is done to a card.
    pub(crate) fn of_card(&self, card: &str, verb: &str) -> String {
        format!("{}/{card}/{verb}", self.cards())
    }

    /// Presses Run.
    pub(crate) async fn run(&self, card: &str) -> String {
        let answer = self.owner.post(&self.of_card(card, "run"), json!({})).await.expect("it runs");
        self.seen(&answer).await;
        text(&answer, "run")
    }

    /// Waits until the run that a command's answer names can be read.
    pub(crate) async fn seen(&self, answer: &Value) {
        let query = "query($run: ID!, $position: Cursor) { run(id: $run, waitFor: $position) { state } }";
        let variables = json!({ "run": answer["run"], "position": answer["position"] });
        let data = self.owner.query(query, variables).await.expect("an answer");
        assert!(!data["run"].is_null(), "who waits for a command sees it");
    }

    /// Waits until the run has ended, and says how.
    pub(crate) async fn ended(&self, run: &str) -> Value {
        let query = "subscription($run: ID!) { runProgress(run: $run) { ended run { state } } }";
        let wait = async {
            let mut frames = self.owner.subscribe(query, json!({ "run": run })).await.expect("a subscription");
            while let Some(frame) = frames.next().await {
                if frame.expect("a frame")["runProgress"]["ended"] == true {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{run} did not end"));
        let query = "query($run: ID!) { run(id: $run) { state attempt environment reason failure logTail branch outcome { commit } steps { number kind title ok detail } } }";
        self.owner.query(query, json!({ "run": run })).await.expect("an answer")["run"].clone()
    }

    /// The card as the board shows it, once the run's end has reached it.
    pub(crate) async fn card_after(&self, card: &str) -> Value {
        let query = "query($card: ID!) { card(id: $card) { lane activeRunId lastRun { id result reason commit } } }";
        let wait = async {
            loop {
                let data = self.owner.query(query, json!({ "card": card })).await.expect("an answer");
                if data["card"]["activeRunId"].is_null() && !data["card"]["lastRun"].is_null() {
                    return data["card"].clone();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the card learns of its run's end")
    }

    /// How often anything was pushed.
    pub(crate) fn pushes(&self) -> usize {
        self.git.pushes(REPOSITORY).expect("a record").len()
    }

    /// A file on a branch, as `git` finds it.
    pub(crate) fn file(&self, branch: &str, path: &str) -> String {
        git(&self.git.path(REPOSITORY), &["show", &format!("{branch}:{path}")])
    }
}

/// What `git` prints.
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git").args(["-c", "safe.directory=*"]).arg("--git-dir").arg(folder).args(args).output();
    let output = output.expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A script that writes a file and finishes.
pub(crate) fn writes(path: &str, content: &str) -> Value {
    json!([
        { "tool": "write_file", "input": { "path": path, "content": content } },
        { "tool": "finish", "input": { "summary": "Wrote it.", "success": true } },
    ])
}

/// A field that must be a string.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}")).to_owned()
}

/// The state of a run, in lower case.
pub(crate) fn state(run: &Value) -> String {
    text(run, "state").to_lowercase()
}

/// PUTs or POSTs and returns the status and the problem's code.
pub(crate) async fn refusal(client: &Client, method: Method, path: &str, body: &Value) -> (u16, String) {
    let answer = client.send(method, path, &[], Some(body)).await.expect("an answer");
    (answer.status, answer.body["code"].as_str().unwrap_or_default().to_owned())
}
