use std::path::Path;
use std::process::Output;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;
use tokio::process::Command;

use super::*;

struct Setup {
    host: GitHost,
    folder: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = GitHost::start(folder.path().join("host")).unwrap();
        let files = [("README.md", "hello\n", false), ("bin/a \"b\"", "#!/bin/sh\n", true)];
        host.create_repository("sample", &files).await.unwrap();
        Self { host, folder }
    }

    fn token(&self, access: Access) -> String {
        self.host.issue_token("sample", access, None).unwrap()
    }

    async fn git(&self, token: &str, arguments: &[&str]) -> Output {
        git(self.folder.path(), token, arguments).await
    }

    async fn clone(&self, token: &str) -> Output {
        let url = self.host.url("sample");
        self.git(token, &["clone", "--quiet", &url, "clone"]).await
    }

    /// Commits a file in the clone.
    async fn commit(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder.path().join("clone").join(name), content).unwrap();
        assert_ok(&self.git("", &["-C", "clone", "add", name]).await);
        assert_ok(&self.git("", &["-C", "clone", "commit", "--quiet", "-m", name]).await);
    }

    async fn push(&self, token: &str) -> Output {
        self.git(token, &["-C", "clone", "push", "origin", "HEAD:refs/heads/aw/1"]).await
    }
}

/// The real git, as a user would call it, with a token in a header.
fn as_user(folder: &Path, token: &str, arguments: &[&str]) -> Command {
    let encoded = BASE64_STANDARD.encode(format!("x-access-token:{token}"));
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "true")
        .arg("-c")
        .arg(format!("http.extraHeader=Authorization: Basic {encoded}"))
        .args(["-c", "user.name=T", "-c", "user.email=t@example.invalid"])
        .args(arguments);
    command
}

async fn git(folder: &Path, token: &str, arguments: &[&str]) -> Output {
    as_user(folder, token, arguments).output().await.unwrap()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_ok(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

#[tokio::test]
async fn clones_and_pushes_with_a_token_and_counts_the_push() {
    let setup = Setup::new().await;
    let token = setup.token(Access::ReadWrite);
    assert_ok(&setup.clone(&token).await);
    let script = setup.folder.path().join("clone/bin/a \"b\"");
    let mode = std::os::unix::fs::PermissionsExt::mode(&script.metadata().unwrap().permissions());
    assert_eq!(mode & 0o111, 0o111);
    assert!(setup.host.pushes("sample").unwrap().is_empty());

    // More than git's post buffer of 1 MiB, and incompressible: a chunked upload without a length.
    let noise = noise(3 << 20);
    setup.commit("noise", &noise).await;
    assert_ok(&setup.push(&token).await);

    let head = setup.git("", &["-C", "clone", "rev-parse", "HEAD"]).await;
    let pushes = setup.host.pushes("sample").unwrap();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].reference, "refs/heads/aw/1");
    assert_eq!(pushes[0].old, "0".repeat(40));
    assert_eq!(pushes[0].new, String::from_utf8_lossy(&head.stdout).trim());
    // Pushing the same again changes nothing and counts nothing.
    assert_ok(&setup.push(&token).await);
    assert_eq!(setup.host.pushes("sample").unwrap().len(), 1);
    // A second clone sees it, and a host started anew on the same folder knows it.
    assert_ok(&setup.git(&token, &["clone", "-q", "-b", "aw/1", &setup.host.url("sample"), "again"]).await);
    let again = GitHost::start(setup.folder.path().join("host")).unwrap();
    assert_eq!(again.pushes("sample").unwrap(), pushes);
}

#[tokio::test]
async fn gzip_encoded_requests_are_understood() {
    let setup = Setup::new().await;
    let token = setup.token(Access::ReadOnly);
    // Git compresses what it has when that is long: here, a history that the host does not know.
    assert_ok(&setup.git("", &["init", "-q", "mine"]).await);
    let mine = setup.folder.path().join("mine");
    for number in 0..40 {
        let message = number.to_string();
        assert_ok(&git(&mine, "", &["commit", "-q", "--allow-empty", "-m", &message]).await);
    }
    let trace = setup.folder.path().join("trace");
    let url = setup.host.url("sample");
    let fetch = as_user(&mine, &token, &["fetch", "-q", &url, "main"]).env("GIT_TRACE_CURL", &trace).output().await;
    assert_ok(&fetch.unwrap());
    let trace = std::fs::read_to_string(trace).unwrap().to_lowercase();
    assert!(trace.contains("content-encoding: gzip"), "git compressed nothing");
}

#[tokio::test]
async fn bad_expired_revoked_and_foreign_tokens_are_refused_alike() {
    let setup = Setup::new().await;
    setup.host.create_repository("other", &[("a", "a", false)]).await.unwrap();
    let foreign = setup.host.issue_token("other", Access::ReadWrite, None).unwrap();
    let expired = setup.host.issue_token("sample", Access::ReadWrite, Some(Duration::ZERO)).unwrap();
    let revoked = setup.token(Access::ReadWrite);
    setup.host.revoke_token(&revoked);
    for token in ["nonsense", "", &expired, &revoked, &foreign] {
        let refused = setup.clone(token).await;
        assert!(!refused.status.success());
        assert!(stderr(&refused).contains("Authentication failed"), "{}", stderr(&refused));
    }
    let unknown = setup.git(&foreign, &["clone", "-q", &setup.host.url("absent"), "x"]).await;
    assert!(stderr(&unknown).contains("Authentication failed"), "{}", stderr(&unknown));
    let outside = setup.git(&foreign, &["clone", "-q", &setup.host.url("../host/other"), "x"]).await;
    assert!(!outside.status.success());
}

