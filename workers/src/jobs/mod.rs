//! The queue of runs: who works on what, and what happens when nobody does any more.

pub(crate) mod queue;
pub(crate) mod reaper;
pub(crate) mod wake;
#[cfg(test)]
mod tests;
