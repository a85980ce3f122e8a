//! Paths confined to the worktree.
//!
//! Guarantees: a resolved path is below the root once every symbolic link on it is followed, and never in Git's folder.
//! Resolving and using a path are two steps: that is sound because no process of the agent is alive while a file tool
//! works.

use std::io;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Why a path is not taken.
#[derive(Debug, Error)]
pub(crate) enum PlaceError {
    #[error("`{0}` is outside of the repository: use paths relative to it, without `..`, and not into `.git`")]
    Escape(String),
    #[error("`{0}` cannot be resolved: {1}")]
    Broken(String, #[source] io::Error),
}

/// The worktree.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.canonicalize()? })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path leads. What does not exist yet is resolved as far as it does.
    pub(super) fn resolve(&self, path: &str) -> Result<PathBuf, PlaceError> {
        let escape = || PlaceError::Escape(path.to_owned());
        if path.contains('\0') {
            return Err(escape());
        }
        // Models like whole paths; one into the worktree means the same as the relative one.
        let asked = Path::new(path);
        let relative = asked.strip_prefix(&self.root).unwrap_or(asked);
        let mut resolved = self.root.clone();
        for component in relative.components() {
            match component {
                Component::CurDir => continue,
                Component::Normal(name) if !name.eq_ignore_ascii_case(".git") => resolved.push(name),
                _ => return Err(escape()),
            }
            match resolved.symlink_metadata() {
                Ok(meta) if meta.is_symlink() => {
                    resolved = resolved.canonicalize().map_err(|error| PlaceError::Broken(path.to_owned(), error))?;
                    if !self.contains(&resolved) {
                        return Err(escape());
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(PlaceError::Broken(path.to_owned(), error)),
            }
        }
        Ok(resolved)
    }

    fn contains(&self, resolved: &Path) -> bool {
        let is_git = |part: Component<'_>| part.as_os_str().eq_ignore_ascii_case(".git");
        resolved.strip_prefix(&self.root).is_ok_and(|inside| !inside.components().any(is_git))
    }

    /// The path as the agent writes it.
    pub(super) fn relative(&self, resolved: &Path) -> String {
        resolved.strip_prefix(&self.root).unwrap_or(resolved).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_path_leads_out() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().canonicalize().unwrap().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir(root.join(".git")).unwrap();
        std::fs::write(outer.path().join("secret"), "s").unwrap();
        symlink("../secret", root.join("file_out")).unwrap();
        symlink("../..", root.join("a/folder_out")).unwrap();
        symlink("/etc", root.join("absolute_out")).unwrap();
        symlink(".git", root.join("git_link")).unwrap();
        symlink("a/b", root.join("inside")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("../not_there", root.join("dangling")).unwrap();
        let place = Place::new(&root).unwrap();
        for escape in [
            "..",
            "../secret",
            "a/../../secret",
            "a/../b",
            "/etc/passwd",
            ".git",
            ".git/config",
            "a/.GIT/config",
            "file_out",
            "a/folder_out/secret",
            "absolute_out/passwd",
            "absolute_out/new_file",
            "git_link/config",
            "nul\0",
        ] {
            assert!(matches!(place.resolve(escape), Err(PlaceError::Escape(_))), "{escape}");
        }
        for broken in ["loop", "dangling", "dangling/x"] {
            assert!(matches!(place.resolve(broken), Err(PlaceError::Broken(..))), "{broken}");
        }
        assert_eq!(place.resolve("inside/new").unwrap(), root.join("a/b/new"));
        assert_eq!(place.resolve("./a//b").unwrap(), root.join("a/b"));
        assert_eq!(place.resolve("new/deep/file").unwrap(), root.join("new/deep/file"));
        assert_eq!(place.resolve(".").unwrap(), root);
        assert_eq!(place.resolve(".gitignore").unwrap(), root.join(".gitignore"));
        assert_eq!(place.resolve(root.join("a").to_str().unwrap()).unwrap(), root.join("a"));
    }
}
