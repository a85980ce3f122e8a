//! Crash points: the places between two steps that belong together, where a test may have the process die.
//!
//! A point costs one relaxed load until the composition root has armed one. The armed one ends the process on the spot
//! when it is reached for the n-th time: SIGKILL, so nothing is unwound, flushed, answered or released. What must hold
//! afterwards is checked from outside (`tests/crash`), for every point of [`POINTS`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// Every point: its name, and what has happened there and what has not.
pub const POINTS: &[(&str, &str)] = &[
    ("command.decided", "a command's events are decided; nothing is appended"),
    ("command.stored", "a command's events are in the log; its caller has no answer"),
    ("append.sending", "a group of appends is gathered; the database has not heard of it"),
    ("append.committed", "a group of appends is committed; nobody knows"),
    ("snapshot.cut", "a snapshot was cut; it is not written"),
    ("snapshot.written", "a snapshot is written; nobody knows"),
    ("relay.leased", "the relay's lease is taken or renewed; nothing was done under it"),
    ("relay.sending", "an event was read from the log; it is not published"),
    ("relay.sent", "an event is on its way to the stream; the server has not acknowledged it"),
    ("relay.acknowledged", "the stream has an event; the relay has not noted it"),
    ("consumer.applied", "a page's effects and the position are written; their transaction is open"),
    ("consumer.committed", "a page is committed; nobody was told"),
    ("evidence.leaves", "leaves are added to Merkle trees; their full tiles are not folded, their transaction is open"),
    ("checkpoint.signed", "checkpoints are signed; their transaction is open"),
    ("checkpoint.stored", "checkpoints are in the database; they are not published"),
    ("checkpoint.published", "a checkpoint is published; nobody has noted it"),
    ("archive.written", "a range's file is written; the log does not know of it"),
    ("archive.marked", "a range is marked as archived; its table is still there"),
    ("archive.detached", "an archived range's table is no part of the log any more; it is not dropped"),
    ("erase.destroyed", "an erased person's key is destroyed; the transaction is open"),
    ("erase.purged", "the keys' table was rewritten after an erasure; nobody was told"),
    ("process.planned", "a process manager's commands are stored; their transaction is open"),
    ("process.dispatched", "a process manager's command was carried out; it still waits to be sent"),
    ("job.claimed", "a worker holds a job; nothing was done for it"),
    ("job.extended", "a worker's lease on a job is extended"),
    ("environment.requested", "an environment is requested; no attempt was given to it"),
    ("environment.dispatched", "an attempt was given to an environment that is not made"),
    ("environment.started", "a pod runs; the log does not say so"),
    ("push.passing", "a run's push was let through; the repository has not heard of it"),
    ("push.done", "the repository has taken a run's push; the pod has no answer"),
    ("result.checked", "a run's result is found true; the log does not have it"),
    ("result.recorded", "a run's result is in the log; the pod has no answer"),
];

/// Why no point was armed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArmError {
    /// There is no such point.
    #[error("there is no crash point `{0}`")]
    Unknown(String),
    /// What follows the name is not a number from 1.
    #[error("`{0}` does not say when to crash: write NAME or NAME:NTH, counted from 1")]
    Count(String),
    /// A process has one life.
    #[error("a crash point is armed already")]
    Twice,
}

struct Armed {
    name: &'static str,
    /// How often it is still to be passed.
    left: AtomicU64,
}

static ANY: AtomicBool = AtomicBool::new(false);
static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms a point of this process, written as `NAME` or `NAME:NTH`. For the composition root, before anything is started.
///
/// # Errors
/// When there is no such point, or one is armed.
pub fn arm(at: &str) -> Result<(), ArmError> {
    let (name, nth) = parse(at)?;
    ARMED.set(Armed { name, left: AtomicU64::new(nth) }).map_err(|_| ArmError::Twice)?;
    ANY.store(true, Ordering::Relaxed);
    Ok(())
}

fn parse(at: &str) -> Result<(&'static str, u64), ArmError> {
    let (name, nth) = match at.split_once(':') {
        Some((name, nth)) => (name, nth.parse().ok().filter(|nth| *nth > 0).ok_or(ArmError::Count(at.to_owned()))?),
        None => (at, 1),
    };
    let known = POINTS.iter().find(|(known, _)| *known == name);
    known.map(|(name, _)| (*name, nth)).ok_or_else(|| ArmError::Unknown(name.to_owned()))
}

/// The process is here. Does nothing, or does not return.
#[inline]
pub fn point(name: &'static str) {
    if ANY.load(Ordering::Relaxed) {
        reached(name);
    }
}

#[cold]
fn reached(name: &str) {
    let Some(armed) = ARMED.get().filter(|armed| armed.name == name) else { return };
    // Below zero it starts from the top: the process has long been dead by then.
    if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        let _does_not_return = kill_process(getpid(), Signal::KILL);
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_point_has_one_name_and_says_what_it_is() {
        let names: BTreeSet<_> = POINTS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), POINTS.len());
        assert!(POINTS.iter().all(|(_, what)| !what.is_empty()));
    }

    #[test]
    fn a_point_is_named_with_its_turn_or_taken_at_once() {
        assert_eq!(parse("append.committed"), Ok(("append.committed", 1)));
        assert_eq!(parse("append.committed:7"), Ok(("append.committed", 7)));
        assert_eq!(parse("append.committed:0"), Err(ArmError::Count("append.committed:0".to_owned())));
        assert_eq!(parse("append.comitted:1"), Err(ArmError::Unknown("append.comitted".to_owned())));
    }
}
