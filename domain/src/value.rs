//! Small values with bounds.
//!
//! Each has a `new` that checks what people type. Decoding a stored event does not check again: what was once
//! accepted must be readable for ever, even after a bound is tightened.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Which field, as the caller wrote it, such as `title`.
    pub field: &'static str,
    /// Stable and machine-readable, such as `title_empty`.
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Invalid {
    fn new(field: &'static str, code: &'static str, problem: impl Into<String>) -> Self {
        Self { field, code, problem: problem.into() }
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// A name of one line, at most 200 characters, trimmed.
    Name
}
text! {
    /// A card's title: one line, at most 200 characters, trimmed.
    Title
}
text! {
    /// Free text of at most 64 KiB: a description, a comment, instructions.
    Text
}
text! {
    /// A short explanation of at most 2,000 characters.
    Reason
}
text! {
    /// A lane's stable key within its project, such as `in-progress`.
    LaneKey
}
text! {
    /// The name of a Git branch.
    Branch
}
text! {
    /// The address of a Git repository over HTTP or HTTPS, without credentials in it.
    RepositoryUrl
}
text! {
    /// The base address of a model vendor's API, without credentials in it.
    BaseUrl
}
text! {
    /// The name of a model as its vendor writes it.
    ModelName
}
text! {
    /// Points at a secret in the vault; the secret itself is never in an event.
    SecretRef
}
text! {
    /// A Git commit's full hexadecimal object name.
    CommitSha
}

/// Bytes that the longest [`Text`] has.
pub const TEXT_BYTES: usize = 64 * 1024;
/// Characters that the longest [`Name`] or [`Title`] has.
pub const LINE_CHARS: usize = 200;
/// Characters that the longest [`Reason`] has.
pub const REASON_CHARS: usize = 2_000;

/// Which codes a line-shaped value answers with.
struct Line {
    field: &'static str,
    empty: &'static str,
    long: &'static str,
    control: &'static str,
}

fn line(text: &str, rule: &Line) -> Result<String, Invalid> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Invalid::new(rule.field, rule.empty, "must not be empty"));
    }
    if text.chars().count() > LINE_CHARS {
        return Err(Invalid::new(rule.field, rule.long, format!("must have at most {LINE_CHARS} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::new(rule.field, rule.control, "must be one line without control characters"));
    }
    Ok(text.to_owned())
}

impl Name {
    /// # Errors
    /// `name_empty`, `name_too_long`, `name_control_character`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let rule =
            Line { field: "name", empty: "name_empty", long: "name_too_long", control: "name_control_character" };
        line(text, &rule).map(Self)
    }
}

impl Title {
    /// # Errors
    /// `title_empty`, `title_too_long`, `title_control_character`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let rule =
            Line { field: "title", empty: "title_empty", long: "title_too_long", control: "title_control_character" };
        line(text, &rule).map(Self)
    }
}

impl Text {
    /// `field` names the value in the refusal.
    ///
    /// # Errors
    /// `text_too_long`, `text_control_character` (NUL, which Postgres cannot hold).
    pub fn new(field: &'static str, text: &str) -> Result<Self, Invalid> {
        if text.len() > TEXT_BYTES {
            return Err(Invalid::new(field, "text_too_long", format!("must have at most {TEXT_BYTES} bytes")));
        }
        if text.contains('\0') {
            return Err(Invalid::new(field, "text_control_character", "must not contain NUL characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The end of a text from the system itself, such as a log: cut to fit and to at most `bytes`, never refused.
    pub fn tail(text: &str, bytes: usize) -> Self {
        let text = text.replace('\0', "\u{fffd}");
        let least = text.len().saturating_sub(bytes.min(TEXT_BYTES));
        let start = (least..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        Self(text[start..].to_owned())
    }

    /// Like [`Text::new`], and not blank.
    ///
    /// # Errors
    /// As [`Text::new`], and `text_empty`.
    pub fn not_blank(field: &'static str, text: &str) -> Result<Self, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::new(field, "text_empty", "must not be empty"));
        }
        Self::new(field, text)
    }
}

impl Reason {
    /// # Errors
    /// `reason_empty`, `reason_too_long`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::new("reason", "reason_empty", "must not be empty"));
        }
        if text.chars().count() > REASON_CHARS {
            return Err(Invalid::new(
                "reason",
                "reason_too_long",
                format!("must have at most {REASON_CHARS} characters"),
            ));
        }
        Ok(Self(text.replace('\0', "\u{fffd}")))
    }

    /// A reason from the system itself: cut to fit, never refused.
    pub fn cut(text: &str) -> Self {
        Self(text.trim().replace('\0', "\u{fffd}").chars().take(REASON_CHARS).collect())
    }
}

impl LaneKey {
    /// # Errors
    /// `lane_invalid` unless 1 to 40 of `a-z`, `0-9` and `-`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("lane", "lane_invalid", "must be 1 to 40 of a-z, 0-9 and `-`, such as `in-progress`"))
        }
    }
}

