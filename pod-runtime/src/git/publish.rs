//! From the agent's worktree to commits on the remote's branch.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemas::context;
use schemas::pod::{CommitSha, FailureKind};

use super::{GitError, Repository};
use crate::failure::Stop;
use crate::process::kill_descendants;

/// Changed paths that are kept at most.
const MAX_PATHS: usize = 1_000;
/// How often a push is tried whose answer was lost.
const PUSHES: usize = 3;
/// How long to wait before that.
const PAUSE: Duration = Duration::from_secs(1);
/// The mode of an entry that names a commit of another repository.
const GITLINK: &str = "160000";

/// The agent's worktree as it was at one moment.
#[derive(Debug)]
pub(crate) struct Staged {
    tree: String,
    objects: PathBuf,
    /// The paths that differ from the base, sorted, at most 1,000. Empty when nothing changed.
    pub(crate) changed: Vec<String>,
}

/// What a commit is for.
pub(crate) struct Message {
    pub(crate) title: String,
    pub(crate) body: String,
    /// Such as `AgentWorks-Card: crd_…`.
    pub(crate) trailers: Vec<String>,
}

impl Message {
    fn text(&self) -> String {
        let parts = [self.title.trim(), self.body.trim(), &self.trailers.join("\n")];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{}\n", parts.join("\n\n"))
    }
}

/// A Git folder with commits that are to be pushed.
pub(crate) struct Commits {
    folder: PathBuf,
    head: CommitSha,
}

impl Commits {
    /// The latest commit.
    pub(crate) fn head(&self) -> &CommitSha {
        &self.head
    }
}

impl Repository {
    /// Takes down the worktree as it is now.
    ///
    /// # Errors
    /// When Git fails, perhaps because the agent broke its Git folder.
    pub(crate) async fn stage(&self, base: &CommitSha, written: &BTreeSet<String>) -> Result<Staged, GitError> {
        kill_descendants().await;
        let folder = self.fresh(base).await?;
        borrow(&folder, &[&self.git_folder.join("objects")])?;
        let environment = [("GIT_DIR", folder.as_path()), ("GIT_WORK_TREE", self.worktree.as_path())];
        let git = async |arguments: &[&str]| self.git.local(&self.worktree, &environment, arguments).await;
        git(&["read-tree", base.as_str()]).await?;
        git(&["-c", "advice.addEmbeddedRepo=false", "add", "-A", "."]).await?;
        let written: Vec<_> = written.iter().filter(|path| self.worktree.join(path).is_file()).cloned().collect();
        if !written.is_empty() {
            let paths = written.join("\0");
            let add = ["--literal-pathspecs", "add", "-f", "--pathspec-from-file=-", "--pathspec-file-nul"];
            self.git.with_input(&self.worktree, &environment, &add, paths.as_bytes()).await?;
        }
        // Leaving them out with a pathspec fails where they are ignored as well.
        git(&["reset", "-q", "--no-refresh", base.as_str(), "--", context::FOLDER]).await?;
        let diff = git(&["diff-index", "--cached", "--raw", "-z", "--no-renames", base.as_str()]).await?;
        let (changed, foreign) = changes(&diff);
        if !foreign.is_empty() {
            let paths = foreign.join("\0") + "\0";
            let remove = ["update-index", "--force-remove", "-z", "--stdin"];
            self.git.with_input(&self.worktree, &environment, &remove, paths.as_bytes()).await?;
        }
        let tree = git(&["write-tree"]).await?.trim().to_owned();
        Ok(Staged { tree, objects: folder.join("objects"), changed })
    }

    /// Commits what was staged.
    ///
    /// # Errors
    /// When Git fails.
    pub(crate) async fn commit(
        &self,
        staged: &Staged,
        base: &CommitSha,
        message: &Message,
    ) -> Result<Commits, GitError> {
        kill_descendants().await;
        let folder = self.fresh(base).await?;
        borrow(&folder, &[&self.git_folder.join("objects"), &staged.objects])?;
        let head = self.commit_tree(&folder, &staged.tree, base, message).await?;
        Ok(Commits { folder, head })
    }

    /// Adds a commit with one file on top.
    ///
    /// # Errors
    /// When Git fails.
    pub(crate) async fn commit_file(
        &self,
        commits: &mut Commits,
        path: &str,
        content: &[u8],
        message: &Message,
    ) -> Result<(), GitError> {
        let folder = commits.folder.as_path();
        let environment = [("GIT_DIR", folder)];
        self.git.local(folder, &environment, &["read-tree", commits.head.as_str()]).await?;
        let hash = ["hash-object", "-w", "--no-filters", "--stdin"];
        let blob = self.git.with_input(folder, &environment, &hash, content).await?;
        let entry = format!("100644,{},{path}", blob.trim());
        self.git.local(folder, &environment, &["update-index", "--add", "--cacheinfo", &entry]).await?;
        let tree = self.git.local(folder, &environment, &["write-tree"]).await?;
        commits.head = self.commit_tree(folder, tree.trim(), &commits.head, message).await?;
        Ok(())
    }

