//! How the scripted model misbehaves on request, and how its answers travel.
//!
//! Guarantees: a fault is used as often as it says and never more; a cut answer breaks the connection off, as a crashed
//! vendor would; a gate holds an answer until it is released, not for a time.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use serde::Deserialize;
use tokio::sync::watch;

use super::conversation::{Call, Reply};

/// One kind of misbehaviour, or several at once. In a script: `{"fault": {"status": 429, "retry_after": 1, "times": 2}}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Answers this HTTP status with the vendor's error body, and nothing else.
    pub status: Option<u16>,
    /// Seconds for the `retry-after` header that goes with the status.
    pub retry_after: Option<u64>,
    /// Milliseconds before the first byte of the answer.
    pub first_byte_delay_ms: u64,
    /// Milliseconds before every further piece of a streamed answer.
    pub piece_delay_ms: u64,
    /// Breaks the connection off after so many pieces of the answer.
    pub cut_after: Option<usize>,
    /// Ends a stream half way with the vendor's error event.
    pub stream_error: bool,
    /// Stops the answer half way, because it had too many tokens.
    pub truncated: bool,
    /// Sends the input of the tool call as broken JSON.
    pub malformed_input: bool,
    /// Calls a tool that nobody offered.
    pub unoffered_tool: bool,
    /// For how many requests.
    pub times: u32,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            status: None,
            retry_after: None,
            first_byte_delay_ms: 0,
            piece_delay_ms: 0,
            cut_after: None,
            stream_error: false,
            truncated: false,
            malformed_input: false,
            unoffered_tool: false,
            times: 1,
        }
    }
}

impl Fault {
    /// An answer with this HTTP status, such as 429, 500 or 529.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// An answer that breaks off after so many pieces.
    #[must_use]
    pub fn cut_after(pieces: usize) -> Self {
        Self { cut_after: Some(pieces), ..Self::default() }
    }

    /// The same fault for this many requests.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// What the reply becomes.
    pub(super) fn distort(&self, reply: &mut Reply) {
        if self.unoffered_tool {
            let name = "launch_rocket".to_owned();
            match reply.calls.first_mut() {
                Some(call) => call.name = name,
                None => reply.calls.push(Call { name, input: "{}".to_owned() }),
            }
        }
        if self.malformed_input
            && let Some(call) = reply.calls.first_mut()
        {
            call.input = call.input.trim_end_matches('}').to_owned() + ", \"";
        }
        if self.truncated {
            reply.calls.clear();
            let half = reply.text.chars().count().div_ceil(2);
            reply.text = reply.text.chars().take(half).collect();
            reply.truncated = true;
        }
    }
}

/// Faults that wait for requests.
#[derive(Debug, Default)]
pub(super) struct FaultQueue {
    next: VecDeque<Fault>,
    /// How often each scripted fault was used, by task and place in its script.
    used: HashMap<(String, usize), u32>,
}

impl FaultQueue {
    pub(super) fn push(&mut self, fault: Fault) {
        self.next.push_back(fault);
    }

    /// Takes one use of the first fault that the operator of the server asked for.
    pub(super) fn take(&mut self) -> Option<Fault> {
        self.next.retain(|fault| fault.times > 0);
        let fault = self.next.front_mut()?;
        fault.times -= 1;
        Some(fault.clone())
    }

    /// Takes one use of a fault in a script, if it is not used up.
    pub(super) fn take_scripted(&mut self, task: &str, step: usize, fault: &Fault) -> bool {
        let used = self.used.entry((task.to_owned(), step)).or_default();
        let left = *used < fault.times;
        *used += u32::from(left);
        left
    }

    /// Forgets which scripted faults were used.
    pub(super) fn forget(&mut self) {
        self.used.clear();
    }
}

#[derive(Debug, Default, Clone)]
struct Gate {
    open: bool,
    /// How many answers have come to the gate in all.
    arrived: usize,
}

/// The gates at which scripts hold answers, by name. A gate is closed until it is released.
#[derive(Debug, Default)]
pub(super) struct Gates(watch::Sender<HashMap<String, Gate>>);

impl Gates {
    /// Waits at a gate until it is open.
    pub(super) async fn pass(&self, name: &str) {
        self.0.send_modify(|gates| gates.entry(name.to_owned()).or_default().arrived += 1);
        self.wait_for(name, |gate| gate.open).await;
    }

    pub(super) fn set(&self, name: &str, open: bool) {
        self.0.send_modify(|gates| gates.entry(name.to_owned()).or_default().open = open);
    }

    /// Waits until so many answers in all have come to the gate.
    pub(super) async fn arrived(&self, name: &str, count: usize) {
        self.wait_for(name, |gate| gate.arrived >= count).await;
    }

    async fn wait_for(&self, name: &str, condition: impl Fn(&Gate) -> bool) {
        let mut gates = self.0.subscribe();
        // The sender lives as long as `self`, so this ends only when the condition holds.
        let _ = gates.wait_for(|all| all.get(name).is_some_and(&condition)).await;
    }
}

/// A body made of these pieces, with the fault's delays and cut. Calls `sent` once the whole answer was handed over.
pub(super) fn body(pieces: Vec<String>, fault: &Fault, sent: impl FnOnce() + Send + 'static) -> Body {
    let first = Duration::from_millis(fault.first_byte_delay_ms);
    let further = Duration::from_millis(fault.piece_delay_ms);
    let cut_after = fault.cut_after;
    let state = (pieces.into_iter().enumerate(), Some(sent));
    let stream = futures::stream::unfold(state, move |(mut pieces, mut sent)| async move {
        let Some((number, piece)) = pieces.next() else {
            if let Some(sent) = sent.take() {
                sent();
            }
            return None;
        };
        let delay = if number == 0 { first } else { further };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if cut_after.is_some_and(|cut| number >= cut) {
            // What was sent before leaves the buffers first.
            tokio::task::yield_now().await;
            let cut = io::Error::from(io::ErrorKind::ConnectionReset);
            return Some((Err(cut), (pieces, None)));
        }
        Some((Ok(Bytes::from(piece)), (pieces, sent)))
    });
    Body::from_stream(stream)
}
