//! Auditors' reads: a card's history step by step, from the log itself.
//!
//! Guarantees: a step is an event as it is stored, with who acted, what caused it, its digest and chain and, as soon as a
//! signed checkpoint covers it, the proof that it stands in the tenant's log. Read models play no part, so what is shown
//! is what an export would show. A replay as of a moment is the same today and in ten years.

mod http;
mod moment;
mod step;
mod walk;

pub(crate) use http::{__path_replay, replay};
pub(crate) use moment::{Moment, NoMoment};
pub(crate) use step::{Cause, Step};
pub(crate) use walk::{Page, Replay, Unanswered, walk};
