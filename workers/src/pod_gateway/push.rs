//! What a push asks for, read from the start of its body before anything is passed on.
//!
//! A push begins with one line for each reference: `<old> <new> <name>`, the first with the client's capabilities behind
//! a NUL, and a flush; the pack follows. Guarantees: only the run's own branch passes, and it is never deleted. What
//! cannot be read does not pass.

use crate::git::pkt_line::{self, Packet};

/// Bytes that the list may have: a run pushes one branch.
pub(super) const MAX_LIST: usize = 64 * 1024;

/// One reference that is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    new: String,
    name: String,
}

/// Takes the start of a push.
#[derive(Debug, Default)]
pub(super) struct List {
    read: Vec<u8>,
    at: usize,
    changes: Vec<Change>,
    capabilities: String,
    complete: bool,
}

/// What does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blocked {
    /// This is no push that can be read.
    Malformed(&'static str),
    /// The references and why; to be answered as Git itself would.
    References(Vec<(String, String)>),
}

impl List {
    /// Takes the next piece of the body; true when the list is complete.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<bool, Blocked> {
        self.read.extend_from_slice(piece);
        while !self.complete {
            let next = pkt_line::next(&self.read[self.at..]);
            let Some((packet, length)) = next.map_err(|_| Blocked::Malformed("the push is not in Git's framing"))?
            else {
                break;
            };
            self.at += length;
            match packet {
                Packet::Flush => self.complete = true,
                Packet::Data(line) => {
                    let line = String::from_utf8(line.to_vec());
                    self.line(&line.map_err(|_| Blocked::Malformed("the push names a reference that is not UTF-8"))?)?;
                }
            }
        }
        if !self.complete && self.read.len() > MAX_LIST {
            return Err(Blocked::Malformed("the push names too many references"));
        }
        Ok(self.complete)
    }

    /// All that was read, the beginning of the pack included.
    pub(super) fn into_read(self) -> Vec<u8> {
        self.read
    }

    fn line(&mut self, line: &str) -> Result<(), Blocked> {
        let unreadable = || Blocked::Malformed("the push has a line that is not understood");
        let (line, capabilities) = line.split_once('\0').unwrap_or((line, ""));
        if self.changes.is_empty() && !capabilities.is_empty() {
            capabilities.trim().clone_into(&mut self.capabilities);
        }
        let line = line.trim_end_matches('\n');
        if line.starts_with("push-cert") {
            return Err(Blocked::Malformed("signed pushes are not taken here"));
        }
        if line.starts_with("shallow ") {
            return Ok(());
        }
        let mut words = line.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(unreadable());
        };
        let object = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !object(old) || !object(new) {
            return Err(unreadable());
        }
        self.changes.push(Change { new: new.to_owned(), name: name.to_owned() });
        Ok(())
    }

    /// Whether all of it may pass, when `branch` (its short name) is the run's own.
    pub(super) fn check(&self, branch: &str) -> Result<(), Blocked> {
        let own = format!("refs/heads/{branch}");
        let refuse = |change: &Change| {
            let deletes = change.new.bytes().all(|byte| byte == b'0');
            if change.name != own {
                Some(format!("a run may push its own branch {branch} only"))
            } else if deletes {
                Some("a run may not delete its branch".to_owned())
            } else {
                None
            }
        };
        if self.changes.iter().all(|change| refuse(change).is_none()) {
            return Ok(());
        }
        // All or nothing: a push that does not pass as a whole does not pass.
        let with_it = || "refused together with the others".to_owned();
        let references = self.changes.iter();
        let references = references.map(|change| (change.name.clone(), refuse(change).unwrap_or_else(with_it)));
        Err(Blocked::References(references.collect()))
    }

    /// Git's own answer to a push of references that are refused.
    pub(super) fn report(&self, references: &[(String, String)]) -> Vec<u8> {
        let mut report = Vec::new();
        pkt_line::push(&mut report, b"unpack ok\n");
        for (name, reason) in references {
            pkt_line::push(&mut report, format!("ng {name} {reason}\n").as_bytes());
        }
        pkt_line::push_flush(&mut report);
        let has = |wanted: &str| self.capabilities.split(' ').any(|capability| capability == wanted);
        if !has("side-band-64k") {
            return report;
        }
        let mut answer = Vec::new();
        for piece in report.chunks(60_000) {
            pkt_line::push(&mut answer, &[&[1], piece].concat());
        }
        pkt_line::push_flush(&mut answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";
    const ZERO: &str = "0000000000000000000000000000000000000000";
    const BRANCH: &str = "aw/crd_1/run_1";

    fn push(lines: &[String]) -> Vec<u8> {
        let mut body = Vec::new();
        for line in lines {
            pkt_line::push(&mut body, line.as_bytes());
        }
        pkt_line::push_flush(&mut body);
        body.extend_from_slice(b"PACK...");
        body
    }

    fn read(body: &[u8], step: usize) -> Result<List, Blocked> {
        let mut list = List::default();
        for piece in body.chunks(step) {
            if list.feed(piece)? {
                break;
            }
        }
        Ok(list)
    }

    #[test]
    fn the_runs_own_branch_passes_however_the_body_is_cut() {
        let body = push(&[format!("{ZERO} {NEW} refs/heads/{BRANCH}\0report-status side-band-64k agent=git/2")]);
        for step in [1, 5, 4096] {
            let list = read(&body, step).unwrap();
            assert!(list.complete);
            assert_eq!(list.check(BRANCH), Ok(()));
            assert!(body.starts_with(&list.into_read()));
        }
        // What Git sends first to see whether it may push at all.
        assert_eq!(read(b"0000", 4).unwrap().check(BRANCH), Ok(()));
    }

    #[test]
    fn other_references_and_deletions_do_not_pass() {
        let bad = |lines: &[String]| match read(&push(lines), 4096).unwrap().check(BRANCH) {
            Err(Blocked::References(references)) => references,
            other => panic!("{other:?}"),
        };
        let own = format!("{ZERO} {NEW} refs/heads/{BRANCH}\0report-status");
        assert_eq!(bad(&[format!("{OLD} {NEW} refs/heads/main\0report-status")]).len(), 1);
        assert_eq!(bad(&[own, format!("{OLD} {NEW} refs/tags/{BRANCH}")]).len(), 2);
        assert_eq!(bad(&[format!("{OLD} {ZERO} refs/heads/{BRANCH}\0")]).len(), 1);
        assert_eq!(bad(&[format!("{OLD} {NEW} refs/heads/{BRANCH}/x\0")]).len(), 1);
        assert_eq!(bad(&[format!("{OLD} {NEW} refs/heads/{BRANCH} \0")]).len(), 1);
    }

    #[test]
    fn what_cannot_be_read_does_not_pass() {
        let certificate = push(&["push-cert\0report-status\n".to_owned(), "certificate version 0.1\n".to_owned()]);
        let long = push(&vec![format!("{OLD} {NEW} refs/heads/x"); 2_000]);
        for body in [b"hello world".to_vec(), push(&["x".to_owned()]), certificate, long] {
            assert!(matches!(read(&body, 512), Err(Blocked::Malformed(_))), "{:?}", &body[..8]);
        }
    }

    #[test]
    fn a_refusal_is_told_in_gits_own_words() {
        let body = push(&[format!("{OLD} {NEW} refs/heads/main\0report-status side-band-64k")]);
        let list = read(&body, 4096).unwrap();
        let Err(Blocked::References(references)) = list.check(BRANCH) else { panic!("main is not the run's") };
        let report = String::from_utf8(list.report(&references)).unwrap();
        assert!(report.contains("\u{1}000eunpack ok\n"), "{report:?}");
        assert!(report.contains("ng refs/heads/main a run may push its own branch"), "{report:?}");
        assert!(report.ends_with("00000000"), "{report:?}");
    }
}
