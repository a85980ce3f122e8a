//! How an unknown project runs its own tests, guessed from its files.
//!
//! Guarantees: guesses only from files that the tools really showed. Never: guesses a command for a project without any
//! sign of tests.

use super::walk::{Outcome, Play, Walk};

/// Runs the project's tests: the first likely command that this machine can run. None if there is no sign of tests.
pub(super) fn run(walk: &mut Walk<'_>, files: &[String]) -> Play<Option<Outcome>> {
    let mut last = None;
    for command in candidates(walk, files)? {
        let outcome = walk.run(&command)?;
        if !outcome.is_missing_tool() {
            return Ok(Some(outcome));
        }
        last = Some(outcome);
    }
    Ok(last)
}

/// The commands that may run the tests, the likeliest first.
pub(super) fn candidates(walk: &mut Walk<'_>, files: &[String]) -> Play<Vec<String>> {
    if let Some(told) = told(&walk.conversation.task).or_else(|| told(&walk.conversation.system)) {
        return Ok(vec![told]);
    }
    let has = |path: &str| files.iter().any(|file| file == path);
    let mut commands = Vec::new();
    if has("Cargo.toml") {
        commands.push("cargo test".to_owned());
    }
    if has("go.mod") {
        commands.push("go test ./...".to_owned());
    }
    if has("package.json") && npm_has_tests(&walk.read("package.json")?.unwrap_or_default()) {
        commands.push("npm test".to_owned());
    }
    commands.extend(python(walk, files)?);
    for makefile in ["GNUmakefile", "Makefile", "makefile"] {
        if has(makefile) {
            let text = walk.read(makefile)?.unwrap_or_default();
            let target = ["test", "check"].into_iter().find(|name| has_target(&text, name));
            commands.extend(target.map(|name| format!("make {name}")));
        }
    }
    if files.iter().any(|file| file.starts_with("t/") && file.ends_with(".t")) {
        commands.push("prove -lr t".to_owned());
    }
    for script in ["tests/run.sh", "test/run.sh", "test.sh", "tests.sh", "run_tests.sh", "tests/run_tests.sh"] {
        if has(script) {
            let text = walk.read(script)?.unwrap_or_default();
            let bash = text.lines().next().is_some_and(|line| line.contains("bash"));
            let shell = if bash { "bash" } else { "sh" };
            commands.push(format!("{shell} {script}"));
        }
    }
    Ok(commands)
}

/// The command that the agent was told: a line such as ``Test command: `make check` ``, with or without the backticks.
fn told(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let start = line.to_ascii_lowercase().find("test command")? + "test command".len();
        let after = line.get(start..)?.trim_start_matches('*').strip_prefix(':')?;
        let after = after.trim_start_matches('*').trim();
        let command = match after.strip_prefix('`') {
            Some(quoted) => quoted.split('`').next()?,
            None => after,
        };
        (!command.is_empty()).then(|| command.to_owned())
    })
}

fn npm_has_tests(package: &str) -> bool {
    package.contains("\"scripts\"") && package.contains("\"test\"") && !package.contains("no test specified")
}

fn has_target(makefile: &str, name: &str) -> bool {
    makefile.lines().any(|line| {
        let line = without_number(line);
        line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(':') && !rest.contains(":="))
    })
}

fn python(walk: &mut Walk<'_>, files: &[String]) -> Play<Vec<String>> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let is_test = |path: &&String| {
        let name = name(path);
        name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"))
    };
    let Some(test) = files.iter().find(is_test) else {
        return Ok(Vec::new());
    };
    let mut pytest = files.iter().any(|path| matches!(name(path).as_str(), "pytest.ini" | "conftest.py"));
    for (path, section) in [("pyproject.toml", "[tool.pytest"), ("setup.cfg", "[tool:pytest]"), ("tox.ini", "[pytest]")]
    {
        if !pytest && files.iter().any(|file| file == path) {
            pytest = walk.read(path)?.is_some_and(|text| text.contains(section));
        }
    }
    let folder = test.rsplit_once('/').map_or("", |(folder, _)| folder);
    let top = folder.split('/').next().unwrap_or_default();
    let package = files.iter().any(|path| *path == format!("{top}/__init__.py"));
    let unittest = match (folder, package) {
        ("", _) => "python3 -m unittest discover".to_owned(),
        (_, true) => format!("python3 -m unittest discover -s {top} -t ."),
        (_, false) => format!("python3 -m unittest discover -s {folder}"),
    };
    let pytest = pytest.then(|| "python3 -m pytest -q".to_owned());
    Ok(pytest.into_iter().chain([unittest]).collect())
}

