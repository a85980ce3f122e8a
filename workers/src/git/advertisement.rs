//! Reads what a repository advertises to a client (`info/refs?service=git-upload-pack`, protocol version 0), piece by
//! piece as it arrives.

use super::pkt_line::{self, Packet};

/// References that are read at most; a repository with more has branches enough to find the wanted ones by name.
const MAX_REFERENCES: usize = 200_000;

/// This is not the advertisement of a Git repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not that of a Git repository")]
pub struct NotGit;

/// What a repository has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// Full names with the object that each points at, such as `refs/heads/main`.
    pub references: Vec<(String, String)>,
    /// The full name of the branch that HEAD names.
    pub head: Option<String>,
}

impl Advertisement {
    /// The commit at the head of `branch` (its short name).
    pub fn branch(&self, branch: &str) -> Option<&str> {
        let wanted = |(name, _): &&(String, String)| name.strip_prefix(BRANCHES) == Some(branch);
        self.references.iter().find(wanted).map(|(_, object)| object.as_str())
    }

    /// The short names of all branches.
    pub fn branches(&self) -> impl Iterator<Item = &str> {
        self.references.iter().filter_map(|(name, _)| name.strip_prefix(BRANCHES))
    }

    /// The short name of the branch that a clone starts on: what HEAD names, or for an old server that does not say,
    /// the branch that stands where HEAD stands.
    pub fn default_branch(&self) -> Option<&str> {
        if let Some(head) = &self.head {
            return head.strip_prefix(BRANCHES);
        }
        let (_, object) = self.references.iter().find(|(name, _)| name == "HEAD")?;
        let there = |name: &&str| self.branch(name) == Some(object.as_str());
        ["main", "master"].into_iter().find(|name| there(name)).or_else(|| self.branches().find(there))
    }
}

const BRANCHES: &str = "refs/heads/";
const SERVICE: &[u8] = b"# service=git-upload-pack";

/// Takes the pieces of an answer.
#[derive(Debug, Default)]
pub struct Reader {
    rest: Vec<u8>,
    section: Section,
    found: Advertisement,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Section {
    /// The line that names the service.
    #[default]
    Service,
    /// The flush behind it.
    Gap,
    /// The references.
    References,
    /// All has been read.
    End,
}

impl Reader {
    /// Takes the next piece; true when all has been read.
    ///
    /// # Errors
    /// When this is no advertisement.
    pub fn feed(&mut self, piece: &[u8]) -> Result<bool, NotGit> {
        self.rest.extend_from_slice(piece);
        let rest = std::mem::take(&mut self.rest);
        let mut read = 0;
        while self.section != Section::End {
            let Some((packet, length)) = pkt_line::next(&rest[read..]).map_err(|_| NotGit)? else { break };
            read += length;
            self.take(packet)?;
        }
        self.rest = rest[read..].to_vec();
        Ok(self.section == Section::End)
    }

    /// What was advertised, once [`Reader::feed`] has said that this is all.
    ///
    /// # Errors
    /// When the answer ended too early.
    pub fn finish(self) -> Result<Advertisement, NotGit> {
        if self.section == Section::End { Ok(self.found) } else { Err(NotGit) }
    }

    fn take(&mut self, packet: Packet<'_>) -> Result<(), NotGit> {
        self.section = match (&self.section, packet) {
            (Section::Service, Packet::Data(line)) if line.trim_ascii_end() == SERVICE => Section::Gap,
            (Section::Gap, Packet::Flush) => Section::References,
            (Section::References, Packet::Data(line)) => {
                self.reference(line)?;
                Section::References
            }
            (Section::References, Packet::Flush) => Section::End,
            _ => return Err(NotGit),
        };
        Ok(())
    }

    /// `<object> <name>`, and on the first line NUL and the server's capabilities behind it.
    fn reference(&mut self, line: &[u8]) -> Result<(), NotGit> {
        let line = std::str::from_utf8(line.trim_ascii_end()).map_err(|_| NotGit)?;
        let (reference, capabilities) = line.split_once('\0').unwrap_or((line, ""));
        let (object, name) = reference.split_once(' ').ok_or(NotGit)?;
        let is_object = matches!(object.len(), 40 | 64) && object.bytes().all(|b| b.is_ascii_hexdigit());
        if object == "shallow" {
            return Ok(());
        }
        if !is_object || self.found.references.len() >= MAX_REFERENCES {
            return Err(NotGit);
        }
        if let Some(head) = capabilities.split(' ').find_map(|capability| capability.strip_prefix("symref=HEAD:")) {
            self.found.head = Some(head.to_owned());
        }
        // An empty repository advertises no reference but a line to carry its capabilities; and a tag's target is none.
        if name != "capabilities^{}" && !name.ends_with("^{}") {
            self.found.references.push((name.to_owned(), object.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    fn advertise(lines: &[String]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pkt_line::push(&mut bytes, b"# service=git-upload-pack\n");
        pkt_line::push_flush(&mut bytes);
        for line in lines {
            pkt_line::push(&mut bytes, line.as_bytes());
        }
        pkt_line::push_flush(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8], step: usize) -> Result<Advertisement, NotGit> {
        let mut reader = Reader::default();
        for piece in bytes.chunks(step) {
            reader.feed(piece)?;
        }
        reader.finish()
    }

    #[test]
    fn references_are_read_however_the_answer_is_cut() {
        let bytes = advertise(&[
            format!("{A} HEAD\0multi_ack symref=HEAD:refs/heads/trunk agent=git/2.39\n"),
            format!("{B} refs/heads/aw/crd_1/run_1\n"),
            format!("{A} refs/heads/trunk\n"),
            format!("{B} refs/tags/v1\n"),
            format!("{A} refs/tags/v1^{{}}\n"),
        ]);
        for step in [1, 3, 7, bytes.len()] {
            let found = read(&bytes, step).unwrap();
            assert_eq!(found.default_branch(), Some("trunk"));
            assert_eq!(found.branches().collect::<Vec<_>>(), ["aw/crd_1/run_1", "trunk"]);
            assert_eq!(found.branch("aw/crd_1/run_1"), Some(B));
            assert_eq!(found.branch("v1"), None);
        }
    }

    #[test]
    fn an_old_server_and_an_empty_repository_are_understood() {
        let old = advertise(&[format!("{A} HEAD\0multi_ack\n"), format!("{A} refs/heads/master\n")]);
        assert_eq!(read(&old, 64).unwrap().default_branch(), Some("master"));
        let zeros = "0".repeat(40);
        let empty = advertise(&[format!("{zeros} capabilities^{{}}\0symref=HEAD:refs/heads/main\n")]);
        assert_eq!(read(&empty, 64).unwrap().branches().count(), 0);
    }

    #[test]
    fn what_is_no_repository_is_refused() {
        for bytes in [&b"<!DOCTYPE html>"[..], b"", b"0000", b"001e# service=git-receive-pack\n0000"] {
            assert_eq!(read(bytes, 8), Err(NotGit), "{bytes:?}");
        }
        let cut = &advertise(&[format!("{A} refs/heads/main\n")])[..40];
        assert_eq!(read(cut, 8), Err(NotGit));
    }
}
