//! The log (which is the outbox): append, load, follow; its relay to JetStream; the consumer harness.
//!
//! The log in Postgres is the truth, the bus is a hint. Whatever is published can be read again from the log, in the
//! same order: positions are dense and in commit order within a partition.

pub mod aggregates;
mod ahead;
pub mod append;
pub mod archive;
pub mod bus;
pub mod consumer;
mod copy;
pub mod crash;
mod error;
pub mod evidence;
mod feed;
mod ids;
mod log;
mod message;
pub mod migrate;
mod moment;
mod place;
pub mod progress;
mod read;
pub mod relay;
pub mod replay;
mod row;
mod snapshot;
pub mod store;
pub mod subjects;
pub mod tail;
pub mod trace;
mod wake;
mod writer;

pub use aggregates::{Aggregates, MemorySettings};
pub use append::{Append, Appended, NewEvent, Verdict};
pub use bus::{Bus, BusError};
pub use error::LogError;
pub use log::{Log, LogSettings, begin};
pub use message::decode as event_of;
pub use place::{Place, PlaceError};
pub use progress::{Progress, Reached};
pub use read::{Loaded, PastCommand};
