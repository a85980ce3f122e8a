//! Reactions to events: what makes a wish to run a card come true.
//!
//! `RunCardRequested` → process manager (`process`) → queue (`jobs`) → `runner` → environment (`environments`) → a
//! pod, which comes back through the gateway (`pod_gateway`) → the run's result → the card. Every step is recoverable: what
//! a process was doing when it died is found in Postgres and brought to an end by itself or by another worker.
//!
//! [`Workers`] puts it together.

mod clock;
mod control;
pub mod environments;
pub mod git;
mod http;
mod ids;
mod jobs;
mod pod_gateway;
mod process;
mod runner;
mod settings;
#[cfg(test)]
mod testing;
mod workers;

pub use jobs::lanes;
pub use process::RUN_CARD;
pub use settings::{ConfinementMode, WorkerSettings};
pub use workers::{Dependencies, Workers, WorkersError, consumers};
