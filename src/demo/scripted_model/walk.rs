//! Plays are written as straight code; a walk replays one over a conversation.
//!
//! Guarantees: a play that asks for what the conversation already holds gets the real result; at the first thing that
//! is new, the play ends and that is the model's next turn. So a play knows only what the tools really answered.
//! Never: calls a tool that was not offered.

use serde_json::{Value, json};

use super::conversation::{Call, Conversation, Exchange, Reply};

/// The next turn, which ends the play for now.
pub(super) struct Next(pub(super) Reply);

/// A result of the play's own, or the next turn.
pub(super) type Play<T> = Result<T, Next>;

/// What a command did.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) command: String,
    /// The exit status, if the tool told it.
    pub(super) status: Option<i64>,
    pub(super) output: String,
}

impl Outcome {
    pub(super) fn passed(&self) -> bool {
        self.status == Some(0)
    }

    /// Whether the machine lacks what the command needs.
    pub(super) fn is_missing_tool(&self) -> bool {
        matches!(self.status, Some(126 | 127)) || self.output.contains("No module named pytest")
    }

    pub(super) fn in_words(&self) -> String {
        match self.status {
            Some(0) => "passed (exit status 0)".to_owned(),
            Some(status) => format!("failed (exit status {status})"),
            None => "ended without an exit status".to_owned(),
        }
    }
}

/// A play's way through a conversation.
pub(super) struct Walk<'a> {
    pub(super) conversation: &'a Conversation,
    used: Vec<bool>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(conversation: &'a Conversation) -> Self {
        Self { conversation, used: vec![false; conversation.exchanges.len()] }
    }

    /// The result of this call, if it was made; otherwise making it is the next turn.
    fn ask(&mut self, say: &str, tool: &str, input: &Value) -> Play<&'a Exchange> {
        let found = self
            .conversation
            .exchanges
            .iter()
            .zip(&mut self.used)
            .find(|(exchange, used)| !**used && exchange.name == tool && exchange.input == *input);
        if let Some((exchange, used)) = found {
            *used = true;
            return Ok(exchange);
        }
        if !self.conversation.offers(tool) {
            let text = format!("I cannot go on: I need the tool `{tool}`, which was not offered.");
            return Err(Next(Reply::text(text)));
        }
        let call = Call { name: tool.to_owned(), input: input.to_string() };
        Err(Next(Reply { text: say.to_owned(), calls: vec![call], truncated: false }))
    }

    /// All files, without those of Git.
    pub(super) fn list(&mut self) -> Play<Vec<String>> {
        let top = self.ask("Let me see what is here.", "list_files", &json!({}))?;
        let mut files = file_names(&top.result);
        // A tool that lists one folder at a time names the folders with a slash at the end.
        let folders: Vec<String> = files.iter().filter(|name| name.ends_with('/')).cloned().collect();
        let one_level = files.iter().all(|name| !name.trim_end_matches('/').contains('/'));
        if one_level {
            for folder in folders.iter().filter(|name| !name.starts_with('.')).take(8) {
                let path = folder.trim_end_matches('/');
                let listing = self.ask("", "list_files", &json!({ "path": path }))?;
                let inside = file_names(&listing.result).into_iter();
                files.extend(inside.map(|name| match name.starts_with(folder.as_str()) {
                    true => name,
                    false => format!("{folder}{name}"),
                }));
            }
        }
        files.retain(|name| !name.ends_with('/') && !name.starts_with(".git/"));
        Ok(files)
    }

    /// A file's text, if it can be read.
    pub(super) fn read(&mut self, path: &str) -> Play<Option<String>> {
        let say = format!("I read `{path}`.");
        let exchange = self.ask(&say, "read_file", &json!({ "path": path }))?;
        Ok((!exchange.failed).then(|| exchange.result.clone()))
    }

    /// Runs a command.
    pub(super) fn run(&mut self, command: &str) -> Play<Outcome> {
        let say = format!("I run `{command}`.");
        let exchange = self.ask(&say, "run_command", &json!({ "command": command }))?;
        Ok(Outcome {
            command: command.to_owned(),
            status: exit_status(&exchange.result),
            output: output(&exchange.result),
        })
    }

    /// Writes a new file; the play ends without success if that fails.
    pub(super) fn write(&mut self, path: &str, content: &str) -> Play<()> {
        let say = format!("I write `{path}`.");
        let input = json!({ "path": path, "content": content });
        let written = self.ask(&say, "write_file", &input)?;
        self.must(written, path)
    }

    /// Replaces a piece of a file; the play ends without success if that fails.
    pub(super) fn edit(&mut self, path: &str, old_text: &str, new_text: &str) -> Play<()> {
        let say = format!("I change `{path}`.");
        let input = json!({ "path": path, "old_text": old_text, "new_text": new_text });
        let edited = self.ask(&say, "edit_file", &input)?;
        self.must(edited, path)
    }

    fn must(&mut self, exchange: &Exchange, path: &str) -> Play<()> {
        if exchange.failed {
            let summary = format!("`{path}` could not be written: {}", exchange.result);
            return Err(self.finish(&summary, false));
        }
        Ok(())
    }

    /// The end: calls `finish` if it was offered, and otherwise says the same.
    pub(super) fn finish(&mut self, summary: &str, success: bool) -> Next {
        if !self.conversation.offers("finish") {
            return Next(Reply::text(summary));
        }
        let input = json!({ "summary": summary, "success": success });
        match self.ask("", "finish", &input) {
            Ok(_) => Next(Reply::text("I have finished.")),
            Err(next) => next,
        }
    }
}

