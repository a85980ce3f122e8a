//! Reading and changing files.

use std::path::{Path, PathBuf};

use super::catalog::{EditFile, ReadFile, WriteFile};
use super::{ToolError, ToolResult, Toolbox};
use crate::text::head;

/// The longest file that is read or edited.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Lines and bytes of one reading.
const READ_LINES: usize = 2_000;
const READ_BYTES: usize = 32 * 1024;

impl Toolbox<'_> {
    pub(super) fn read_file(&self, input: &ReadFile) -> Result<ToolResult, ToolError> {
        let text = self.text_of(&input.path)?.1;
        let first = input.offset.unwrap_or(1).max(1) - 1;
        let total = text.lines().count();
        if first > 0 && first >= total {
            return Err(ToolError::Wrong(format!("`{}` has only {total} lines", input.path)));
        }
        let limit = input.limit.unwrap_or(READ_LINES).clamp(1, READ_LINES);
        let lines: String = text.split_inclusive('\n').skip(first).take(limit).collect();
        let shown = head(&lines, READ_BYTES);
        let next = first + shown.matches('\n').count() + 1;
        let rest = first + lines.lines().count() < total || shown.len() < lines.len();
        let note = if rest { format!("\n[… of {total} lines; read on with offset={next}]") } else { String::new() };
        Ok(ToolResult::done(format!("{shown}{note}")))
    }

    pub(super) fn write_file(&mut self, input: &WriteFile) -> Result<ToolResult, ToolError> {
        let path = self.place.resolve(&input.path)?;
        let existed = match path.metadata() {
            Ok(meta) if !meta.is_file() => return Err(ToolError::Wrong(format!("`{}` is no file", input.path))),
            known => known.is_ok(),
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed("make the folder of", &input.path, &error))?;
        }
        std::fs::write(&path, &input.content).map_err(|error| failed("write", &input.path, &error))?;
        self.written.insert(self.place.relative(&path));
        let did = if existed { "replaced" } else { "created" };
        Ok(ToolResult::done(format!("{did} `{}`, {} bytes", self.place.relative(&path), input.content.len())))
    }

    pub(super) fn edit_file(&mut self, input: &EditFile) -> Result<ToolResult, ToolError> {
        let (path, text) = self.text_of(&input.path)?;
        let wrong = |problem: &str| Err(ToolError::Wrong(format!("`{}` was not changed: {problem}", input.path)));
        if input.old_text.is_empty() {
            return wrong("old_text is empty; to write a whole file use write_file");
        }
        if input.old_text == input.new_text {
            return wrong("old_text and new_text are the same");
        }
        match text.match_indices(&input.old_text).count() {
            0 => return wrong("old_text does not occur in it; read the file and copy the passage exactly"),
            1 => {}
            count => return wrong(&format!("old_text occurs {count} times; take in more of what stands around it")),
        }
        let changed = text.replacen(&input.old_text, &input.new_text, 1);
        std::fs::write(&path, changed).map_err(|error| failed("write", &input.path, &error))?;
        let relative = self.place.relative(&path);
        let done = ToolResult::done(format!("changed `{relative}`"));
        self.written.insert(relative);
        Ok(done)
    }

    /// A text file, and where it is.
    fn text_of(&self, asked: &str) -> Result<(PathBuf, String), ToolError> {
        let path = self.place.resolve(asked)?;
        let text = text_file(&path).map_err(|problem| ToolError::Wrong(format!("`{asked}` {problem}")))?;
        Ok((path, text))
    }
}

/// The text of a file, or what is wrong with it.
pub(super) fn text_file(path: &Path) -> Result<String, String> {
    let meta = path.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if meta.is_dir() {
        return Err("is a folder; list it with list_files".to_owned());
    }
    // A pipe or a device would be waited for.
    if !meta.is_file() {
        return Err("is no plain file".to_owned());
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(format!("is too long ({} bytes)", meta.len()));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.contains(&0) {
        return Err(format!("is no text ({} bytes)", bytes.len()));
    }
    String::from_utf8(bytes).map_err(|_| "is no text in UTF-8".to_owned())
}

fn failed(action: &str, path: &str, error: &std::io::Error) -> ToolError {
    ToolError::Wrong(format!("could not {action} `{path}`: {error}"))
}
