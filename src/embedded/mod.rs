//! Private servers for `agentworks up` and for tests: a Postgres and a nats-server of our own, as child processes.
//!
//! Guarantees:
//! * nobody else reaches them: Postgres listens on a Unix socket in a folder that is ours alone, NATS on a loopback port with
//!   credentials drawn anew at every start;
//! * they run without privileges, also when this process is root;
//! * they end with this process, however it ends, and what an unlucky end left behind is found and ended by the next start;
//! * data survives; two processes never share a data folder ([`DataDir`]).
//!
//! Never here: anything about a server that was configured by URL, and anything about what is stored in the servers.

mod nats;
mod postgres;
mod process;

pub use nats::Nats;
pub use postgres::{Postgres, Settings};

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Why an embedded server is not there.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A program is not installed.
    #[error(
        "`{program}` is not installed: on Debian or Ubuntu `apt-get install {package}`, or let `./dev` install what is \
         missing; or name a server of your own in {variable}"
    )]
    Missing {
        /// What was looked for.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
        /// The setting that makes it unnecessary.
        variable: &'static str,
    },
    /// A server without privileges cannot get to its data.
    #[error(
        "root's servers run as `nobody` here (user namespaces are not available), and `nobody` cannot enter {above} to get to \
         {dir}: set `data_dir` to a folder such as /var/lib/agentworks, or start agentworks as an ordinary user"
    )]
    Unreachable {
        /// The folder of the server.
        dir: String,
        /// The folder above it that is closed.
        above: String,
    },
    /// Another process works in the data folder.
    #[error("{dir} is in use by another agentworks (process {holder}): stop that one, or set another `data_dir`")]
    InUse {
        /// The data folder.
        dir: String,
        /// Its process id, as it wrote it.
        holder: String,
    },
    /// The data was written by another major release.
    #[error(
        "{dir} was written by PostgreSQL {data}, which is not installed (found: {found}): install postgresql-{data}"
    )]
    OtherRelease {
        /// The data folder.
        dir: String,
        /// Who wrote it.
        data: String,
        /// What is installed.
        found: String,
    },
    /// The server is too old.
    #[error("nats-server {found} is too old: at least 2.9 is needed")]
    TooOld {
        /// What it says of itself.
        found: String,
    },
    /// A program ran but did not do what it should.
    #[error("{program} {what}; its last words, from {log}:\n{tail}")]
    Failed {
        /// The program.
        program: &'static str,
        /// What went wrong.
        what: String,
        /// Where its output is.
        log: String,
        /// The end of that output.
        tail: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// The answer.
        source: std::io::Error,
    },
}

impl EmbeddedError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Io { action, path, source }
    }

    fn failed(program: &'static str, what: impl Into<String>, log: &Path) -> Self {
        Self::Failed { program, what: what.into(), log: log.display().to_string(), tail: tail(log) }
    }
}

/// A data folder that this process holds alone, until the value is dropped or the process ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Makes the folder if it is missing (for our eyes only), and takes it.
    ///
    /// # Errors
    /// [`EmbeddedError::InUse`] when another process holds it; [`EmbeddedError::Io`] when it cannot be made or written.
    pub fn lock(path: &Path) -> Result<Self, EmbeddedError> {
        let path = private_dir(path)?;
        let name = path.join("lock");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&name);
        let mut lock = open.map_err(EmbeddedError::io("open", &name))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _unreadable_is_unknown = lock.read_to_string(&mut holder);
                let holder = if holder.is_empty() { "unknown".into() } else { holder.trim().to_owned() };
                return Err(EmbeddedError::InUse { dir: path.display().to_string(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(EmbeddedError::io("lock", &name)(source)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(EmbeddedError::io("write", &name))?;
        Ok(Self { path, lock })
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing alone would not do: a child between its fork and its exec still has the file open.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(folder = %self.path.display(), %error, "the data folder's lock stays until the process ends");
        }
    }
}

/// Makes the folder if it is missing, readable by us alone, and gives its absolute path.
fn private_dir(path: &Path) -> Result<PathBuf, EmbeddedError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(EmbeddedError::io("create", path))?;
    path.canonicalize().map_err(EmbeddedError::io("resolve", path))
}

/// Starts a log file anew.
fn fresh_log(path: &Path) -> Result<File, EmbeddedError> {
    File::create(path).map_err(EmbeddedError::io("create", path))
}

/// The last lines of a log, for an error message.
fn tail(log: &Path) -> String {
    const BYTES: u64 = 2048;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.is_empty() => "(nothing)".into(),
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim_end().to_owned(),
        Err(error) => format!("(unreadable: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_has_one_holder_and_the_refusal_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::lock(&dir.path().join("data")).unwrap();
        let refusal = DataDir::lock(first.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("(process {})", std::process::id())), "{refusal}");
        let path = first.path().to_owned();
        drop(first);
        DataDir::lock(&path).unwrap();
    }
}