/// File names in a tool's listing: a JSON list of names or of objects with a `path`, or one name a line.
fn file_names(listing: &str) -> Vec<String> {
    let tidy = |name: &str| name.trim().trim_start_matches("./").to_owned();
    if let Ok(value) = serde_json::from_str::<Value>(listing) {
        let list = value.get("files").or_else(|| value.get("entries")).unwrap_or(&value);
        let name = |item: &Value| item.as_str().or_else(|| item.get("path")?.as_str()).map(tidy);
        return list.as_array().into_iter().flatten().filter_map(name).collect();
    }
    let names = listing.lines().map(tidy);
    names.filter(|name| !name.is_empty() && !name.starts_with(['(', '[', '…'])).collect()
}

/// The exit status in a tool's result, such as `exit status: 1` or `{"exit_code": 1}`: in its first line, or else in
/// the last one that has any (what is between is the command's own output).
fn exit_status(result: &str) -> Option<i64> {
    let mut lines = result.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().and_then(status_in);
    first.or_else(|| lines.rev().find_map(status_in))
}

/// The exit status that a line tells.
fn status_in(line: &str) -> Option<i64> {
    const WORDS: [&str; 5] = ["exit_status", "exit status", "exit_code", "exit code", "exited with"];
    let line = line.to_ascii_lowercase();
    let after = WORDS.iter().find_map(|word| line.split_once(word))?.1;
    let is_number = |c: char| c.is_ascii_digit() || c == '-';
    let number = after.trim_start_matches(|c| !is_number(c));
    let end = number.find(|c| !is_number(c)).unwrap_or(number.len());
    number[..end].parse().ok()
}

/// A command's output without the tool's own line about the exit status.
fn output(result: &str) -> String {
    if let Ok(Value::Object(fields)) = serde_json::from_str(result) {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        return ["output", "stdout", "stderr"].into_iter().filter_map(text).collect();
    }
    let mut lines: Vec<&str> = result.trim().lines().collect();
    if lines.first().is_some_and(|line| status_in(line).is_some()) {
        lines.remove(0);
    } else if lines.last().is_some_and(|line| status_in(line).is_some()) {
        lines.pop();
    }
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_listings_of_several_kinds() {
        let names = ["a", "b/c"];
        for listing in
            ["a\nb/c\n", "./a\n./b/c\n(2 files)", r#"["a", "b/c"]"#, r#"{"files": [{"path": "a"}, {"path": "b/c"}]}"#]
        {
            assert_eq!(file_names(listing), names, "{listing}");
        }
    }

    #[test]
    fn reads_exit_statuses_of_several_kinds() {
        for (result, status) in [
            ("exit status: 1\nout", Some(1)),
            ("Exit code 127", Some(127)),
            ("a child had exit status 9\nmore\n\nexit status: 2\n", Some(9)),
            ("output\nexit status 9, it says\n\nexit status: 2\n", Some(2)),
            (r#"{"exit_code": 0, "output": "x"}"#, Some(0)),
            ("the command exited with status -1", Some(-1)),
            ("killed after 60 s", None),
        ] {
            assert_eq!(exit_status(result), status, "{result}");
        }
    }

    #[test]
    fn keeps_only_the_command_s_own_output() {
        for result in
            ["exit status: 1\na\n  b\n", "a\n  b\n\nexit code 1", r#"{"exit_code": 1, "output": "a\n  b"}"#, "a\n  b"]
        {
            assert_eq!(output(result), "a\n  b", "{result}");
        }
    }
}
