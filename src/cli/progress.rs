//! How far something is, on a terminal.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// Between two looks at it.
const INTERVAL: Duration = Duration::from_millis(200);

/// A line on the terminal that says how far something is. Says nothing elsewhere.
pub(super) struct Progress {
    what: &'static str,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, shown: None, terminal: stderr().is_terminal() }
    }

    pub(super) fn at(&mut self, done: u64, all: u64) {
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let percent = done.saturating_mul(100) / all.max(1);
        // A terminal that is gone wants to know nothing.
        let _ = write!(stderr(), "\r{done} of {all} {} ({percent} %)", self.what);
    }

    /// Takes the line away.
    pub(super) fn done(&self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
