//! A data subject: somebody whom personal data is about. It has no history but its end.

mod command;
mod decide;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::SubjectCommand;
pub use error::SubjectRefusal;
pub use event::{SubjectErased, SubjectEvent};
use serde::{Deserialize, Serialize};

use crate::aggregate::Decider;

/// The state of a subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// Whatever is known of it is in the vault.
    #[default]
    Present,
    /// Nothing is known of it any more, and never will be.
    Erased,
}

impl Decider for Subject {
    const TYPE: &'static str = "subject";
    const STATE: i32 = 1;
    type Command = SubjectCommand;
    type Event = SubjectEvent;
    type Refusal = SubjectRefusal;

    fn decide(&self, command: SubjectCommand) -> Result<Vec<SubjectEvent>, SubjectRefusal> {
        decide::decide(*self, command)
    }

    fn evolve(&mut self, event: &SubjectEvent) {
        match event {
            SubjectEvent::Erased(_) => *self = Self::Erased,
        }
    }
}

crate::cqrs_aggregate!(Subject);
