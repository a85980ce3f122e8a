//! The demo is the main job.

use std::process::Command;

use crate::support::{executable, git};

fn demo(data: &std::path::Path, args: &[&str]) -> (bool, String) {
    let output = Command::new(executable())
        .arg("demo")
        .args(args)
        .env("AGENTWORKS_DATA_DIR", data)
        .env("AGENTWORKS_HTTP__ADDRESS", "127.0.0.1:0")
        .env_remove("DATABASE_URL")
        .env_remove("NATS_URL")
        .env_remove("ANTHROPIC_API_KEY")
        .env_remove("OPENAI_API_KEY")
        .output()
        .expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

#[test]
fn the_demo_runs_three_cards_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (well, said) = demo(&folder.path().join("data"), &[]);
        assert!(well, "{said}");
        assert_eq!(said.matches("git finds").count(), 3, "{said}");
        assert!(!said.contains('\u{1b}'), "no escape codes when piped");
    }
}

#[test]
fn the_demo_works_on_a_repository_that_was_not_written_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (work, bare) = (folder.path().join("work"), folder.path().join("theirs.git"));
    std::fs::create_dir_all(work.join("tests")).unwrap();
    std::fs::write(work.join("adder.py"), "def add(a, b):\n    return a + b\n").unwrap();
    let test = "import unittest\nfrom adder import add\n\nclass AddTest(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(2, 3), 5)\n";
    std::fs::write(work.join("tests/test_adder.py"), test).unwrap();
    std::fs::write(work.join("tests/__init__.py"), "").unwrap();
    let run = |program: &str, args: &[&str]| {
        let status = Command::new(program).args(args).current_dir(&work).status().unwrap();
        assert!(status.success(), "{args:?}");
    };
    run("git", &["init", "-q", "-b", "trunk"]);
    run("git", &["add", "."]);
    run("git", &["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", "First"]);
    run("git", &["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let (well, said) = demo(&folder.path().join("data"), &["--repo", bare.to_str().unwrap()]);
    assert!(well, "{said}");
    let branches = git(&bare, &["for-each-ref", "--format=%(refname:short)", "refs/heads/aw"]);
    assert_eq!(branches.lines().count(), 3, "{branches}");
    let record = branches.lines().find_map(|branch| {
        let files = git(&bare, &["ls-tree", "-r", "--name-only", branch]);
        files
            .contains("docs/agentworks/TESTING.md")
            .then(|| git(&bare, &["show", &format!("{branch}:docs/agentworks/TESTING.md")]))
    });
    let record = record.expect("a branch has the record of the tests");
    assert!(record.contains("unittest") || record.contains("pytest"), "{record}");
    assert!(record.to_lowercase().contains("passed") || record.contains("OK"), "{record}");
}

#[test]
fn a_repository_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (well, said) = demo(&folder.path().join("data"), &["--repo", "/nowhere/at/all.git"]);
    assert!(!well);
    assert!(said.contains("/nowhere/at/all.git"), "{said}");
}
