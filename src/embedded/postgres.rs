//! A private Postgres.
//!
//! It listens on a Unix socket only, in a folder that nobody else may enter, and trusts who comes through there: reach it with
//! [`Postgres::url`] as any role that exists (`postgres` is the superuser). It is durable unless asked otherwise.
//!
//! In its folder: `data` (the cluster), `socket`, `postgres.log` (of the last start). A cluster appears under its name only when
//! it is complete, so a start that was interrupted leaves nothing that a later one would trip over.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use sqlx::Connection;
use tokio::time::{Instant, sleep};

use super::process::{Child, Privileges, end_orphans, find, log_to, option};
use super::{EmbeddedError, fresh_log, private_dir};

/// A Unix socket's path has at most so many bytes, its name included.
const SOCKET_PATH_MAX: usize = 107;
const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// Recovery after a crash may take a while; it is the longest thing that stands before readiness.
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(8);
const PROGRAM: &str = "postgres";

/// What may differ between a server for people and one for tests.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether a commit survives a power cut. Off is faster, and for tests only.
    pub durable: bool,
    /// Connections the server admits.
    pub max_connections: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { durable: true, max_connections: 200 }
    }
}

/// A running private Postgres. [`Postgres::stop`] it: merely dropped, it ends too, but nobody waits for it.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    socket: Socket,
    log: PathBuf,
}

impl Postgres {
    /// Starts a durable server in `dir`, which is made if it is missing; returns when it answers.
    ///
    /// # Errors
    /// When the programs are missing or do not do their work; the message says what to do.
    pub async fn start(dir: &Path) -> Result<Self, EmbeddedError> {
        Self::start_with(dir, Settings::default()).await
    }

    /// As [`Postgres::start`], with settings.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_with(dir: &Path, settings: Settings) -> Result<Self, EmbeddedError> {
        let privileges = Privileges::choose().await?;
        Self::start_as(privileges, dir, settings).await
    }

    async fn start_as(privileges: Privileges, dir: &Path, settings: Settings) -> Result<Self, EmbeddedError> {
        let dir = private_dir(dir)?;
        let data = dir.join("data");
        let programs = Programs::find(&data).await?;
        let log = dir.join("postgres.log");
        let log_file = fresh_log(&log)?;
        let socket = Socket::make(&dir)?;
        clear_the_place(&data, &socket.dir).await?;
        privileges.hand_over(&dir)?;
        privileges.hand_over(&socket.dir)?;
        if !data.exists() {
            initialize(&programs, privileges, &dir, &data).await?;
        }
        let mut command = privileges.command(&programs.path(PROGRAM), "INT")?;
        command.arg("-D").arg(&data).args(["-p", "5432"]).current_dir(&dir);
        command.arg("-c").arg(option("unix_socket_directories=", socket.quoted()));
        for setting in server_settings(settings) {
            command.arg("-c").arg(setting);
        }
        log_to(&mut command, log_file).map_err(EmbeddedError::io("write", &log))?;
        let child = Child::spawn(PROGRAM, command, Signal::QUIT).await?;
        let mut server = Self { child, socket, log };
        server.ready().await?;
        Ok(server)
    }

    /// Where `user` reaches `database`, for sqlx and libpq alike.
    pub fn url(&self, user: &str, database: &str) -> String {
        let host = percent(self.socket.dir.as_os_str().as_bytes());
        format!("postgres:///{}?host={host}&user={}", percent(database.as_bytes()), percent(user.as_bytes()))
    }

    /// Waits until the server has ended, which it should not do before it is stopped; the error says what it wrote last.
    pub async fn failed(&mut self) -> EmbeddedError {
        match self.child.exited().await {
            Ok(status) => EmbeddedError::failed(PROGRAM, format!("ended ({status})"), &self.log),
            Err(source) => EmbeddedError::io("watch", Path::new(PROGRAM))(source),
        }
    }

    /// Stops it: sessions are cut, committed work is safe. A server that does not end in time is killed, and recovers at its
    /// next start.
    ///
    /// # Errors
    /// When the operating system does not let us wait for it.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let in_time = self.child.stop(Signal::INT, STOP_WITHIN).await;
        if !in_time.map_err(EmbeddedError::io("stop", Path::new(PROGRAM)))? {
            tracing::warn!(log = %self.log.display(), "postgres did not stop in time and was killed; it will recover at its next start");
        }
        self.socket.remove();
        Ok(())
    }

    async fn ready(&mut self) -> Result<(), EmbeddedError> {
        let url = self.url("postgres", "postgres");
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let refusal = match sqlx::PgConnection::connect(&url).await {
                Ok(connection) => {
                    let _an_answer_is_enough = connection.close().await;
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            if Instant::now() > deadline {
                return Err(EmbeddedError::failed(PROGRAM, format!("does not answer: {refusal}"), &self.log));
            }
            // Until it listens there is nothing to wait on but time, and its end.
            tokio::select! {
                error = self.failed() => return Err(error),
                () = sleep(Duration::from_millis(10)) => {}
            }
        }
    }
}

