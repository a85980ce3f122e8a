//! What a scenario happens in: servers that survive the product, processes of the product that do not, a Git host and a
//! model, all below one folder.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use access::Role;
use agentworks::config::Config;
use agentworks::demo::Client;
use agentworks::demo::git_host::GitHost;
use agentworks::demo::scripted_model::ScriptedModel;
use agentworks::embedded::{Nats, Postgres};
use agentworks::tokens;
use domain::TenantId;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection};

/// Nothing takes longer; what has not come by then will not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at something that tells nobody when it changes.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// The key of the scripted model.
pub(crate) const KEY: &str = "sk-scripted-secret-key";

/// Every role in one process.
pub(crate) const ALL: &str = "all";
/// The process that moves ranges into the archive, and the archive's folder.
const ARCHIVE: &str = "archive";

/// The servers and processes of one scenario.
pub(crate) struct World {
    /// Everything is below it.
    pub(crate) folder: PathBuf,
    /// Where what is kept is kept: the servers' data, and the processes' own.
    disk: PathBuf,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) nats: Option<Nats>,
    /// The database, as its superuser.
    pub(crate) database: String,
    /// The bus.
    pub(crate) bus: String,
    processes: Vec<Process>,
    pub(crate) git: GitHost,
    pub(crate) model: ScriptedModel,
    kept: tempfile::TempDir,
}

/// A process of the product.
struct Process {
    name: String,
    port: u16,
    child: Child,
}