    async fn commit_tree(
        &self,
        folder: &Path,
        tree: &str,
        parent: &CommitSha,
        message: &Message,
    ) -> Result<CommitSha, GitError> {
        let arguments = ["commit-tree", tree, "-p", parent.as_str()];
        let text = message.text();
        let commit = self.git.with_input(folder, &[("GIT_DIR", folder)], &arguments, text.as_bytes()).await?;
        CommitSha::new(commit.trim()).map_err(|error| std::io::Error::other(error.to_string()).into())
    }

    /// Pushes the commits as a new branch. When an answer is lost, the branch is looked for before it is pushed again.
    ///
    /// # Errors
    /// [`FailureKind::PushRejected`], with what the remote said.
    pub(crate) async fn push(&self, commits: &Commits, branch: &str) -> Result<(), Stop> {
        let refspec = format!("{}:refs/heads/{branch}", commits.head);
        let lease = format!("--force-with-lease=refs/heads/{branch}:");
        let arguments = ["--git-dir", ".", "push", "--porcelain", "--no-verify", &lease, &self.url, &refspec];
        let mut last = String::new();
        for _ in 0..PUSHES {
            kill_descendants().await;
            let Err(error) = self.git.remote(&commits.folder, &arguments).await else { return Ok(()) };
            let heads = self.heads(&[branch]).await;
            if heads.as_ref().is_ok_and(|heads| heads.get(branch) == Some(&commits.head)) {
                tracing::warn!(%error, "the push arrived, but its answer did not");
                return Ok(());
            }
            last = said_by_remote(&error);
            if is_refusal(&error) || heads.is_ok_and(|heads| heads.contains_key(branch)) {
                break;
            }
            tracing::warn!(%error, "the push did not arrive");
            tokio::time::sleep(PAUSE).await;
        }
        Err(Stop::failed(
            FailureKind::PushRejected,
            format!("the repository did not take the branch `{branch}`: {last}"),
        ))
    }
}

/// Lets a Git folder use the objects of others.
fn borrow(folder: &Path, objects: &[&Path]) -> std::io::Result<()> {
    let info = folder.join("objects/info");
    std::fs::create_dir_all(&info)?;
    let lines: String = objects.iter().map(|path| format!("{}\n", path.display())).collect();
    std::fs::write(info.join("alternates"), lines)
}

/// The changed paths in a raw diff, and apart from them those of repositories that were put inside the worktree.
fn changes(diff: &str) -> (Vec<String>, Vec<String>) {
    let (mut changed, mut foreign) = (Vec::new(), Vec::new());
    let mut fields = diff.split('\0');
    // `:100644 100644 <old> <new> M`, then the path.
    while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
        let mut modes = meta.trim_start_matches(':').split(' ');
        let (old, new) = (modes.next(), modes.next());
        let list = if new == Some(GITLINK) && old != Some(GITLINK) { &mut foreign } else { &mut changed };
        list.push(path.to_owned());
    }
    changed.sort_unstable();
    changed.truncate(MAX_PATHS);
    (changed, foreign)
}

/// Whether the remote itself said no to the branch, so that asking again is of no use.
fn is_refusal(error: &GitError) -> bool {
    let says_no = |line: &str| line.starts_with("!\t") && !line.contains("[remote failure]");
    matches!(error, GitError::Failed { output, .. } if output.lines().any(says_no))
}

/// The remote's own words where there are some, else Git's.
fn said_by_remote(error: &GitError) -> String {
    let GitError::Failed { output, message } = error else { return error.to_string() };
    let remote = message.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim);
    let refused = output.lines().filter(|line| line.starts_with("!\t")).filter_map(|line| line.rsplit('\t').next());
    let words: Vec<&str> = remote.filter(|line| !line.is_empty()).chain(refused).collect();
    if words.is_empty() { message.clone() } else { words.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_diff_is_read() {
        let diff = ":100644 100644 aa bb M\0z.txt\0:000000 160000 00 cc A\0vendored\0:100644 000000 aa 00 D\0a b\0";
        let (changed, foreign) = changes(diff);
        assert_eq!(changed, ["a b", "z.txt"]);
        assert_eq!(foreign, ["vendored"]);
        assert_eq!(changes(""), (Vec::new(), Vec::new()));
    }

    #[test]
    fn the_remotes_words_come_first() {
        let error = GitError::Failed {
            output: "To http://h\n!\tabc:refs/heads/b\t[remote rejected] (pre-receive hook declined)\nDone\n".into(),
            message: "remote: protected branch\nerror: failed to push some refs".into(),
        };
        assert!(is_refusal(&error));
        assert_eq!(said_by_remote(&error), "protected branch; [remote rejected] (pre-receive hook declined)");
        let cut = GitError::Failed { output: String::new(), message: "fatal: the remote end hung up".into() };
        assert!(!is_refusal(&cut));
        assert_eq!(said_by_remote(&cut), "fatal: the remote end hung up");
    }

    #[test]
    fn a_message_has_its_trailers_last() {
        let message = Message { title: "T".into(), body: String::new(), trailers: vec!["A: 1".into(), "B: 2".into()] };
        assert_eq!(message.text(), "T\n\nA: 1\nB: 2\n");
    }
}
