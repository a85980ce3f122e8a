//! Text within bounds: the beginning, the end, or both, always whole characters.

use sha2::{Digest as _, Sha256};

/// The end of a text, at most so many bytes.
pub(crate) fn tail(text: &str, bytes: usize) -> &str {
    let from = text.len().saturating_sub(bytes);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

/// The beginning of a text, at most so many bytes.
pub(crate) fn head(text: &str, bytes: usize) -> &str {
    let to = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..to]
}

/// One line of at most so many characters, for a title.
pub(crate) fn one_line(text: &str, chars: usize) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "\u{fffd}");
    if let Some((cut, _)) = line.char_indices().nth(chars) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Takes any amount of output and keeps its beginning, its end and its digest.
pub(crate) struct Excerpt {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    dropped: u64,
    digest: Sha256,
}

impl Excerpt {
    /// Bytes kept of the beginning.
    pub(crate) const HEAD: usize = 8 * 1024;
    /// Bytes kept of the end.
    pub(crate) const TAIL: usize = 24 * 1024;

    pub(crate) fn new() -> Self {
        Self { head: Vec::new(), tail: std::collections::VecDeque::new(), dropped: 0, digest: Sha256::new() }
    }

    /// Takes more output.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        let (first, rest) = bytes.split_at(bytes.len().min(Self::HEAD - self.head.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(Self::TAIL);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
    }

    /// The text that was kept, and the digest of all.
    pub(crate) fn finish(self) -> (String, String) {
        let mut bytes = self.head;
        if self.dropped > 0 {
            bytes.extend_from_slice(format!("\n[… {} bytes left out …]\n", self.dropped).as_bytes());
        }
        bytes.extend(self.tail);
        (String::from_utf8_lossy(&bytes).into_owned(), hex(&self.digest.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole() {
        assert_eq!(tail("aüb", 2), "b");
        assert_eq!(tail("aüb", 3), "üb");
        assert_eq!(head("aüb", 2), "a");
        assert_eq!(head("aüb", 9), "aüb");
        assert_eq!(one_line("a\n b\tc  d", 3), "a b…");
    }

    #[test]
    fn an_excerpt_keeps_both_ends_and_digests_all() {
        let mut excerpt = Excerpt::new();
        let all = [vec![b'a'; Excerpt::HEAD], vec![b'x'; 100_000], vec![b'z'; Excerpt::TAIL]].concat();
        for piece in all.chunks(7_777) {
            excerpt.push(piece);
        }
        let (text, digest) = excerpt.finish();
        assert!(text.starts_with("aaa") && text.ends_with("zzz"));
        assert!(text.contains("100000 bytes left out") && !text.contains('x'));
        assert_eq!(digest, sha256(&all));
    }
}
