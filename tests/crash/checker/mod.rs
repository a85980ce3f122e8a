//! An outsider's check of everything that must hold once all is at rest, from the database and the clients' records alone.
//!
//! It shares no code with the product: its own SQL, its own digests, its own fold of the events. A rule that is broken is
//! named, with the place.

pub(crate) mod archive;
mod clients;
mod fold;
mod log;
mod models;
pub(crate) mod picture;
mod roots;
mod rows;
pub(crate) mod selftest;

use std::fmt;

pub(crate) use self::clients::place_of;
use self::picture::Picture;
use crate::records::Noted;

/// Every rule: its name, and what holds.
pub(crate) const RULES: &[(&str, &str)] = &[
    ("positions", "positions are dense from 1 and the clock stands at the last"),
    ("versions", "versions are dense from 1 in each stream, which belongs to one tenant and is of one type"),
    ("ids", "no event is there twice"),
    ("streams", "what is known of each stream is where its last event is"),
    ("commands", "each command's events stand together in one stream, and are known under its id"),
    ("digests", "each event's digest is that of its bytes"),
    ("roots", "each signed checkpoint is of the tree over the digests, and its signature is good"),
    ("archives", "what has left the database is in the archive, whole, as it was written, and nowhere else"),
    ("chains", "each event's chain hashes its digest onto the one before"),
    ("acknowledged", "what a client was told is in the log, where it was told"),
    ("once", "a request has the events of one command, however often it was sent"),
    ("answers", "a request is answered the same each time"),
    ("refused", "a request that was refused has no event"),
    ("asked", "no event is there that nobody asked for"),
    ("models", "each read model is the fold of the log"),
    ("foreign", "no row belongs to a tenant that is none, or to another than its thing"),
    ("consumers", "every consumer is at the head of the log"),
    ("rest", "nothing waits to be done, and nothing is parked"),
    ("runs", "every run has one end, and its card knows it"),
    ("environments", "every environment has ended"),
    ("boards", "a board's subscriber saw every change once and in order, and knows the last of each card"),
    ("stream", "who reads the stream, or `/v1/events`, saw every event once and in order"),
];

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: &'static str, what: impl Into<String>) {
        assert!(RULES.iter().any(|(known, _)| *known == rule), "`{rule}` is no rule");
        self.0.push(Finding { rule, what: what.into() });
    }

    fn check(&mut self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, what());
        }
    }
}

/// How strict the stream's order is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus {
    /// Its server kept everything: no listener saw a position twice, or out of order.
    Kept,
    /// It lost something, or all: whoever goes by position missed nothing in the end.
    Lost,
}

/// Everything that is wrong.
pub(crate) fn judge(picture: &Picture, noted: &Noted, bus: Bus) -> Vec<Finding> {
    let mut findings = Findings::default();
    archive::judge(picture, &mut findings);
    log::judge(picture, &mut findings);
    clients::requests(picture, noted, &mut findings);
    clients::boards(picture, noted, &mut findings);
    clients::listeners(picture, noted, bus, &mut findings);
    roots::judge(picture, &mut findings);
    rows::judge(picture, noted, &mut findings);
    findings.0
}
