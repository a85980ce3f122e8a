//! A private nats-server with `JetStream`.
//!
//! It listens on a free port of the loopback interface (the server takes one itself, so nobody can take it first) and admits
//! only a user whose password is drawn anew at every start and stands in a file for our eyes only, never on a command line.
//!
//! In its folder: `jetstream` (what it stores; may be deleted while it is stopped, the log fills it again), `nats.conf`,
//! `nats-server.log` (of the last start).

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use rustix::process::Signal;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::process::{Child, Privileges, end_orphans, find, log_to};
use super::{EmbeddedError, fresh_log, private_dir};

const PROGRAM: &str = "nats-server";
const USER: &str = "agentworks";
/// It reads back what is stored before it answers.
const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A running private nats-server. [`Nats::stop`] it: merely dropped, it ends too, but nobody waits for it.
pub struct Nats {
    dir: PathBuf,
    child: Child,
    address: String,
    password: String,
    log: PathBuf,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What nats-server says of its ports.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Nats {
    /// Starts a server in `dir`, which is made if it is missing; returns when `JetStream` answers.
    ///
    /// # Errors
    /// When the program is missing, older than 2.9, or does not do its work; the message says what to do.
    pub async fn start(dir: &Path) -> Result<Self, EmbeddedError> {
        Self::launch(dir, None, password()).await
    }

    /// Starts it again where it was, with the same credentials, after it has [failed](Nats::failed): its clients find it.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        *self = Self::launch(&self.dir, Some(&self.address), self.password.clone()).await?;
        Ok(())
    }

    /// At `address`, or on a port of the server's own choice.
    async fn launch(dir: &Path, address: Option<&str>, password: String) -> Result<Self, EmbeddedError> {
        let missing = EmbeddedError::Missing { program: PROGRAM, package: PROGRAM, variable: "NATS_URL" };
        let program = find(PROGRAM).ok_or(missing)?;
        let dir = private_dir(dir)?;
        let privileges = Privileges::choose().await?;
        end_orphans(PROGRAM, &dir, Signal::TERM, STOP_WITHIN).await?;
        let ports = dir.join("ports");
        if ports.exists() {
            fs::remove_dir_all(&ports).map_err(EmbeddedError::io("remove", &ports))?;
        }
        private_dir(&ports)?;
        let configuration = configure(&dir, &ports, address, &password)?;
        let log = dir.join("nats-server.log");
        let log_file = fresh_log(&log)?;
        privileges.hand_over(&dir)?;
        let mut command = privileges.command(&program, "TERM")?;
        command.arg("-c").arg(&configuration).current_dir(&dir);
        log_to(&mut command, log_file).map_err(EmbeddedError::io("write", &log))?;
        let child = Child::spawn(PROGRAM, command, Signal::TERM).await?;
        let mut server = Self { dir, child, address: String::new(), password, log };
        server.ready(&ports).await?;
        Ok(server)
    }

    /// Where it is, credentials included.
    pub fn url(&self) -> String {
        format!("nats://{USER}:{}@{}", self.password, self.address)
    }

    /// Waits until the server has ended, which it should not do before it is stopped; the error says what it wrote last.
    pub async fn failed(&mut self) -> EmbeddedError {
        match self.child.exited().await {
            Ok(status) => EmbeddedError::failed(PROGRAM, format!("ended ({status})"), &self.log),
            Err(source) => EmbeddedError::io("watch", Path::new(PROGRAM))(source),
        }
    }

    /// Stops it. A server that does not end in time is killed; the log has what it may lose.
    ///
    /// # Errors
    /// When the operating system does not let us wait for it.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let in_time = self.child.stop(Signal::TERM, STOP_WITHIN).await;
        if !in_time.map_err(EmbeddedError::io("stop", Path::new(PROGRAM)))? {
            tracing::warn!(log = %self.log.display(), "nats-server did not stop in time and was killed");
        }
        Ok(())
    }

    async fn ready(&mut self, ports: &Path) -> Result<(), EmbeddedError> {
        let ports = ports.join(format!("{PROGRAM}_{}.ports", self.child.id()));
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if self.address.is_empty()
                && let Some(address) = read_address(&ports)
            {
                self.address = address;
            }
            if !self.address.is_empty() && self.answers().await? {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(EmbeddedError::failed(PROGRAM, "does not answer", &self.log));
            }
            // Until it listens there is nothing to wait on but time, and its end.
            tokio::select! {
                error = self.failed() => return Err(error),
                () = sleep(Duration::from_millis(10)) => {}
            }
        }
    }

    /// Whether `JetStream` is there, seen through a client.
    async fn answers(&self) -> Result<bool, EmbeddedError> {
        let url = self.url();
        let Ok(client) = outbox::bus::connect_options(&url).connect(url).await else { return Ok(false) };
        let found = client.server_info().version;
        if !client.is_server_compatible(2, 9, 0) {
            return Err(EmbeddedError::TooOld { found });
        }
        let answer = client.request("$JS.API.INFO", "".into()).await;
        if !answer.is_ok_and(|message| !message.payload.windows(7).any(|part| part == b"\"error\"")) {
            return Ok(false);
        }
        if !client.is_server_compatible(2, 12, 0) {
            tracing::debug!(
                version = found,
                "nats-server is complete for our use; 2.10 adds filtering by several subjects and stream compression, 2.11 \
                 expiry of single messages, 2.12 atomic batches and `sync_interval: always` per write"
            );
        }
        Ok(true)
    }
}

/// `127.0.0.1:PORT`, once the server has written its ports file in full.
fn read_address(ports: &Path) -> Option<String> {
    let ports: Ports = serde_json::from_slice(&fs::read(ports).ok()?).ok()?;
    let address = ports.nats.first()?.strip_prefix("nats://")?;
    Some(address.to_owned())
}

fn configure(dir: &Path, ports: &Path, address: Option<&str>, password: &str) -> Result<PathBuf, EmbeddedError> {
    let path = dir.join("nats.conf");
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy().into_owned());
    let listen = address.unwrap_or("127.0.0.1:-1");
    let text = format!(
        "# Written at every start.\nlisten: \"{listen}\"\nports_file_dir: {}\n\
         jetstream {{ store_dir: {} }}\nauthorization {{ user: {USER}, password: \"{password}\" }}\n",
        quoted(ports),
        quoted(dir),
    );
    let write = || {
        let _there_is_none = fs::remove_file(&path);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(EmbeddedError::io("write", &path))?;
    Ok(path)
}

/// 192 random bits.
#[expect(clippy::disallowed_methods, reason = "a credential must be random, and decides nothing")]
fn password() -> String {
    let mut random = rand::rng();
    (0..3).map(|_| format!("{:016x}", random.random::<u64>())).collect()
}

#[cfg(test)]
mod tests;
