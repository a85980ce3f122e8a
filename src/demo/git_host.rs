//! A Git host over smart HTTP, in this process: what a hosting vendor is to AgentWorks, for the demo and the tests.
//!
//! For: cloning from and pushing to real repositories with short-lived tokens, and for making a host misbehave.
//! Guarantees: the work is done by `git http-backend` itself, request and answer are streamed; each token opens one
//! repository; an unknown repository is answered exactly like one that the token does not open; every reference that a
//! push changed is recorded beside the repository by a hook, so [`GitHost::pushes`] also knows pushes of earlier
//! hosts on the same folder, and pushes whose answer was lost.
//! Never: reads the user's or the machine's Git configuration, listens beyond the loopback address, or changes the
//! source of an adopted repository (it works on a copy; serving one in place is another method).

mod backend;
mod repository;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use super::local_server::LocalServer;
use repository::Repository;

/// Why the host could not do something.
#[derive(Debug, Error)]
pub enum GitHostError {
    /// The name cannot be a repository's.
    #[error("{0:?} is no repository name: letters, digits, `-`, `_` and inner `.` are allowed")]
    Name(String),
    /// There is such a repository already.
    #[error("there is a repository {0:?} already")]
    Exists(String),
    /// There is no such repository.
    #[error("there is no repository {0:?}")]
    Unknown(String),
    /// Git said no.
    #[error("git {action} failed: {message}")]
    Git {
        /// Which Git command.
        action: &'static str,
        /// What it wrote about it.
        message: String,
    },
    /// The folder, the port, or starting Git failed.
    #[error("git host: {0}")]
    Io(#[from] std::io::Error),
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Clone and fetch.
    ReadOnly,
    /// Push as well.
    ReadWrite,
}

/// One reference that a push changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Its full name, such as `refs/heads/main`.
    pub reference: String,
    /// The commit before; zeros if it is new.
    pub old: String,
    /// The commit after; zeros if it was deleted.
    pub new: String,
}

/// The parts of Git's conversation with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Asking for the references, before a fetch or a push.
    Discover,
    /// Receiving objects.
    Fetch,
    /// Sending objects and changing references.
    Push,
}

/// How the host misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers this HTTP status and does nothing.
    Status(u16),
    /// Waits before it starts.
    Delay(Duration),
    /// Never answers, and does nothing.
    Hang,
    /// Does what was asked, then cuts the connection instead of answering.
    LoseAnswer,
    /// Does what was asked, then never answers.
    HoldAnswer,
}

/// A running Git host.
#[derive(Debug)]
pub struct GitHost {
    shared: Arc<Shared>,
    server: LocalServer,
}

/// What the handle and the request handlers share.
#[derive(Debug)]
struct Shared {
    root: PathBuf,
    grants: Mutex<HashMap<String, Grant>>,
    faults: Mutex<VecDeque<PlannedFault>>,
    hanging: watch::Sender<usize>,
}

#[derive(Debug, Clone)]
struct Grant {
    repository: String,
    access: Access,
    expires: Option<Instant>,
}

#[derive(Debug)]
struct PlannedFault {
    operation: Option<Operation>,
    fault: Fault,
    left: u32,
}

impl GitHost {
    /// Starts a host of the bare repositories below `root`, which is created if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be written or no port is free.
    pub fn start(root: impl AsRef<Path>) -> Result<Self, GitHostError> {
        std::fs::create_dir_all(&root)?;
        let root = root.as_ref().canonicalize()?;
        repository::write_configuration(&root)?;
        let shared = Arc::new(Shared {
            root,
            grants: Mutex::default(),
            faults: Mutex::default(),
            hanging: watch::Sender::new(0),
        });
        let server = LocalServer::start("git-host", backend::router(Arc::clone(&shared)))?;
        Ok(Self { shared, server })
    }

