//! What crosses a process boundary: the event envelope, subjects, token claims, the pod protocol.

pub mod claims;
pub mod cursor;
pub mod event;
pub mod pod;
pub mod subject;

pub use cursor::Cursor;
pub use event::{Metadata, Recorded};
