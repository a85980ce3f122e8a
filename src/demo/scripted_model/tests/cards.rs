//! The demo's cards, done from the first request to the last.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::agent::{End, TOOLS, work};
use super::*;
use crate::demo::sample_repository::{self, DemoCard};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn sample() -> TempDir {
    let files: Vec<_> = sample_repository::files().into_iter().map(|(path, text, _)| (path, text)).collect();
    folder(&files)
}

async fn card(protocol: Protocol, card: &DemoCard, folder: &Path) -> End {
    let task = format!("You work on a card.\n\n# {}\n\n{}", card.title, card.description);
    work(protocol, &TOOLS, folder, &task).await
}

fn text(folder: &TempDir, path: &str) -> String {
    fs::read_to_string(folder.path().join(path)).unwrap()
}

#[tokio::test]
async fn does_the_cards_of_the_sample_repository() {
    for protocol in [Protocol::Anthropic, Protocol::OpenAi] {
        let folder = sample();
        let [repair, manual, record] = sample_repository::cards();
        let end = card(protocol, &repair, folder.path()).await;
        assert_eq!(end.success, Some(true), "{end:?}");
        assert!(end.summary.contains("passed"), "{end:?}");
        assert_eq!(text(&folder, "tests/run.sh"), sample_repository::files()[3].1);

        assert_eq!(card(protocol, &manual, folder.path()).await.success, Some(true));
        let manual = text(&folder, "docs/GREET.md");
        assert!(manual.contains("usage: greet") && manual.contains("Hello, Ada, Grace and Linus!"), "{manual}");

        assert_eq!(card(protocol, &record, folder.path()).await.success, Some(true));
        let record = text(&folder, "docs/TESTING.md");
        assert!(record.contains("`sh tests/run.sh`") && record.contains("5 of 5 tests passed"), "{record}");
    }
}

#[tokio::test]
async fn records_a_failing_test_as_failing() {
    let folder = sample();
    let [_, _, record] = sample_repository::cards();
    let end = card(Protocol::Anthropic, &record, folder.path()).await;
    assert!(end.summary.contains("failed (exit status 1)"), "{end:?}");
    let record = text(&folder, "docs/TESTING.md");
    assert!(record.contains("failed (exit status 1)") && record.contains("4 of 5 tests passed"), "{record}");
}

#[tokio::test]
async fn does_the_generic_cards_on_a_project_that_it_has_never_seen() {
    const TEST: &str =
        "import unittest\nclass T(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(1, 1)\n";
    let folder = folder(&[
        ("README.rst", "Something\n=========\n\nA library.\n"),
        ("something/__init__.py", ""),
        ("tests/test_something.py", TEST),
        ("docs/agentworks/OVERVIEW.md", "already here"),
    ]);
    for generic in sample_repository::generic_cards() {
        let end = card(Protocol::OpenAi, &generic, folder.path()).await;
        assert_eq!(end.success, Some(true), "{end:?}");
    }
    assert_eq!(text(&folder, "docs/agentworks/OVERVIEW.md"), "already here");
    let overview = text(&folder, "docs/agentworks/OVERVIEW-2.md");
    assert!(overview.contains("A library.") && overview.contains("`something/`"), "{overview}");
    let record = text(&folder, "docs/agentworks/TESTING.md");
    assert!(record.contains("`python3 -m unittest discover -s tests`"), "{record}");
    assert!(text(&folder, "docs/agentworks/CONTRIBUTING.md").contains("(TESTING.md)"));
}

#[tokio::test]
async fn records_that_the_machine_lacks_what_the_tests_need() {
    let folder = folder(&[("tests/run.sh", "echo fine")]);
    let task = "Run the tests and record what happened in `RESULT.md`.\nTest command: `no-such-program --all`";
    let end = work(Protocol::Anthropic, &TOOLS, folder.path(), task).await;
    assert_eq!(end.commands, ["no-such-program --all"]);
    let record = text(&folder, "RESULT.md");
    assert!(record.contains("exit status 127") && record.contains("lacks what the tests need"), "{record}");
}

#[tokio::test]
async fn does_not_pretend() {
    let folder = folder(&[("a", "b")]);
    let unknown = work(Protocol::Anthropic, &TOOLS, folder.path(), "Rewrite it in Fortran.").await;
    assert_eq!(unknown.success, Some(false));
    assert!(unknown.summary.contains("scripted model"));
    let nothing = work(Protocol::Anthropic, &TOOLS, folder.path(), "Fix the failing test.").await;
    assert_eq!(nothing.success, Some(false));
    let no_tools = work(Protocol::Anthropic, &["read_file"], folder.path(), "Describe this.").await;
    assert_eq!(no_tools.success, None);
    assert!(no_tools.summary.contains("`list_files`"));
}
