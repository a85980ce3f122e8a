//! The seal, which covers what the proofs do not.

use super::super::failure::{Failure, Kind};
use super::super::{SEAL, seal_origin, seal_text};
use super::Verifier;
use crate::evidence::note::Note;

impl Verifier<'_> {
    pub(super) fn seal(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.chunk_is_over(name)?;
        let Some(manifest) = &self.manifest else {
            return Err(Failure::new(Kind::Missing, "about/manifest.json", "there is no manifest"));
        };
        let size = self.tree.size();
        let edited = |what: &str| Failure::new(Kind::Edited, name, what);
        let note: Note =
            std::str::from_utf8(bytes).unwrap_or_default().parse().map_err(|_| edited("not a signed note"))?;
        let origin = seal_origin(&manifest.installation, manifest.tenant);
        if note.signer(&origin, &self.keys).is_none() {
            return Err(if note.names(&origin, &self.keys) {
                edited("its signature is not over this text")
            } else {
                Failure::new(Kind::UnknownKey, name, "signed with a key that is not among the installation's")
            });
        }
        let mut said = note.text().lines();
        let events = said.by_ref().nth(1).and_then(|events| events.parse::<u64>().ok());
        match events {
            Some(events) if note.text().starts_with(SEAL) && events > size => {
                return Err(Failure::new(Kind::Truncated, name, format!("{size} of {events} events are left")).at(size));
            }
            Some(events) if events == size => {}
            _ => return Err(edited("not the seal of an export with these events")),
        }
        self.check_schemas()?;
        if note.text() != seal_text(size, &self.hashes) {
            return Err(self.difference(name, said));
        }
        if self.proven < size {
            let what = format!("no signed checkpoint is over the events from index {} on", self.proven);
            return Err(Failure::new(Kind::Missing, name, what).at(self.proven));
        }
        self.sealed = true;
        Ok(())
    }

    /// The first member that is not what the seal says.
    fn difference<'a>(&self, seal: &str, mut said: impl Iterator<Item = &'a str>) -> Failure {
        let mut found = self.hashes.iter();
        loop {
            let (said, found) = (said.next().and_then(|line| line.split_once(' ')), found.next());
            match (said, found) {
                (Some((_, said)), Some((found, _))) if found.as_str() > said => {
                    return Failure::new(Kind::Missing, said, "the seal names it");
                }
                (Some((_, said)), Some((found, _))) if found.as_str() < said => {
                    return Failure::new(Kind::Inserted, found, "the seal does not name it");
                }
                (Some((hash, _)), Some((found, is))) if is.to_string() != hash => {
                    return Failure::new(Kind::Edited, found, "it is not what was sealed");
                }
                (Some(_), Some(_)) => {}
                (Some((_, said)), None) => return Failure::new(Kind::Missing, said, "the seal names it"),
                (None, Some((found, _))) => return Failure::new(Kind::Inserted, found, "the seal does not name it"),
                (None, None) => return Failure::new(Kind::Edited, seal, "not a seal"),
            }
        }
    }
}
