//! One bare repository on the disk, and how Git is called for it.
//!
//! Guarantees: Git sees one configuration only, the host's own; hooks record what pushes changed and refuse them on
//! request. Never: reads configuration from outside the host's folder.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{GitHostError, Push};

const CONFIGURATION: &str = "host.gitconfig";
const HOOKS: &str = "hooks";

/// Refuses every push while there is a refusal to show.
const PRE_RECEIVE: &str = "#!/bin/sh
if [ -f \"$AGENTWORKS_RECORD.refusal\" ]; then cat \"$AGENTWORKS_RECORD.refusal\" >&2; exit 1; fi
";

/// Records what a push has changed.
const POST_RECEIVE: &str = "#!/bin/sh
while read -r change; do printf '%s\\n' \"$change\" >>\"$AGENTWORKS_RECORD.pushes\"; done
";

/// Variables by which a caller's own Git could reach into ours.
const FOREIGN: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
];

/// Writes the one configuration that the host's Git reads, and the hooks that it runs.
pub(super) fn write_configuration(root: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(
        root.join(CONFIGURATION),
        "[safe]\n\tdirectory = *\n[http]\n\tuploadpack = true\n\treceivepack = true\n\
         [uploadpack]\n\tallowFilter = true\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n",
    )?;
    let hooks = root.join(HOOKS);
    fs::create_dir_all(&hooks)?;
    for (name, script) in [("pre-receive", PRE_RECEIVE), ("post-receive", POST_RECEIVE)] {
        let path = hooks.join(name);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// `git http-backend` for a repository, with the host's hooks in place of the repository's own.
pub(super) fn http_backend(root: &Path, name: &str) -> Command {
    let mut command = git(root);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.hooksPath")
        .env("GIT_CONFIG_VALUE_0", root.join(HOOKS))
        .env("AGENTWORKS_RECORD", root.join(name));
    command
}

/// Git, shielded from the configuration of the user and the machine.
fn git(root: &Path) -> Command {
    let mut command = Command::new("git");
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
        .current_dir(root)
        .env("HOME", root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", root.join(CONFIGURATION))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .kill_on_drop(true);
    command
}

/// Whether this may name a repository; such a name is also a safe file name.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty()
        && name.len() <= 100
        && name.chars().all(allowed)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
}

/// A bare repository below the host's folder.
#[derive(Debug)]
pub(super) struct Repository {
    root: PathBuf,
    name: String,
    path: PathBuf,
}

impl Repository {
    /// A repository that is there.
    pub(super) fn open(root: &Path, name: &str) -> Result<Self, GitHostError> {
        let path = root.join(format!("{name}.git"));
        if is_name(name) && path.join("HEAD").is_file() {
            Ok(Self { root: root.to_owned(), name: name.to_owned(), path })
        } else {
            Err(GitHostError::Unknown(name.to_owned()))
        }
    }

    /// A place for a repository that is not there yet.
    pub(super) fn new_name(root: &Path, name: &str) -> Result<Self, GitHostError> {
        if !is_name(name) {
            return Err(GitHostError::Name(name.to_owned()));
        }
        let path = root.join(format!("{name}.git"));
        if path.exists() {
            return Err(GitHostError::Exists(name.to_owned()));
        }
        Ok(Self { root: root.to_owned(), name: name.to_owned(), path })
    }

    /// Makes it, with one commit.
    pub(super) async fn create(&self, files: &[(&str, &str, bool)]) -> Result<(), GitHostError> {
        let mut init = git(&self.root);
        init.args(["init", "--quiet", "--bare", "--template=", "--initial-branch=main"]);
        run("init", init.arg(&self.path), None).await?;
        let commit = first_commit(files);
        self.git("fast-import", &["--quiet"], Some(&commit)).await?;
        Ok(())
    }

    /// Makes it as a copy that knows nothing of its source.
    pub(super) async fn adopt(&self, source: &str) -> Result<(), GitHostError> {
        // Git runs in the host's folder, so a path is made independent of where the caller is.
        let local = fs::canonicalize(source).ok();
        let source = local.as_ref().map_or(OsStr::new(source), |path| path.as_os_str());
        let mut clone = git(&self.root);
        clone.args(["clone", "--quiet", "--bare", "--template=", "--no-hardlinks", "--"]);
        run("clone", clone.arg(source).arg(&self.path), None).await?;
        self.git("config", &["--remove-section", "remote.origin"], None).await?;
        Ok(())
    }

    /// Makes it a name for a repository elsewhere: a bare one, or one with a checkout.
    pub(super) async fn serve(&self, source: &Path) -> Result<(), GitHostError> {
        let mut find = git(&self.root);
        find.current_dir(source).args(["rev-parse", "--absolute-git-dir"]);
        // Nothing above the folder that was named is meant.
        if let Some(above) = source.parent() {
            find.env("GIT_CEILING_DIRECTORIES", above);
        }
        let found = run("rev-parse", &mut find, None).await?;
        std::os::unix::fs::symlink(found.trim_end_matches('\n'), &self.path)?;
        Ok(())
    }

    pub(super) async fn default_branch(&self) -> Result<String, GitHostError> {
        let name = self.git("symbolic-ref", &["--short", "HEAD"], None).await?;
        Ok(name.trim_end().to_owned())
    }

    pub(super) fn pushes(&self) -> Result<Vec<Push>, GitHostError> {
        let record = match fs::read_to_string(self.beside("pushes")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        Ok(record.lines().filter_map(parse_push).collect())
    }

    pub(super) fn refuse_pushes(&self, message: Option<&str>) -> Result<(), GitHostError> {
        let path = self.beside("refusal");
        match message {
            Some(message) => fs::write(path, format!("{message}\n"))?,
            None if path.exists() => fs::remove_file(path)?,
            None => {}
        }
        Ok(())
    }

    /// A file beside the repository.
    fn beside(&self, what: &str) -> PathBuf {
        self.root.join(format!("{}.{what}", self.name))
    }

    async fn git(
        &self,
        action: &'static str,
        arguments: &[&str],
        input: Option<&[u8]>,
    ) -> Result<String, GitHostError> {
        let mut command = git(&self.root);
        command.arg("--git-dir").arg(&self.path).arg(action);
        run(action, command.args(arguments), input).await
    }
}

fn parse_push(line: &str) -> Option<Push> {
    let mut words = line.splitn(3, ' ').map(str::to_owned);
    let (old, new, reference) = (words.next()?, words.next()?, words.next()?);
    Some(Push { reference, old, new })
}

/// The first commit, in the language of `git fast-import`.
fn first_commit(files: &[(&str, &str, bool)]) -> Vec<u8> {
    const WHO: &str = "AgentWorks demo <demo@agentworks.invalid> 1750000000 +0000";
    const MESSAGE: &str = "First commit\n";
    let mut stream =
        format!("commit refs/heads/main\nauthor {WHO}\ncommitter {WHO}\ndata {}\n{MESSAGE}\n", MESSAGE.len());
    for (path, content, executable) in files {
        let mode = if *executable { "100755" } else { "100644" };
        let quoted = path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        stream += &format!("M {mode} inline \"{quoted}\"\ndata {}\n{content}\n", content.len());
    }
    stream.into_bytes()
}

/// Runs Git to its end; its output, or what it complained about.
async fn run(action: &'static str, command: &mut Command, input: Option<&[u8]>) -> Result<String, GitHostError> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A child that ends early says why itself, below.
        let _ = stdin.write_all(input).await;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(GitHostError::Git { action, message })
}
