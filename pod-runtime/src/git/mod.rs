//! The run's repository: getting it, and sending the work back.
//!
//! The agent works in `repository/`, whose Git folder is `git/`, both in the workspace. What the agent's commands do to
//! them is not trusted: configuration, hooks and index that they may have changed are never used again. The commits are
//! made in a fresh Git folder that did not exist while a command of the agent could run, and which borrows only objects,
//! whose names are their digests.
//!
//! Guarantees: only processes that talk to the remote see the token, in their environment, and no process of the agent
//! is alive then; the address is always given in full; no hook, filter, helper or configuration of the machine is used;
//! what the agent wrote below [`context::FOLDER`](schemas::context::FOLDER) is not committed.

mod command;
mod publish;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::pod::{CommitSha, FailureKind};

use command::Git;
pub(crate) use command::GitError;
pub(crate) use publish::{Commits, Message, Staged};

use crate::control_plane::ControlPlane;
use crate::failure::Stop;
use crate::process::kill_descendants;

/// Who the commits are by.
const NAME: &str = "AgentWorks agent";
const EMAIL: &str = "agent@agentworks.invalid";

/// The run's repository, here and at the control plane.
pub(crate) struct Repository {
    git: Git,
    url: String,
    worktree: PathBuf,
    git_folder: PathBuf,
    scratch: PathBuf,
}

impl Repository {
    /// Prepares the folders below `workspace`; what an earlier attempt left there is removed.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub(crate) fn prepare(workspace: &Path, path: &str, control_plane: &ControlPlane) -> std::io::Result<Self> {
        let scratch = workspace.join("pod");
        let (worktree, git_folder) = (workspace.join("repository"), workspace.join("git"));
        for folder in [&worktree, &git_folder] {
            if folder.symlink_metadata().is_ok() {
                std::fs::remove_dir_all(folder)?;
            }
        }
        std::fs::create_dir_all(&worktree)?;
        let url = control_plane.address(schemas::pod::path::GIT);
        let git = Git::new(path, &scratch, control_plane);
        Ok(Self { git, url, worktree, git_folder, scratch })
    }

    /// Where the agent works.
    pub(crate) fn worktree(&self) -> &Path {
        &self.worktree
    }

    /// The heads of these branches at the remote; of all when none is named.
    ///
    /// # Errors
    /// When the remote cannot be asked.
    pub(crate) async fn heads(&self, branches: &[&str]) -> Result<BTreeMap<String, CommitSha>, GitError> {
        kill_descendants().await;
        let references: Vec<String> = branches.iter().map(|it| format!("refs/heads/{it}")).collect();
        let mut arguments = vec!["ls-remote", "--heads", self.url.as_str()];
        arguments.extend(references.iter().map(String::as_str));
        let listing = self.git.remote(&self.scratch, &arguments).await?;
        let head = |line: &str| {
            let (commit, reference) = line.split_once('\t')?;
            Some((reference.strip_prefix("refs/heads/")?.to_owned(), CommitSha::new(commit).ok()?))
        };
        Ok(listing.lines().filter_map(head).collect())
    }

    /// Makes the agent's clone of one branch, whose head must be `base`.
    ///
    /// # Errors
    /// [`FailureKind::CloneFailed`].
    pub(crate) async fn clone_branch(&self, branch: &str, base: &CommitSha) -> Result<(), Stop> {
        let failed = |error: GitError| {
            Stop::failed(FailureKind::CloneFailed, format!("the repository could not be cloned: {error}"))
        };
        let git_folder = self.git_folder.to_string_lossy();
        let separate = format!("--separate-git-dir={git_folder}");
        let format = object_format(base);
        let init = ["init", "-q", "--template=", &format, &separate, "-b", branch, "."];
        self.git.local(&self.worktree, &[], &init).await.map_err(failed)?;
        kill_descendants().await;
        let refspec = format!("+refs/heads/{branch}:refs/remotes/origin/{branch}");
        let fetch = ["fetch", "-q", "--no-tags", "--no-write-fetch-head", &self.url, &refspec];
        self.git.remote(&self.worktree, &fetch).await.map_err(failed)?;
        for arguments in [
            &["config", "user.name", NAME][..],
            &["config", "user.email", EMAIL],
            &["reset", "-q", "--hard", base.as_str()],
        ] {
            self.git.local(&self.worktree, &[], arguments).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The files of the agent's worktree that Git knows or would add, relative and sorted.
    ///
    /// # Errors
    /// When Git fails, perhaps because the agent broke its Git folder.
    pub(crate) async fn files(&self) -> Result<Vec<String>, GitError> {
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listing = self.git.local(&self.worktree, &[], &list).await?;
        let mut files: Vec<String> = listing
            .split('\0')
            .filter(|path| !path.is_empty() && self.worktree.join(path).symlink_metadata().is_ok())
            .map(str::to_owned)
            .collect();
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// A file of the head of a branch that an earlier attempt pushed.
    ///
    /// # Errors
    /// When the branch cannot be fetched, or has no such file.
    pub(crate) async fn remote_file(&self, head: &CommitSha, branch: &str, path: &str) -> Result<String, GitError> {
        let folder = self.fresh(head).await?;
        let environment = [("GIT_DIR", folder.as_path())];
        kill_descendants().await;
        let reference = format!("+refs/heads/{branch}:refs/heads/{branch}");
        let fetch = ["--git-dir", ".", "fetch", "-q", "--no-tags", "--depth=1", &self.url, &reference];
        self.git.remote(&folder, &fetch).await?;
        let blob = format!("{head}:{path}");
        self.git.local(&folder, &environment, &["cat-file", "blob", &blob]).await
    }

    /// A Git folder that nobody else has seen.
    async fn fresh(&self, like: &CommitSha) -> Result<PathBuf, GitError> {
        let folder = tempfile::Builder::new().prefix("git-").tempdir_in(&self.scratch)?.keep();
        let format = object_format(like);
        self.git.local(&folder, &[], &["init", "-q", "--bare", "--template=", &format, "."]).await?;
        Ok(folder)
    }
}

/// How objects are named in a repository that has this commit.
fn object_format(commit: &CommitSha) -> String {
    let format = if commit.as_str().len() == 64 { "sha256" } else { "sha1" };
    format!("--object-format={format}")
}