    /// The address of a repository, without any credential.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.server.address())
    }

    /// Where a repository lies on the disk.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.shared.root.join(format!("{name}.git"))
    }

    /// Makes a repository whose branch `main` has one commit with these files: path, content, executable or not.
    /// The same files always make the same commit.
    ///
    /// # Errors
    /// When the name is unfit or taken, or Git refuses.
    pub async fn create_repository(&self, name: &str, files: &[(&str, &str, bool)]) -> Result<(), GitHostError> {
        Repository::new_name(&self.shared.root, name)?.create(files).await
    }

    /// Makes a bare copy of a repository at a local path or an address that Git can clone.
    ///
    /// # Errors
    /// When the name is unfit or taken, or the source cannot be cloned.
    pub async fn adopt_repository(&self, name: &str, source: &str) -> Result<(), GitHostError> {
        Repository::new_name(&self.shared.root, name)?.adopt(source).await
    }

    /// Serves a repository where it lies, bare or with a checkout: pushes change it itself. Its own hooks are not run.
    ///
    /// # Errors
    /// When the name is unfit or taken, or there is no repository at this very path.
    pub async fn serve_repository(&self, name: &str, path: &Path) -> Result<(), GitHostError> {
        Repository::new_name(&self.shared.root, name)?.serve(path).await
    }

    /// The branch that a clone starts on.
    ///
    /// # Errors
    /// When there is no such repository, or its HEAD names no branch.
    pub async fn default_branch(&self, name: &str) -> Result<String, GitHostError> {
        self.repository(name)?.default_branch().await
    }

    /// A new token for one repository, to be sent as the password of the user `x-access-token`.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn issue_token(
        &self,
        name: &str,
        access: Access,
        expires_in: Option<Duration>,
    ) -> Result<String, GitHostError> {
        self.repository(name)?;
        let token = new_token();
        let grant =
            Grant { repository: name.to_owned(), access, expires: expires_in.map(|time| Instant::now() + time) };
        lock(&self.shared.grants).insert(token.clone(), grant);
        Ok(token)
    }

    /// Makes a token worthless.
    pub fn revoke_token(&self, token: &str) {
        lock(&self.shared.grants).remove(token);
    }

    /// Every reference changed by a push, in order.
    ///
    /// # Errors
    /// When there is no such repository, or its record cannot be read.
    pub fn pushes(&self, name: &str) -> Result<Vec<Push>, GitHostError> {
        self.repository(name)?.pushes()
    }

    /// From now on a hook refuses pushes with this message; with `None` they are accepted again.
    ///
    /// # Errors
    /// When there is no such repository, or it cannot be written.
    pub fn refuse_pushes(&self, name: &str, message: Option<&str>) -> Result<(), GitHostError> {
        self.repository(name)?.refuse_pushes(message)
    }

    /// Misbehaves in the next `times` authorized requests of this operation, or of any. Faults are used up in order.
    pub fn inject(&self, operation: Option<Operation>, fault: Fault, times: u32) {
        lock(&self.shared.faults).push_back(PlannedFault { operation, fault, left: times });
    }

    /// Waits until at least `count` requests in all have run into [`Fault::Hang`] or [`Fault::HoldAnswer`].
    pub async fn wait_until_hanging(&self, count: usize) {
        let mut hanging = self.shared.hanging.subscribe();
        // The sender lives as long as `self`, so this ends only when the condition holds.
        let _ = hanging.wait_for(|seen| *seen >= count).await;
    }

    /// Stops the host and cuts every connection. The repositories stay.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    fn repository(&self, name: &str) -> Result<Repository, GitHostError> {
        Repository::open(&self.shared.root, name)
    }
}

impl Shared {
    /// What the token opens, if it is known and still good.
    fn grant(&self, token: &str) -> Option<Grant> {
        let grant = lock(&self.grants).get(token).cloned()?;
        let expired = grant.expires.is_some_and(|end| end <= Instant::now());
        (!expired).then_some(grant)
    }

    /// Takes the first planned fault that fits.
    fn take_fault(&self, operation: Operation) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        faults.retain(|planned| planned.left > 0);
        let planned = faults.iter_mut().find(|planned| planned.operation.is_none_or(|only| only == operation))?;
        planned.left -= 1;
        Some(planned.fault)
    }
}

#[expect(clippy::disallowed_methods, reason = "a credential must not be foreseen")]
fn new_token() -> String {
    format!("ght_{:032x}", rand::rng().random::<u128>())
}

/// Locks even after a panic elsewhere: what is guarded here is never left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