#[tokio::test]
async fn a_reading_token_cannot_push() {
    let setup = Setup::new().await;
    let token = setup.token(Access::ReadOnly);
    assert_ok(&setup.clone(&token).await);
    setup.commit("a", b"a").await;
    let refused = setup.push(&token).await;
    assert!(stderr(&refused).contains("403"), "{}", stderr(&refused));
    assert!(setup.host.pushes("sample").unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_push_shows_the_message_and_counts_nothing() {
    let setup = Setup::new().await;
    let token = setup.token(Access::ReadWrite);
    assert_ok(&setup.clone(&token).await);
    setup.commit("a", b"a").await;
    setup.host.refuse_pushes("sample", Some("the branch is frozen")).unwrap();
    let refused = setup.push(&token).await;
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("the branch is frozen"), "{}", stderr(&refused));
    assert!(setup.host.pushes("sample").unwrap().is_empty());
    setup.host.refuse_pushes("sample", None).unwrap();
    assert_ok(&setup.push(&token).await);
    assert_eq!(setup.host.pushes("sample").unwrap().len(), 1);
}

#[tokio::test]
async fn faults_happen_as_often_as_told() {
    let setup = Setup::new().await;
    let token = setup.token(Access::ReadWrite);
    setup.host.inject(None, Fault::Status(500), 1);
    assert!(stderr(&setup.clone(&token).await).contains("500"));
    setup.host.inject(None, Fault::Delay(Duration::from_millis(1)), 1);
    assert_ok(&setup.clone(&token).await);

    // A push whose answer is lost has still happened.
    setup.commit("a", b"a").await;
    setup.host.inject(Some(Operation::Push), Fault::LoseAnswer, 1);
    assert!(!setup.push(&token).await.status.success());
    assert_eq!(setup.host.pushes("sample").unwrap().len(), 1);
}

#[tokio::test]
async fn stopping_cuts_a_hanging_request() {
    let mut setup = Setup::new().await;
    let token = setup.token(Access::ReadOnly);
    setup.host.inject(None, Fault::Hang, 1);
    let url = setup.host.url("sample");
    let folder = setup.folder.path().to_owned();
    let clone = tokio::spawn(async move { git(&folder, &token, &["clone", "-q", &url, "c"]).await });
    setup.host.wait_until_hanging(1).await;
    setup.host.stop();
    assert!(!clone.await.unwrap().status.success());
    let address = setup.host.server.address();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn adopts_a_copy_of_another_repository_or_serves_it_in_place() {
    let setup = Setup::new().await;
    let source = setup.folder.path().join("source");
    assert_ok(&setup.git("", &["init", "-q", "-b", "trunk", "source"]).await);
    let hook = source.join(".git/hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_ok(&git(&source, "", &["commit", "-q", "--allow-empty", "-m", "one"]).await);
    let path = source.to_str().unwrap();
    setup.host.adopt_repository("adopted", path).await.unwrap();
    assert_eq!(setup.host.default_branch("adopted").await.unwrap(), "trunk");

    let token = setup.host.issue_token("adopted", Access::ReadWrite, None).unwrap();
    assert_ok(&setup.git(&token, &["clone", "-q", &setup.host.url("adopted"), "clone"]).await);
    setup.commit("a", b"a").await;
    assert_ok(&setup.push(&token).await);
    let branches = git(&source, "", &["branch", "--list", "aw/*"]).await;
    assert!(branches.stdout.is_empty(), "the source was changed");

    // Served in place, the source gets the push itself, and its own hooks stay out of it.
    setup.host.serve_repository("served", &source).await.unwrap();
    let token = setup.host.issue_token("served", Access::ReadWrite, None).unwrap();
    assert_ok(&setup.git(&token, &["-C", "clone", "push", "-q", &setup.host.url("served"), "HEAD:aw/2"]).await);
    let branches = git(&source, "", &["branch", "--list", "aw/*"]).await;
    assert!(String::from_utf8_lossy(&branches.stdout).contains("aw/2"));
    assert_eq!(setup.host.pushes("served").unwrap().len(), 1);
    let below = source.join("below");
    std::fs::create_dir(&below).unwrap();
    assert!(setup.host.serve_repository("below", &below).await.is_err());

    let exists = setup.host.adopt_repository("adopted", path).await;
    assert!(matches!(exists, Err(GitHostError::Exists(_))));
    let absent = setup.host.adopt_repository("x", "no/such/place").await;
    assert!(matches!(absent, Err(GitHostError::Git { action: "clone", .. })));
    let unfit = setup.host.create_repository("../x", &[]).await;
    assert!(matches!(unfit, Err(GitHostError::Name(_))));
}