impl Branch {
    /// Follows the rules of `git check-ref-format --branch`.
    ///
    /// # Errors
    /// `branch_invalid`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let forbidden = |c: char| c.is_control() || c == '\u{7f}' || " ~^:?*[\\".contains(c);
        let fits = !text.is_empty()
            && text.len() <= 200
            && !text.chars().any(forbidden)
            && !text.starts_with(['-', '/'])
            && !text.ends_with(['/', '.'])
            && !text.contains("..")
            && !text.contains("@{")
            && text != "@"
            && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("branch", "branch_invalid", "must be a valid Git branch name, such as `main`"))
        }
    }

    /// Where a run's work goes: `aw/<card>/<run>`.
    pub fn of_run(card: crate::CardId, run: crate::RunId) -> Self {
        Self(format!("aw/{card}/{run}"))
    }
}

fn http_address(field: &'static str, code: &'static str, text: &str) -> Result<String, Invalid> {
    let bad = |problem: &str| Invalid::new(field, code, problem);
    if text.len() > 2_000 {
        return Err(bad("must have at most 2,000 characters"));
    }
    let url = url::Url::parse(text).map_err(|_| bad("must be an address such as `https://host/path`"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("must begin with `https://` or `http://` and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not contain a user name or password; give the credential in its own field"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("must not contain `?` or `#`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

impl RepositoryUrl {
    /// # Errors
    /// `repository_url_invalid`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        http_address("repository.url", "repository_url_invalid", text).map(Self)
    }
}

impl BaseUrl {
    /// # Errors
    /// `base_url_invalid`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        http_address("base_url", "base_url_invalid", text).map(Self)
    }
}

impl ModelName {
    /// # Errors
    /// `model_invalid`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(
                "model",
                "model_invalid",
                "must be 1 to 100 visible ASCII characters, as the vendor writes it",
            ))
        }
    }
}

impl SecretRef {
    /// The reference of a secret that the vault keeps under `id`.
    pub fn vault(id: uuid::Uuid) -> Self {
        Self(format!("vault:{id}"))
    }

    /// The id under which the vault keeps it.
    pub fn vault_id(&self) -> Option<uuid::Uuid> {
        self.0.strip_prefix("vault:")?.parse().ok()
    }
}

impl CommitSha {
    /// # Errors
    /// `commit_invalid` unless 40 or 64 lower-case hexadecimal digits.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let fits = matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("commit", "commit_invalid", "must be a full hexadecimal commit name"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_trimmed_and_bounded() {
        assert_eq!(Title::new("  Fix the build ").unwrap().as_str(), "Fix the build");
        let code = |text: &str| Title::new(text).unwrap_err().code;
        assert_eq!(code(" \n "), "title_empty");
        assert_eq!(code(&"x".repeat(201)), "title_too_long");
        assert_eq!(code("two\nlines"), "title_control_character");
        assert!(Title::new(&"ü".repeat(200)).is_ok());
    }

    #[test]
    fn a_tail_is_cut_between_characters() {
        assert_eq!(Text::tail("abc\0", 64).as_str(), "abc\u{fffd}");
        assert_eq!(Text::tail("aüb", 2).as_str(), "b");
        assert_eq!(Text::tail("aüb", 3).as_str(), "üb");
        assert_eq!(Text::tail(&"x".repeat(2 * TEXT_BYTES), usize::MAX).as_str().len(), TEXT_BYTES);
    }

    #[test]
    fn branches_follow_git() {
        for good in ["main", "feature/x", "v1.2", "aw/crd_1/run_2"] {
            assert!(Branch::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a..b", "a b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a@{b", "@", "a~1", "a."] {
            assert!(Branch::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_carry_no_credentials() {
        assert_eq!(RepositoryUrl::new("https://host/a.git/").unwrap().as_str(), "https://host/a.git");
        for bad in
            ["", "host/a", "ftp://host/a", "file:///etc", "https://user:pw@host/a", "https://token@host/a", "http://"]
        {
            assert_eq!(RepositoryUrl::new(bad).unwrap_err().code, "repository_url_invalid", "{bad}");
        }
    }

    #[test]
    fn lane_keys_are_slugs() {
        assert!(LaneKey::new("in-progress").is_ok());
        for bad in ["", "In progress", "übung", &"x".repeat(41)] {
            assert!(LaneKey::new(bad).is_err(), "{bad}");
        }
    }
}
