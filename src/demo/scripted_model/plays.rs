//! What the scripted model can do without a literal script: the cards of the demo, and cards like them.
//!
//! Guarantees: everything that it writes comes from what the tools answered; a failing test is recorded as failing; a
//! task that it does not know ends without success and says what to do instead.
//! Never: overwrites a file that was in the listing.

use std::collections::BTreeMap;

use super::super::sample_repository;
use super::conversation::{Conversation, Reply};
use super::test_command::{self, without_number};
use super::walk::{Next, Outcome, Play, Walk};

/// What a task asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Repair,
    Manual,
    Overview,
    RecordTests,
    Contributing,
    Unknown,
}

/// The next turn on this task.
pub(super) fn next(conversation: &Conversation) -> Reply {
    let mut walk = Walk::new(conversation);
    let Err(Next(reply)) = play(&mut walk, recognise(&conversation.task));
    reply
}

/// A play has no other end than the next turn.
fn play(walk: &mut Walk<'_>, task: Task) -> Play<std::convert::Infallible> {
    match task {
        Task::Repair => repair(walk),
        Task::Manual => manual(walk),
        Task::Overview => overview(walk),
        Task::RecordTests => record_tests(walk),
        Task::Contributing => contributing(walk),
        Task::Unknown => Err(walk.finish(
            "I am a scripted model, not a real one: I only know the cards of the demo and cards that hold an \
             `agentworks-script` block. Connect a provider with a key to have this card done.",
            false,
        )),
    }
}

/// The demo's cards by their titles, other cards by their words.
fn recognise(task: &str) -> Task {
    let [a, b, c] = sample_repository::cards().map(|card| card.title);
    let [x, y, z] = sample_repository::generic_cards().map(|card| card.title);
    let titles = [
        (a, Task::Repair),
        (b, Task::Manual),
        (c, Task::RecordTests),
        (x, Task::Overview),
        (y, Task::RecordTests),
        (z, Task::Contributing),
    ];
    let named = titles.into_iter().filter_map(|(title, task_kind)| Some((task.find(title)?, task_kind)));
    if let Some((_, first)) = named.min_by_key(|(place, _)| *place) {
        return first;
    }
    let text = task.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["test"]) && has(&["record"]) {
        Task::RecordTests
    } else if has(&["contribut"]) {
        Task::Contributing
    } else if has(&["failing", "fix", "repair"]) {
        Task::Repair
    } else if has(&["document", "describe", "overview"]) {
        Task::Overview
    } else {
        Task::Unknown
    }
}

/// Where to write: the first Markdown file that the task names in backticks, under a name that is still free.
fn target(task: &str, default: &str, files: &[String]) -> String {
    let is_path = |word: &&str| word.ends_with(".md") && !word.contains(char::is_whitespace);
    let path = task.split('`').skip(1).step_by(2).find(is_path).unwrap_or(default);
    let stem = path.trim_end_matches(".md");
    let is_free = |path: &String| !files.contains(path);
    let further = (2..100).map(|number| format!("{stem}-{number}.md"));
    std::iter::once(path.to_owned()).chain(further).find(is_free).unwrap_or_else(|| path.to_owned())
}

/// Repairs the sample repository; in any other it can only tell whether the tests pass.
fn repair(walk: &mut Walk<'_>) -> Play<std::convert::Infallible> {
    const LIBRARY: &str = "lib/greeting.sh";
    const OLD: &str = "    printf 'Hello, %s!\\n' \"${1:-world}\"\n}\n";
    const NEW: &str = include_str!("../sample/solution.sh");
    let files = walk.list()?;
    let Some(before) = test_command::run(walk, &files)? else {
        return Err(walk.finish("I found no tests in this repository, so there is nothing to repair.", false));
    };
    if before.passed() {
        let summary = format!("Nothing to repair: `{}` {}.", before.command, before.in_words());
        return Err(walk.finish(&summary, true));
    }
    let library = match files.iter().any(|file| file == LIBRARY) {
        true => walk.read(LIBRARY)?.unwrap_or_default(),
        false => String::new(),
    };
    if !library.contains("printf 'Hello, %s!\\n' \"${1:-world}\"") {
        let summary = format!(
            "`{}` {}. I am a scripted model and can only repair the demo's sample repository.",
            before.command,
            before.in_words()
        );
        return Err(walk.finish(&summary, false));
    }
    walk.edit(LIBRARY, OLD, NEW)?;
    let after = walk.run(&before.command)?;
    let summary = format!(
        "`greeting` now joins all names. `{}` {} before the change and {} after it.",
        before.command,
        before.in_words(),
        after.in_words()
    );
    Err(walk.finish(&summary, after.passed()))
}

