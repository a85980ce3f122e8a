//! The names and inputs of the tools. Both are fixed: models, policies and recorded runs know them.

use serde::Deserialize;
use serde_json::{Value, json};

/// Ends the work; always allowed.
pub(crate) const FINISH: &str = "finish";

/// A tool as a model is told of it.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// The JSON Schema of its input.
    pub(crate) input: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListFiles {
    pub(super) path: Option<String>,
    pub(super) pattern: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadFile {
    pub(super) path: String,
    pub(super) offset: Option<usize>,
    pub(super) limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WriteFile {
    pub(super) path: String,
    pub(super) content: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct EditFile {
    pub(super) path: String,
    pub(super) old_text: String,
    pub(super) new_text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct SearchFiles {
    pub(super) pattern: String,
    pub(super) path: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RunCommand {
    pub(super) command: String,
    pub(super) timeout_seconds: Option<u64>,
}

/// The input of [`FINISH`].
#[derive(Debug, Deserialize)]
pub(crate) struct Finish {
    pub(crate) summary: String,
    pub(crate) success: bool,
}

/// Every tool there is.
pub(crate) fn definitions() -> Vec<Definition> {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let number = |description: &str| json!({ "type": "integer", "minimum": 1, "description": description });
    vec![
        Definition {
            name: "list_files",
            description: "Lists the files of the repository, one path a line, without those that Git ignores.",
            input: object(
                &json!({
                    "path": text("Only below this folder, relative to the repository."),
                    "pattern": text("Only paths (or, without a slash, names) that match this glob, such as `*.rs` or `src/**/*.rs`."),
                }),
                &[],
            ),
        },
        Definition {
            name: "read_file",
            description: "Reads a text file. Long files are cut; read on with `offset`.",
            input: object(
                &json!({
                    "path": text("Relative to the repository."),
                    "offset": number("The first line to read, from 1."),
                    "limit": number("How many lines to read."),
                }),
                &["path"],
            ),
        },
        Definition {
            name: "write_file",
            description: "Writes a file, replacing it if it exists. Missing folders are created.",
            input: object(
                &json!({ "path": text("Relative to the repository."), "content": text("The whole new content.") }),
                &["path", "content"],
            ),
        },
        Definition {
            name: "edit_file",
            description: "Replaces one passage of a file. `old_text` must occur exactly once in it, white space included.",
            input: object(
                &json!({
                    "path": text("Relative to the repository."),
                    "old_text": text("The passage to replace, with enough around it to be unique."),
                    "new_text": text("What stands there afterwards."),
                }),
                &["path", "old_text", "new_text"],
            ),
        },
        Definition {
            name: "search_files",
            description: "Searches the files' lines for a regular expression (or, if it is none, for that very text). \
                          Answers `path:line: text`.",
            input: object(
                &json!({
                    "pattern": text("The regular expression or text."),
                    "path": text("Only in this file or folder, relative to the repository."),
                }),
                &["pattern"],
            ),
        },
        Definition {
            name: "run_command",
            description: "Runs `sh -c` in the repository's folder and answers its exit status and output (the middle of \
                          long output is left out). There is no input and no terminal. Whatever it leaves running is \
                          killed when it ends.",
            input: object(
                &json!({
                    "command": text("The command line."),
                    "timeout_seconds": number("Kill it after so many seconds."),
                }),
                &["command"],
            ),
        },
        Definition {
            name: FINISH,
            description: "Ends the work. Call it once, when everything is done, or when you are sure that it cannot be.",
            input: object(
                &json!({
                    "summary": text("What you did and why, for the card's readers; or why it cannot be done."),
                    "success": { "type": "boolean", "description": "Whether the task is done." },
                }),
                &["summary", "success"],
            ),
        },
    ]
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