/// How a process is started.
#[derive(Default, Clone)]
pub(crate) struct Start<'a> {
    /// Where it dies.
    pub(crate) crash: Option<(&'a str, u64)>,
    /// Further variables.
    pub(crate) environment: Vec<(&'a str, String)>,
}

impl World {
    /// New servers, without a process yet. `disk`: where they keep their data, if not beside the rest.
    pub(crate) async fn new(disk: Option<&Path>) -> Self {
        let kept = tempfile::Builder::new().prefix("agentworks-crash-").tempdir().expect("a folder");
        let folder = kept.path().to_owned();
        let disk = disk.map_or_else(|| folder.clone(), Path::to_owned);
        let postgres = Postgres::start(&disk.join("postgres")).await.expect("a Postgres");
        let nats = Nats::start(&disk.join("nats")).await.expect("a NATS");
        Self {
            database: postgres.url("postgres", "postgres"),
            bus: nats.url(),
            postgres: Some(postgres),
            nats: Some(nats),
            processes: Vec::new(),
            git: GitHost::start(folder.join("git")).expect("a Git host"),
            model: ScriptedModel::start(KEY).expect("a model"),
            folder,
            disk,
            kept,
        }
    }

    /// Has the log make a new range of positions each few events, so that much happens at their borders.
    pub(crate) async fn small_ranges(&self) {
        let mut connection = PgConnection::connect(&self.database).await.expect("a connection");
        let done = sqlx::query("UPDATE log.clock SET range_size = 150").execute(&mut connection).await;
        done.expect("the log has ranges");
        connection.close().await.expect("it ends");
    }

    /// Starts Postgres (again) on its data, at the same address.
    pub(crate) async fn postgres_again(&mut self) {
        let postgres = Postgres::start(&self.disk.join("postgres")).await.expect("a Postgres");
        assert_eq!(postgres.url("postgres", "postgres"), self.database, "it is where it was");
        self.postgres = Some(postgres);
    }

    /// Sends a signal to the first process of Postgres.
    pub(crate) fn signal_postgres(&self, signal: Signal) {
        let file = std::fs::read_to_string(self.disk.join("postgres/data/postmaster.pid")).expect("it runs");
        send(file.lines().next().expect("a line"), signal);
    }

    /// Sends a signal to NATS.
    pub(crate) fn signal_nats(&self, signal: Signal) {
        let ports = self.disk.join("nats/ports").read_dir().expect("it runs").next().expect("it has said where");
        let name = ports.expect("an entry").file_name().into_string().expect("a name");
        send(name.trim_start_matches("nats-server_").trim_end_matches(".ports"), signal);
    }

    /// Starts NATS again where it was, on what is left of its data.
    pub(crate) async fn nats_again(&mut self) {
        self.nats.as_mut().expect("it was started").restart().await.expect("a NATS");
    }

    /// Where the stream is stored.
    pub(crate) fn stream_data(&self) -> PathBuf {
        self.disk.join("nats/jetstream")
    }

    /// Starts a process that plays `roles` on `port`. Another one with the same data folder must have ended.
    pub(crate) fn start(&mut self, name: &str, roles: &str, port: u16, start: &Start<'_>) {
        let mut command = self.command(name, &["serve", "--roles", roles, "--migrate"], start);
        command.env("AGENTWORKS_HTTP__ADDRESS", format!("127.0.0.1:{port}"));
        self.processes.push(Process { name: name.to_owned(), port, child: spawn(command) });
    }

    /// Lets full ranges be archived, as an operator does. Whether the process died of the point that it was to die at.
    ///
    /// # Errors
    /// What it said, when it failed.
    pub(crate) async fn archive(&self, start: &Start<'_>) -> Result<bool, String> {
        let mut child = spawn(self.command(ARCHIVE, &["archive", "--keep", "0"], start));
        let Some(status) = ended(&mut child, PATIENCE).await else {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            return Err(format!("archiving does not end:\n{}", self.log(ARCHIVE)));
        };
        match status.signal() {
            Some(9) => Ok(true),
            _ if status.success() => Ok(false),
            _ => Err(format!("archiving failed, {status}:\n{}", self.log(ARCHIVE))),
        }
    }

    /// Where archived ranges are.
    pub(crate) fn archived(&self) -> PathBuf {
        self.folder.join(ARCHIVE)
    }

    /// The executable, in this world.
    fn command(&self, name: &str, arguments: &[&str], start: &Start<'_>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(executable()).args(arguments);
        command
            .env("DATABASE_URL", &self.database)
            .env("NATS_URL", &self.bus)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        command.env("AGENTWORKS_DATA_DIR", self.disk.join(name));
        command.env("AGENTWORKS_AUTH__SIGNING_KEY_FILE", self.config().signing_key_file());
        command.env("AGENTWORKS_SECRETS__MASTER_KEY_FILE", self.config().master_key_file());
        command.env("AGENTWORKS_EVIDENCE__KEY_FILE", self.config().evidence_key_file());
        command.env("AGENTWORKS_LOG__SNAPSHOT_EVENTS", "2");
        command.env("AGENTWORKS_BUS__MAX_BYTES", "67108864");
        command.env("AGENTWORKS_EVIDENCE__INTERVAL_SECONDS", "1").env("AGENTWORKS_EVIDENCE__MAX_EVENTS", "100");
        command
            .env("AGENTWORKS_EVIDENCE__PUBLISH", format!("[\"file://{}\"]", self.folder.join("published").display()));
        command.env("AGENTWORKS_ARCHIVE__STORE", format!("file://{}", self.archived().display()));
        command.env("AGENTWORKS_WORKERS__LEASE_SECONDS", "3").envs(start.environment.iter().cloned());
        if let Some((point, nth)) = start.crash {
            command.env("AGENTWORKS_CRASH__AT", format!("{point}:{nth}"));
        }
        let log = self.folder.join(format!("{name}.log"));
        let log = std::fs::File::options().append(true).create(true).open(log).expect("a log file");
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        command
    }

    /// Waits until the process has been killed: `true` in time. One that ends otherwise is a finding by itself.
    pub(crate) async fn killed(&mut self, name: &str, patience: Duration) -> bool {
        let Some(status) = ended(&mut self.process(name).child, patience).await else { return false };
        assert_eq!(status.signal(), Some(9), "{name} ended by itself, {status}:\n{}", self.log(name));
        self.processes.retain(|process| process.name != name);
        true
    }

    /// Where a process listens.
    pub(crate) fn port(&mut self, name: &str) -> u16 {
        self.process(name).port
    }

    /// Where the data is.
    pub(crate) fn disk(&self) -> &Path {
        &self.disk
    }

    /// What a query counts.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        let mut connection = PgConnection::connect(&self.database).await.expect("a connection");
        sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("a number")
    }

    /// Sends a signal to a process.
    pub(crate) fn signal(&mut self, name: &str, signal: Signal) {
        let pid = Pid::from_child(&self.process(name).child);
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// `kill -9`, when it runs.
    pub(crate) fn kill(&mut self, name: &str) {
        if let Some(at) = self.processes.iter().position(|process| process.name == name) {
            let mut process = self.processes.remove(at);
            process.child.kill().expect("it can be killed");
            process.child.wait().expect("it ends");
        }
    }

    /// Whether it runs still.
    pub(crate) fn runs(&mut self, name: &str) -> bool {
        self.process(name).child.try_wait().expect("it can be asked").is_none()
    }

    fn process(&mut self, name: &str) -> &mut Process {
        self.processes.iter_mut().find(|process| process.name == name).expect("it was started")
    }

    /// The end of what a process has logged.
    pub(crate) fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Its configuration, as far as minting tokens needs it.
    fn config(&self) -> Config {
        let mut config = Config::defaults().expect("the defaults are valid");
        config.data_dir.clone_from(&self.folder);
        config
    }

    /// A client of the process on `port`: an operator, or the owner of a tenant.
    pub(crate) fn client(&self, port: u16, tenant: Option<TenantId>) -> Client {
        Client::new(&format!("http://127.0.0.1:{port}"), &self.token(tenant))
    }

    /// A token of an operator, or of the owner of a tenant.
    pub(crate) fn token(&self, tenant: Option<TenantId>) -> String {
        let role = if tenant.is_some() { Role::Owner } else { Role::Operator };
        tokens::mint(&self.config(), tenant, role, "crash", 2).expect("a token")
    }

    /// Waits until the process on `port` is ready.
    pub(crate) async fn ready(&mut self, name: &str, port: u16) {
        let client = self.client(port, None);
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(self.runs(name), "{name} ended:\n{}", self.log(name));
            let asked = client.send(http::Method::GET, "/readyz", &[], None);
            if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(5), asked).await
                && answer.status == 200
            {
                return;
            }
            assert!(Instant::now() < until, "{name} does not get ready:\n{}", self.log(name));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends everything; keeps the folder when something is to be looked at there.
    pub(crate) async fn end(mut self, keep: bool) -> Option<PathBuf> {
        for name in self.processes.iter().map(|process| process.name.clone()).collect::<Vec<_>>() {
            self.kill(&name);
        }
        if let Some(nats) = self.nats.take() {
            nats.stop().await.expect("NATS stops");
        }
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await.expect("Postgres stops");
        }
        keep.then(|| self.kept.keep())
    }
}

fn send(pid: &str, signal: Signal) {
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it can be signalled");
}

/// How a process ended; `None` when it has not in time.
async fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("it can be asked") {
            return Some(status);
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

/// The executable under test.
fn executable() -> PathBuf {
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_agentworks"));
    let pod = executable.with_file_name("agentworks-pod");
    assert!(pod.exists(), "{} is missing: `cargo build --workspace --bins` makes it, as `./dev` does", pod.display());
    executable
}

/// A port that is free now. Processes come back to it after their death, so it lies below those that the kernel gives to
/// whoever connects somewhere.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).expect("small");
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts `command` so that it dies with this process. The kernel ties that to the starting *thread*, so one that lives as
/// long as the process does it for all.
fn spawn(mut command: Command) -> Child {
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
