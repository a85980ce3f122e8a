//! Finding files and lines.

use regex::Regex;

use super::catalog::{ListFiles, SearchFiles};
use super::files::text_file;
use super::{ToolError, ToolResult, Toolbox};
use crate::text::head;

/// Paths in one listing.
const MAX_PATHS: usize = 2_000;
/// Lines in one search's answer, and the longest of them.
const MAX_MATCHES: usize = 200;
const LINE_BYTES: usize = 300;
/// How much memory a regular expression may take.
const REGEX_BYTES: usize = 1024 * 1024;

impl Toolbox<'_> {
    pub(super) async fn list_files(&self, input: ListFiles) -> Result<ToolResult, ToolError> {
        let mut files = self.files_below(input.path.as_deref()).await?;
        if let Some(pattern) = input.pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
            let glob = glob(pattern)?;
            let by_name = !pattern.contains('/');
            let subject =
                |path: &str| if by_name { path.rsplit('/').next().unwrap_or(path).to_owned() } else { path.to_owned() };
            files.retain(|path| glob.is_match(&subject(path)));
        }
        if files.is_empty() {
            return Ok(ToolResult::done("(no files)".to_owned()));
        }
        let more = files.len().saturating_sub(MAX_PATHS);
        files.truncate(MAX_PATHS);
        let note = if more > 0 { format!("\n({more} more; name a folder or a pattern)") } else { String::new() };
        Ok(ToolResult::done(files.join("\n") + &note))
    }

    pub(super) async fn search_files(&self, input: SearchFiles) -> Result<ToolResult, ToolError> {
        let literal = || Regex::new(&regex::escape(&input.pattern));
        let pattern = regex::RegexBuilder::new(&input.pattern)
            .size_limit(REGEX_BYTES)
            .build()
            .or_else(|_| literal())
            .map_err(|error| ToolError::Wrong(format!("the pattern cannot be searched for: {error}")))?;
        let (mut lines, mut more) = (Vec::new(), 0_usize);
        for path in self.files_below(input.path.as_deref()).await? {
            // A link may lead out of the worktree, and then is not followed.
            let Ok(resolved) = self.place.resolve(&path) else { continue };
            let Ok(text) = text_file(&resolved) else { continue };
            for (number, line) in text.lines().enumerate().filter(|(_, line)| pattern.is_match(line)) {
                if lines.len() < MAX_MATCHES {
                    lines.push(format!("{path}:{}: {}", number + 1, head(line, LINE_BYTES)));
                } else {
                    more += 1;
                }
            }
        }
        if lines.is_empty() {
            return Ok(ToolResult::done("(no matches)".to_owned()));
        }
        let note = if more > 0 { format!("\n({more} more matches; search more closely)") } else { String::new() };
        Ok(ToolResult::done(lines.join("\n") + &note))
    }

    /// The files that Git knows or would add, below a folder or file when one is named.
    async fn files_below(&self, path: Option<&str>) -> Result<Vec<String>, ToolError> {
        let mut files = self.repository.files().await?;
        let folder = match path {
            Some(path) => self.place.resolve(path)?,
            None => return Ok(files),
        };
        if folder.symlink_metadata().is_err() {
            return Err(ToolError::Wrong(format!("there is no `{}`", path.unwrap_or_default())));
        }
        let folder = self.place.relative(&folder);
        if !folder.is_empty() {
            let inside = format!("{folder}/");
            files.retain(|file| *file == folder || file.starts_with(&inside));
        }
        Ok(files)
    }
}

/// A glob as a regular expression: `*` and `?` stay within a name, `**` does not.
fn glob(pattern: &str) -> Result<Regex, ToolError> {
    let mut text = "^".to_owned();
    let mut rest = pattern.trim_start_matches("./");
    while let Some(first) = rest.chars().next() {
        let (piece, length) = match first {
            _ if rest.starts_with("**/") => ("(?:.*/)?".to_owned(), 3),
            _ if rest.starts_with("**") => (".*".to_owned(), 2),
            '*' => ("[^/]*".to_owned(), 1),
            '?' => ("[^/]".to_owned(), 1),
            other => (regex::escape(&other.to_string()), other.len_utf8()),
        };
        text += &piece;
        rest = &rest[length..];
    }
    Regex::new(&(text + "$")).map_err(|error| ToolError::Wrong(format!("the pattern is too long: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_people_expect() {
        let matches = |pattern: &str, path: &str| glob(pattern).unwrap().is_match(path);
        assert!(matches("*.rs", "a.rs") && !matches("*.rs", "a.rst") && !matches("*.rs", "b/a.rs"));
        assert!(matches("src/**/*.rs", "src/a.rs") && matches("src/**/*.rs", "src/b/c/a.rs"));
        assert!(matches("src/**", "src/b/c") && !matches("src/*", "src/b/c"));
        assert!(matches("a?ü.(x)", "abü.(x)") && !matches("a.c", "abc"));
    }
}
