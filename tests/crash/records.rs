//! What clients know: what they asked and were answered, what subscribers saw. The checker takes their side.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// A request, under one key, and all that came of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sent {
    /// What it asks for.
    pub(crate) kind: &'static str,
    pub(crate) key: String,
    /// The trace that it began: everything that follows from it carries it.
    pub(crate) trace: String,
    /// None for one that creates a tenant.
    pub(crate) tenant: Option<Uuid>,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// Tries that got no answer, or one that says nothing of the outcome.
    pub(crate) unanswered: u32,
    pub(crate) answers: Vec<Answered>,
}

/// An answer that says what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answered {
    /// Whether it was carried out.
    pub(crate) fn done(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Sent {
    pub(crate) fn new(
        kind: &'static str,
        key: &str,
        trace: &str,
        tenant: Option<Uuid>,
        path: &str,
        body: &Value,
    ) -> Self {
        let (key, trace, path, body) = (key.to_owned(), trace.to_owned(), path.to_owned(), body.clone());
        Self { kind, key, trace, tenant, path, body, unanswered: 0, answers: vec![] }
    }
}

/// A frame of a board's subscription.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Frame {
    /// The frame's cursor.
    pub(crate) cursor: String,
    /// Whether it is the whole board: what was known before is void.
    pub(crate) whole: bool,
    /// The cards it has, by id, with their versions.
    pub(crate) cards: Vec<(String, i64)>,
    /// The cards it takes off the board.
    pub(crate) removed: Vec<String>,
}

/// What somebody saw who listens from the start on: the positions of each partition, in the order in which they came.
pub(crate) type Seen = Vec<(i32, i64)>;

/// All records of one scenario.
#[derive(Debug, Default)]
pub(crate) struct Records {
    requests: Mutex<Vec<Sent>>,
    boards: Mutex<BTreeMap<String, Vec<Frame>>>,
    /// By listener: each time it began anew, a further list.
    listeners: Mutex<BTreeMap<&'static str, Vec<Seen>>>,
}

/// [`Records`] at the end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Noted {
    pub(crate) requests: Vec<Sent>,
    /// By project.
    pub(crate) boards: BTreeMap<String, Vec<Frame>>,
    pub(crate) listeners: BTreeMap<&'static str, Vec<Seen>>,
}

impl Records {
    /// Notes a request; its place.
    pub(crate) fn sent(&self, sent: Sent) -> usize {
        let mut requests = self.requests.lock().expect("no panic");
        requests.push(sent);
        requests.len() - 1
    }

    pub(crate) fn answered(&self, place: usize, answer: Answered) {
        self.requests.lock().expect("no panic")[place].answers.push(answer);
    }

    pub(crate) fn unanswered(&self, place: usize) {
        self.requests.lock().expect("no panic")[place].unanswered += 1;
    }

    pub(crate) fn frame(&self, project: &str, frame: Frame) {
        self.boards.lock().expect("no panic").entry(project.to_owned()).or_default().push(frame);
    }

    /// The cursor of a board's last frame.
    pub(crate) fn last_frame(&self, project: &str) -> Option<String> {
        Some(self.boards.lock().expect("no panic").get(project)?.last()?.cursor.clone())
    }

    /// A listener begins at the start.
    pub(crate) fn begins(&self, listener: &'static str) {
        self.listeners.lock().expect("no panic").entry(listener).or_default().push(vec![]);
    }

    pub(crate) fn saw(&self, listener: &'static str, partition: i32, position: i64) {
        let mut listeners = self.listeners.lock().expect("no panic");
        let runs = listeners.entry(listener).or_default();
        if runs.is_empty() {
            runs.push(vec![]);
        }
        runs.last_mut().expect("one").push((partition, position));
    }

    /// The highest position that a listener has seen of a partition since it began.
    pub(crate) fn highest(&self, listener: &'static str, partition: i32) -> i64 {
        let listeners = self.listeners.lock().expect("no panic");
        let last = listeners.get(listener).and_then(|runs| runs.last());
        let of = |seen: &Seen| seen.iter().filter(|(p, _)| *p == partition).map(|(_, position)| *position).max();
        last.and_then(of).unwrap_or(0)
    }

    /// All of it.
    pub(crate) fn noted(&self) -> Noted {
        Noted {
            requests: self.requests.lock().expect("no panic").clone(),
            boards: self.boards.lock().expect("no panic").clone(),
            listeners: self.listeners.lock().expect("no panic").clone(),
        }
    }
}

impl Noted {
    /// Writes it where somebody can look at it.
    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, serde_json::to_string_pretty(self).expect("JSON")).expect("it can be written");
    }
}