fn server_settings(settings: Settings) -> Vec<String> {
    let mut list = vec![
        "listen_addresses=".to_owned(),
        "unix_socket_permissions=0700".to_owned(),
        format!("max_connections={}", settings.max_connections),
        "shared_buffers=128MB".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "logging_collector=off".to_owned(),
    ];
    if !settings.durable {
        list.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    list
}

/// Nothing of an earlier server may be left: neither processes, nor files that name a process of another kind by now.
async fn clear_the_place(data: &Path, socket: &Path) -> Result<(), EmbeddedError> {
    end_orphans(PROGRAM, data, Signal::INT, STOP_WITHIN).await?;
    for stale in [data.join("postmaster.pid"), socket.join(format!("{SOCKET_NAME}.lock"))] {
        match std::fs::remove_file(&stale) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(EmbeddedError::io("remove", &stale)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a new cluster.
async fn initialize(programs: &Programs, privileges: Privileges, dir: &Path, data: &Path) -> Result<(), EmbeddedError> {
    const INITDB: &str = "initdb";
    let log = dir.join("initdb.log");
    let unfinished = dir.join("data.unfinished");
    // Not every system has the locale that is best; `C` is everywhere.
    for locale in ["C.UTF-8", "C"] {
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(EmbeddedError::io("remove", &unfinished))?;
        }
        let mut command = privileges.command(&programs.path(INITDB), "KILL")?;
        command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions"]);
        command.arg(option("--locale=", locale)).arg("-D").arg(&unfinished).current_dir(dir);
        log_to(&mut command, fresh_log(&log)?).map_err(EmbeddedError::io("write", &log))?;
        let status = Child::spawn(INITDB, command, Signal::KILL).await?.exited().await;
        if status.map_err(EmbeddedError::io("watch", Path::new(INITDB)))?.success() {
            return std::fs::rename(&unfinished, data).map_err(EmbeddedError::io("rename", &unfinished));
        }
    }
    Err(EmbeddedError::failed(INITDB, "could not make a database cluster", &log))
}

/// The folder of the socket: in `dir` where the path is short enough, else in the system's folder for temporary files.
#[derive(Debug)]
struct Socket {
    dir: PathBuf,
    temporary: bool,
}

impl Socket {
    fn make(dir: &Path) -> Result<Self, EmbeddedError> {
        let near = dir.join("socket");
        if near.as_os_str().len() + 1 + SOCKET_NAME.len() <= SOCKET_PATH_MAX {
            return Ok(Self { dir: private_dir(&near)?, temporary: false });
        }
        let inode = dir.metadata().map_err(EmbeddedError::io("read", dir))?;
        let far = std::env::temp_dir().join(format!("agentworks-{:x}-{:x}", inode.dev(), inode.ino()));
        // Anyone can make folders there, so it is made anew each time: what cannot be removed was not ours.
        if far.symlink_metadata().is_ok() {
            std::fs::remove_dir_all(&far).map_err(EmbeddedError::io("remove", &far))?;
        }
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&far).map_err(EmbeddedError::io("create", &far))?;
        Ok(Self { dir: far, temporary: true })
    }

    /// As Postgres wants an element of a list.
    fn quoted(&self) -> std::ffi::OsString {
        let quoted = self.dir.as_os_str().as_bytes().iter().flat_map(|byte| match byte {
            b'"' => vec![b'"', b'"'],
            byte => vec![*byte],
        });
        let bytes = std::iter::once(b'"').chain(quoted).chain(std::iter::once(b'"'));
        std::os::unix::ffi::OsStringExt::from_vec(bytes.collect())
    }

    fn remove(&self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            tracing::debug!(%error, dir = %self.dir.display(), "the socket's folder stays");
        }
    }
}

/// One installed release.
#[derive(Debug, Clone)]
struct Programs {
    major: String,
    folder: PathBuf,
}

impl Programs {
    /// The release that wrote `data`; for a new cluster the highest.
    async fn find(data: &Path) -> Result<Self, EmbeddedError> {
        let mut installed = Vec::new();
        for folder in folders() {
            if let Some(major) = major(&folder.join(PROGRAM)).await {
                installed.push(Self { major, folder });
            }
        }
        installed.sort_by_key(|programs| programs.major.parse::<u32>().unwrap_or(0));
        let highest = installed.last().cloned().ok_or(EmbeddedError::Missing {
            program: PROGRAM,
            package: "postgresql",
            variable: "DATABASE_URL",
        })?;
        let Ok(written_by) = std::fs::read_to_string(data.join("PG_VERSION")) else { return Ok(highest) };
        let written_by = written_by.trim();
        let found = || installed.iter().map(|programs| programs.major.as_str()).collect::<Vec<_>>().join(", ");
        installed.iter().find(|programs| programs.major == written_by).cloned().ok_or_else(|| {
            EmbeddedError::OtherRelease { dir: data.display().to_string(), data: written_by.to_owned(), found: found() }
        })
    }

    fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// Every folder that has both programs: on `PATH`, and where distributions keep the releases side by side.
fn folders() -> Vec<PathBuf> {
    let on_path = find(PROGRAM).and_then(|path| path.canonicalize().ok()?.parent().map(Path::to_path_buf));
    let side_by_side = ["/usr/lib/postgresql", "/usr/libexec/postgresql"].into_iter().flat_map(|parent| {
        let entries = Path::new(parent).read_dir().into_iter().flatten().flatten();
        entries.map(|entry| entry.path().join("bin"))
    });
    let red_hat = Path::new("/usr").read_dir().into_iter().flatten().flatten();
    let red_hat = red_hat.filter(|entry| entry.file_name().as_bytes().starts_with(b"pgsql-"));
    let all = on_path.into_iter().chain(side_by_side).chain(red_hat.map(|entry| entry.path().join("bin")));
    all.filter(|folder| folder.join(PROGRAM).is_file() && folder.join("initdb").is_file()).collect()
}

/// `15` from `postgres (PostgreSQL) 15.14 (Debian …)`.
async fn major(postgres: &Path) -> Option<String> {
    let mut command = tokio::process::Command::new(postgres);
    let output = command.arg("--version").env_clear().stdin(Stdio::null()).output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split(") ").nth(1)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

fn percent(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests;
