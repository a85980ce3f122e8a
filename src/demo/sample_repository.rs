//! The repository and the cards of the demo.
//!
//! For: showing a run on a project that any machine can test, because it needs nothing but a POSIX shell.
//! Guarantees: at first exactly one of its tests fails, and the first card is about that test. The cards are written
//! as a person would write them, so that a real model can do them as well as the scripted one. The generic cards ask
//! only for new files below `docs/agentworks/`, so they suit a repository that was not written for the demo.
//! Never: touches a disk or a repository by itself.

/// A card to be created by the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoCard {
    /// What stands on the card.
    pub title: &'static str,
    /// What is to be done.
    pub description: &'static str,
    /// Which card of the same list must be done before, by its place from 0.
    pub depends_on: Option<usize>,
}

/// The files of the sample repository: path, content, and whether it is executable.
#[must_use]
pub fn files() -> Vec<(&'static str, &'static str, bool)> {
    vec![
        ("README.md", include_str!("sample/README.md"), false),
        ("bin/greet", include_str!("sample/bin/greet"), true),
        ("lib/greeting.sh", include_str!("sample/lib/greeting.sh"), false),
        ("tests/run.sh", include_str!("sample/tests/run.sh"), true),
    ]
}

/// The cards for the sample repository.
#[must_use]
pub const fn cards() -> [DemoCard; 3] {
    [
        DemoCard {
            title: "Greet several people at once",
            description: "`bin/greet Ada Grace Linus` greets only Ada. It should print \
                `Hello, Ada, Grace and Linus!`, and `Hello, Ada and Grace!` for two names.\n\n\
                The test \"greets several people\" in `tests/run.sh` describes this and fails today. Make it pass \
                without changing the tests. The greeting itself is in `lib/greeting.sh`.",
            depends_on: None,
        },
        DemoCard {
            title: "Write a manual for greet",
            description: "People ask how to call the command. Write `docs/GREET.md`: what it is for, its usage and \
                options, and a few examples with what they really print (run them).\n\n\
                Keep to what the code does today, and do not change the code.",
            depends_on: Some(0),
        },
        DemoCard {
            title: "Run the tests and record the result",
            description: "Run `sh tests/run.sh` and record the result in `docs/TESTING.md`: the command, whether it \
                passed, its exit status, and the last lines of its output.\n\n\
                If a test fails, record that; do not repair anything here.",
            depends_on: Some(1),
        },
    ]
}

/// Cards for any repository: they only add files, and change none.
#[must_use]
pub const fn generic_cards() -> [DemoCard; 3] {
    [
        DemoCard {
            title: "Describe how the repository is laid out",
            description: "Write `docs/agentworks/OVERVIEW.md` for somebody who sees this repository for the first \
                time: what the project is, which folders and important files it has and what is in them, and how \
                it is tested.\n\n\
                Do not change any file that already exists.",
            depends_on: None,
        },
        DemoCard {
            title: "Run the project's own tests and record the outcome",
            description: "Find out how this project runs its tests, run them, and record the outcome in \
                `docs/agentworks/TESTING.md`: the command, whether it passed, its exit status, and the last lines \
                of its output.\n\n\
                If tests fail, or cannot be run here, record that. Do not change any file that already exists.",
            depends_on: Some(0),
        },
        DemoCard {
            title: "Add a note for contributors",
            description: "Write a short `docs/agentworks/CONTRIBUTING.md` for new contributors: where to start \
                reading and how to run the tests. Refer to `docs/agentworks/OVERVIEW.md` and \
                `docs/agentworks/TESTING.md`.\n\n\
                Do not change any file that already exists.",
            depends_on: Some(1),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Output};

    fn checkout() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content, _) in files() {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn run_tests(folder: &std::path::Path) -> Output {
        Command::new("sh").arg("tests/run.sh").current_dir(folder).output().unwrap()
    }

    #[test]
    fn exactly_one_test_fails_at_first() {
        let output = run_tests(checkout().path());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text.matches("not ok").count(), 1, "{text}");
        assert!(text.contains("greets several people"), "{text}");
    }

    #[test]
    fn cards_depend_only_on_earlier_ones() {
        for list in [cards(), generic_cards()] {
            for (place, card) in list.iter().enumerate() {
                assert!(card.depends_on.is_none_or(|before| before < place));
            }
        }
    }
}