/// Writes a manual for the sample repository's command, with examples that were run.
fn manual(walk: &mut Walk<'_>) -> Play<std::convert::Infallible> {
    let files = walk.list()?;
    if !files.iter().any(|file| file == "bin/greet") {
        return Err(walk.finish("There is no `bin/greet` in this repository.", false));
    }
    let help = walk.run("sh bin/greet --help")?;
    let mut text = format!("# greet\n\nThe help of the command:\n\n{}\n## Examples\n\n", block(&help.output));
    for example in ["bin/greet", "bin/greet Ada", "bin/greet Ada Grace Linus", "bin/greet --shout Ada"] {
        let outcome = walk.run(&format!("sh {example}"))?;
        text += &format!("`{example}` prints:\n\n{}\n", block(&outcome.output));
    }
    let path = target(&walk.conversation.task, "docs/GREET.md", &files);
    walk.write(&path, &text)?;
    Err(walk.finish(&format!("I wrote `{path}`; its examples show what the command printed when I ran it."), true))
}

/// Describes what is in the repository.
fn overview(walk: &mut Walk<'_>) -> Play<std::convert::Infallible> {
    let files = walk.list()?;
    let readme = readme(walk, &files)?;
    let commands = test_command::candidates(walk, &files)?;
    let mut folders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in &files {
        let (folder, name) = file.split_once('/').unwrap_or(("", file));
        folders.entry(folder).or_default().push(name);
    }
    let mut text = "# Overview\n\n".to_owned();
    if !readme.is_empty() {
        text += &format!("From the README:\n\n{}\n\n", quote(&readme));
    }
    text += &format!("The repository has {} files.\n\n| where | files | for example |\n|---|---|---|\n", files.len());
    for (folder, names) in folders {
        let place = if folder.is_empty() { "(top level)".to_owned() } else { format!("`{folder}/`") };
        let some: Vec<String> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
        text += &format!("| {place} | {} | {} |\n", names.len(), some.join(", "));
    }
    text += "\n## Tests\n\n";
    text += &match commands.first() {
        Some(command) => format!("By the look of its files, `{command}` runs the tests.\n"),
        None => "No sign of tests was found.\n".to_owned(),
    };
    let path = target(&walk.conversation.task, "docs/agentworks/OVERVIEW.md", &files);
    walk.write(&path, &text)?;
    Err(walk.finish(&format!("I wrote `{path}` from the listing of {} files.", files.len()), true))
}

/// Runs the project's tests and writes down what came of it.
fn record_tests(walk: &mut Walk<'_>) -> Play<std::convert::Infallible> {
    let files = walk.list()?;
    let path = target(&walk.conversation.task, "docs/TESTING.md", &files);
    let Some(outcome) = test_command::run(walk, &files)? else {
        walk.write(&path, "# Tests\n\nNo sign of tests was found in this repository.\n")?;
        return Err(walk.finish("I found no tests to run, and recorded that.", true));
    };
    let Outcome { command, output, .. } = &outcome;
    let result = outcome.in_words();
    let note = match outcome.is_missing_tool() {
        true => "\nThis machine lacks what the tests need.\n",
        false => "",
    };
    let text = format!(
        "# Tests\n\n- Command: `{command}`\n- Result: {result}\n{note}\nThe end of its output:\n\n{}",
        block(&tail(output, 15))
    );
    walk.write(&path, &text)?;
    Err(walk.finish(&format!("`{command}` {result}; I recorded it in `{path}`."), true))
}

/// Writes a note that leads to what the cards before have written.
fn contributing(walk: &mut Walk<'_>) -> Play<std::convert::Infallible> {
    let files = walk.list()?;
    let commands = test_command::candidates(walk, &files)?;
    let mut text = "# Contributing\n\n".to_owned();
    for (path, what) in [
        ("docs/agentworks/OVERVIEW.md", "how the repository is laid out"),
        ("docs/agentworks/TESTING.md", "how the tests went the last time they were recorded"),
    ] {
        let name = path.rsplit('/').next().unwrap_or(path);
        let there = files.iter().any(|file| file == path);
        let note = if there { "" } else { " (not on this branch yet)" };
        text += &format!("- [{name}]({name}): {what}{note}\n");
    }
    if let Some(command) = commands.first() {
        text += &format!("\nRun `{command}` before you propose a change.\n");
    }
    let path = target(&walk.conversation.task, "docs/agentworks/CONTRIBUTING.md", &files);
    walk.write(&path, &text)?;
    Err(walk.finish(&format!("I wrote `{path}`."), true))
}

/// The beginning of the README, if there is one.
fn readme(walk: &mut Walk<'_>, files: &[String]) -> Play<String> {
    let is_readme = |file: &&String| !file.contains('/') && file.to_lowercase().starts_with("readme");
    let Some(path) = files.iter().find(is_readme) else {
        return Ok(String::new());
    };
    let text = walk.read(path)?.unwrap_or_default();
    let lines = text.lines().map(without_number).filter(|line| !line.trim().is_empty());
    Ok(lines.take(4).collect::<Vec<_>>().join("\n"))
}

fn quote(text: &str) -> String {
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}

/// A fenced block whose fence the text cannot end.
fn block(text: &str) -> String {
    let fence = if text.contains("```") { "~~~~~~" } else { "```" };
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
