//! What may have happened to a subject.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::SubjectId;

crate::events! {
    /// The events of a [`Subject`](super::Subject).
    pub enum SubjectEvent {
        /// It was erased.
        Erased(SubjectErased) = 1,
    }
}

/// The subject was erased: its key is destroyed because of this event, and whoever keeps what was sealed for it, drops
/// it. Events of before stay as they are, unreadable where they were sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubjectErased {
    /// Who.
    pub subject: SubjectId,
}
