//! The queue of runs: who works on what, and what happens when nobody does any more.

pub mod lanes;
#[cfg(test)]
mod model;
pub(crate) mod queue;
pub(crate) mod reaper;
#[cfg(test)]
mod tests;
pub(crate) mod wake;
