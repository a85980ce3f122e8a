//! How the pod comes to life: what it is told on standard input, and what it makes of its own process.
//!
//! Guarantees: once it has the token, no process of the same user may read its memory or trace it; whatever its commands
//! leave behind becomes its own child, so that it can be found and killed. The environment is read here and nowhere else.

use std::io::BufRead;
use std::path::PathBuf;

use schemas::pod::Boot;
use thiserror::Error;

use crate::secret::PodToken;

/// The longest boot line.
const LINE_BYTES: u64 = 64 * 1024;
/// Where commands are looked for when the pod was not told.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the pod cannot start.
#[derive(Debug, Error)]
pub(crate) enum BootError {
    #[error("standard input cannot be read: {0}")]
    Input(#[source] std::io::Error),
    #[error("standard input holds no boot line: {0}")]
    Line(#[source] serde_json::Error),
    #[error("the boot line's token is empty or no header value")]
    Token,
    #[error("the workspace `{0}` is not a folder: {1}")]
    Workspace(String, #[source] std::io::Error),
    #[error("this process cannot be shielded: {0}")]
    Shield(#[source] std::io::Error),
}

/// What the pod was told, checked.
pub(crate) struct Told {
    /// The control plane's pod address, without a slash at the end.
    pub(crate) control_plane: String,
    pub(crate) token: PodToken,
    /// The workspace, with no symbolic link in it.
    pub(crate) workspace: PathBuf,
    pub(crate) traceparent: Option<String>,
    pub(crate) traces: bool,
    /// Where commands are looked for.
    pub(crate) path: String,
}

/// Reads the boot line.
pub(crate) fn read(input: impl BufRead) -> Result<Told, BootError> {
    let mut line = String::new();
    input.take(LINE_BYTES).read_line(&mut line).map_err(BootError::Input)?;
    let boot: Boot = serde_json::from_str(&line).map_err(BootError::Line)?;
    let workspace =
        std::fs::canonicalize(&boot.workspace).map_err(|error| BootError::Workspace(boot.workspace.clone(), error))?;
    Ok(Told {
        control_plane: boot.control_plane.trim_end_matches('/').to_owned(),
        token: PodToken::new(boot.token).ok_or(BootError::Token)?,
        workspace,
        traceparent: boot.traceparent,
        traces: boot.traces,
        path: search_path(),
    })
}

#[expect(clippy::disallowed_methods, reason = "the pod's one look at its environment")]
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned())
}

/// Closes this process to others, and makes it the heir of what its commands leave behind.
pub(crate) fn shield() -> Result<(), BootError> {
    use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| BootError::Shield(error.into()))?;
    set_child_subreaper(Some(getpid())).map_err(|error| BootError::Shield(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_line_is_read_and_checked() {
        let line = |token: &str, workspace: &str| {
            format!(
                r#"{{"control_plane":"http://h/","token":"{token}","workspace":"{workspace}","traceparent":null,"traces":false}}"#
            )
        };
        let told = read(line("t", "/").as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(told.control_plane, "http://h");
        assert!(matches!(read(line("", "/").as_bytes()), Err(BootError::Token)));
        assert!(matches!(read(line("t", "/no/such").as_bytes()), Err(BootError::Workspace(..))));
        assert!(matches!(read(b"nonsense\n".as_slice()), Err(BootError::Line(_))));
        assert!(matches!(read(b"".as_slice()), Err(BootError::Line(_))));
    }
}
