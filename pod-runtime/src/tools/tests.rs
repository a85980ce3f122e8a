use serde_json::json;

use super::*;
use crate::control_plane::ControlPlane;
use crate::process::ONE_AT_A_TIME;

/// A repository with some files, one of which Git ignores.
struct World {
    _folder: tempfile::TempDir,
    repository: Repository,
    surroundings: Surroundings,
}

impl World {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("pod")).unwrap();
        let control_plane = ControlPlane::nowhere();
        let repository = Repository::prepare(folder.path(), "/usr/bin:/bin", &control_plane).unwrap();
        let root = repository.worktree();
        for (path, text) in [
            ("a.txt", "one\ntwo\nthree\ntwo\n"),
            ("src/lib.rs", "fn lib() {}\n"),
            ("ignored", "x"),
            (".gitignore", "ignored\n"),
            ("long.txt", &"line\n".repeat(5_000)),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::write(root.join("binary"), b"a\0b").unwrap();
        let git = std::process::Command::new("git").args(["init", "-q"]).current_dir(root).status().unwrap();
        assert!(git.success());
        let surroundings = Surroundings { path: "/usr/bin:/bin".into(), home: folder.path().into() };
        Self { _folder: folder, repository, surroundings }
    }

    fn toolbox(&self) -> Toolbox<'_> {
        let all = definitions().iter().map(|tool| tool.name.to_owned()).collect();
        Toolbox::new(&self.repository, all, self.surroundings.clone(), Duration::from_secs(30)).unwrap()
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.repository.worktree().join(path)).unwrap()
    }
}

async fn ok(toolbox: &mut Toolbox<'_>, tool: &str, input: Value) -> String {
    let result = toolbox.call(tool, &input).await.unwrap();
    assert!(result.ok, "{tool} {input}: {}", result.text);
    result.text
}

async fn wrong(toolbox: &mut Toolbox<'_>, tool: &str, input: Value) -> String {
    let result = toolbox.call(tool, &input).await.unwrap();
    assert!(!result.ok, "{tool} {input}: {}", result.text);
    result.text
}

#[tokio::test]
async fn files_are_listed_and_searched_without_those_that_git_ignores() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::new();
    let mut tools = world.toolbox();
    let all = ok(&mut tools, "list_files", json!({})).await;
    assert_eq!(all, ".gitignore\na.txt\nbinary\nlong.txt\nsrc/lib.rs");
    assert_eq!(ok(&mut tools, "list_files", json!({ "path": "src" })).await, "src/lib.rs");
    assert_eq!(ok(&mut tools, "list_files", json!({ "pattern": "*.rs" })).await, "src/lib.rs");
    assert_eq!(ok(&mut tools, "list_files", json!({ "pattern": "*.c" })).await, "(no files)");
    assert!(wrong(&mut tools, "list_files", json!({ "path": "nowhere" })).await.contains("there is no `nowhere`"));
    assert_eq!(ok(&mut tools, "search_files", json!({ "pattern": "^t[wx]o$" })).await, "a.txt:2: two\na.txt:4: two");
    assert_eq!(
        ok(&mut tools, "search_files", json!({ "pattern": "lib(", "path": "src" })).await,
        "src/lib.rs:1: fn lib() {}"
    );
    assert!(
        ok(&mut tools, "search_files", json!({ "pattern": "line" }))
            .await
            .ends_with("(4800 more matches; search more closely)")
    );
}

#[tokio::test]
async fn reading_is_bounded_and_can_go_on() {
    let world = World::new();
    let mut tools = world.toolbox();
    assert_eq!(ok(&mut tools, "read_file", json!({ "path": "a.txt" })).await, "one\ntwo\nthree\ntwo\n");
    let part = ok(&mut tools, "read_file", json!({ "path": "a.txt", "offset": 2, "limit": 2 })).await;
    assert_eq!(part, "two\nthree\n\n[… of 4 lines; read on with offset=4]");
    let long = ok(&mut tools, "read_file", json!({ "path": "long.txt" })).await;
    assert!(long.ends_with("[… of 5000 lines; read on with offset=2001]"));
    for (path, problem) in [("binary", "is no text"), ("src", "is a folder"), ("none", "cannot be read")] {
        assert!(wrong(&mut tools, "read_file", json!({ "path": path })).await.contains(problem));
    }
}

#[tokio::test]
async fn writing_makes_folders_and_editing_wants_exactly_one_place() {
    let world = World::new();
    let mut tools = world.toolbox();
    ok(&mut tools, "write_file", json!({ "path": "new/deep/file", "content": "x" })).await;
    assert_eq!(world.read("new/deep/file"), "x");
    assert!(wrong(&mut tools, "write_file", json!({ "path": "src", "content": "x" })).await.contains("is no file"));
    let edit = |old: &str, new: &str| json!({ "path": "a.txt", "old_text": old, "new_text": new });
    assert!(wrong(&mut tools, "edit_file", edit("two", "2")).await.contains("occurs 2 times"));
    assert!(wrong(&mut tools, "edit_file", edit("four", "4")).await.contains("does not occur"));
    assert!(wrong(&mut tools, "edit_file", edit("", "4")).await.contains("is empty"));
    assert!(wrong(&mut tools, "edit_file", edit("one", "one")).await.contains("are the same"));
    assert_eq!(world.read("a.txt"), "one\ntwo\nthree\ntwo\n");
    ok(&mut tools, "edit_file", edit("three\ntwo", "3")).await;
    assert_eq!(world.read("a.txt"), "one\ntwo\n3\n");
}

#[tokio::test]
async fn a_link_that_leads_out_is_neither_read_nor_written_nor_searched() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "two secrets").unwrap();
    std::os::unix::fs::symlink(outside.path(), world.repository.worktree().join("out")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), world.repository.worktree().join("file")).unwrap();
    let mut tools = world.toolbox();
    assert!(
        wrong(&mut tools, "read_file", json!({ "path": "out/secret" })).await.contains("outside of the repository")
    );
    assert!(wrong(&mut tools, "write_file", json!({ "path": "file", "content": "x" })).await.contains("outside"));
    assert!(!ok(&mut tools, "search_files", json!({ "pattern": "two" })).await.contains("secret"));
    assert!(tools.call("edit_file", &json!({ "path": "file", "old_text": "two", "new_text": "2" })).await.is_err());
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "two secrets");
}

#[tokio::test]
async fn a_commands_status_and_output_are_told() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::new();
    let mut tools = world.toolbox();
    assert_eq!(ok(&mut tools, "run_command", json!({ "command": "head -1 a.txt" })).await, "exit status: 0\none\n");
    assert_eq!(wrong(&mut tools, "run_command", json!({ "command": "echo no; exit 7" })).await, "exit status: 7\nno\n");
    let slow = json!({ "command": "sleep 98760", "timeout_seconds": 1 });
    assert_eq!(wrong(&mut tools, "run_command", slow).await, "timed out after 1 s and was killed\n");
}
