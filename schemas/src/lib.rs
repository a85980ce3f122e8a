//! What crosses a process boundary: the event envelope, subjects, token claims, the pod protocol; and the contracts that
//! are generated from them.

pub mod claims;
pub mod cloud_event;
pub mod context;
pub mod contracts;
pub mod cursor;
pub mod event;
pub mod evidence;
pub mod pod;
pub mod subject;

pub use cloud_event::CloudEvent;
pub use cursor::Cursor;
pub use event::{Metadata, Recorded};