/// A line without the number that some tools put before it.
pub(super) fn without_number(line: &str) -> &str {
    let rest = line.trim_start_matches(' ').trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = rest.len() < line.trim_start_matches(' ').len();
    match rest.strip_prefix(['\t', '|', '→', ':']) {
        Some(text) if numbered => text.strip_prefix(' ').unwrap_or(text),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversation::Conversation;
    use super::*;
    use serde_json::json;

    /// The candidates for a project with these files, of which some have a text.
    fn guess(files: &[(&str, &str)]) -> Vec<String> {
        let mut conversation = Conversation { tools: vec!["read_file".to_owned()], ..Conversation::default() };
        for (number, (path, text)) in files.iter().enumerate() {
            let id = number.to_string();
            conversation.called(&id, "read_file", json!({ "path": path }));
            conversation.answered(&id, (*text).to_owned(), false);
        }
        let names: Vec<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        candidates(&mut Walk::new(&conversation), &names).unwrap_or_default()
    }

    #[test]
    fn guesses_what_each_kind_of_project_uses() {
        assert_eq!(guess(&[("Cargo.toml", "")]), ["cargo test"]);
        assert_eq!(guess(&[("go.mod", "")]), ["go test ./..."]);
        let package = r#"{"scripts": {"test": "node --test"}}"#;
        assert_eq!(guess(&[("package.json", package)]), ["npm test"]);
        assert!(guess(&[("package.json", r#"{"scripts": {"build": "x"}}"#)]).is_empty());
        assert_eq!(guess(&[("Makefile", "CC = cc\ntest : all\n\t./t")]), ["make test"]);
        assert_eq!(guess(&[("Makefile", "     1\tall:\n     2\tcheck:\n")]), ["make check"]);
        assert_eq!(guess(&[("tests/run.sh", "#!/usr/bin/env bash\n")]), ["bash tests/run.sh"]);
        assert_eq!(guess(&[("t/basic.t", "")]), ["prove -lr t"]);
        assert!(guess(&[("README.md", "")]).is_empty());
    }

    #[test]
    fn guesses_how_python_projects_are_tested() {
        assert_eq!(guess(&[("test_a.py", "")]), ["python3 -m unittest discover"]);
        assert_eq!(guess(&[("tests/test_a.py", "")]), ["python3 -m unittest discover -s tests"]);
        assert_eq!(
            guess(&[("tests/__init__.py", ""), ("tests/unit/test_a.py", "")]),
            ["python3 -m unittest discover -s tests -t ."]
        );
        assert_eq!(
            guess(&[("pyproject.toml", "[tool.pytest.ini_options]"), ("tests/test_a.py", "")]),
            ["python3 -m pytest -q", "python3 -m unittest discover -s tests"]
        );
    }

    #[test]
    fn what_the_agent_was_told_comes_first() {
        let conversation =
            Conversation { system: "Rules.\nTest command: `make check`".to_owned(), ..Conversation::default() };
        let files = ["Cargo.toml".to_owned()];
        let guessed = candidates(&mut Walk::new(&conversation), &files).unwrap_or_default();
        assert_eq!(guessed, ["make check"]);
        assert_eq!(told("**Test command:** cargo test --all"), Some("cargo test --all".into()));
        assert_eq!(told("Find the test command in `Makefile`."), None);
    }

    #[test]
    fn the_next_command_is_tried_when_the_machine_lacks_the_first() {
        let mut conversation = Conversation { tools: vec!["run_command".to_owned()], ..Conversation::default() };
        for (tool, input, result) in [
            ("read_file", json!({ "path": "tests/run.sh" }), "#!/bin/sh"),
            ("run_command", json!({ "command": "go test ./..." }), "exit status: 127\nsh: go: not found"),
            ("run_command", json!({ "command": "sh tests/run.sh" }), "exit status: 0\nfine"),
        ] {
            conversation.called(tool, tool, input);
            conversation.answered(tool, result.to_owned(), false);
        }
        let files = ["go.mod".to_owned(), "tests/run.sh".to_owned()];
        let outcome = run(&mut Walk::new(&conversation), &files).ok().flatten();
        let outcome = outcome.map(|outcome| (outcome.command, outcome.status, outcome.output));
        assert_eq!(outcome, Some(("sh tests/run.sh".into(), Some(0), "fine".into())));
    }
}
