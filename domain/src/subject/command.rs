//! What may be asked of a subject.

use crate::id::SubjectId;

/// The commands of a [`Subject`](super::Subject).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectCommand {
    /// Makes everything that is sealed for it unreadable for ever. Repeating it changes nothing.
    Erase {
        /// Who.
        subject: SubjectId,
        /// A looked-up fact: whether the tenant keeps a key for it.
        known: bool,
    },
}
