//! What the attempt did, step by step: on disk before the next step is taken, and told to the control plane.
//!
//! Guarantees: a step's line is synced to disk when [`Journal::record`] returns; the control plane gets the steps in
//! order; titles and details are bounded, whole characters, and without the token. Never: waits for the control plane
//! while the agent works.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::context;
use schemas::pod::{STEP_DETAIL_BYTES, Step, StepKind};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::control_plane::{CallError, ControlPlane};
use crate::pulse::Pulse;
use crate::secret::PodToken;
use crate::text::{one_line, sha256, tail};

/// Characters of a title.
const TITLE_CHARS: usize = 200;
/// How long one step may take to be told.
const TELL: Duration = Duration::from_secs(60);

/// Where the attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Looking for an earlier effect, and getting the repository.
    Explore,
    /// Telling the model what is to be done.
    Plan,
    /// The model works.
    Summon,
    /// Committing, pushing and reporting.
    Complete,
}

/// A line of the journal's file.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Phase(Phase),
    Step(&'a Step),
}

/// What a step was about.
pub(crate) struct Entry<'a> {
    pub(crate) kind: StepKind,
    pub(crate) title: String,
    /// What came of it.
    pub(crate) detail: &'a str,
    /// SHA-256 of all that came of it, when `detail` is only a part.
    pub(crate) sha256: Option<String>,
    pub(crate) ok: bool,
    pub(crate) started: Instant,
}

/// The journal of an attempt.
pub(crate) struct Journal {
    file: File,
    token: PodToken,
    steps: Vec<context::Step>,
    sender: mpsc::UnboundedSender<Step>,
}

/// Ends when every step was told, once the journal is dropped; or when the attempt is over.
pub(crate) type Teller = JoinHandle<()>;

impl Journal {
    /// Starts the journal in this file, and telling its steps.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn start(
        path: &Path,
        control_plane: &ControlPlane,
        pulse: Arc<Pulse>,
    ) -> std::io::Result<(Self, Teller)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let teller = tokio::spawn(tell(receiver, control_plane.clone(), pulse));
        let journal =
            Self { file: File::create(path)?, token: control_plane.token().clone(), steps: Vec::new(), sender };
        Ok((journal, teller))
    }

    /// Notes that a phase begins.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn phase(&mut self, phase: Phase) -> std::io::Result<()> {
        tracing::info!(?phase, "phase");
        self.write(&Line::Phase(phase))
    }

    /// Notes a step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn record(&mut self, entry: Entry<'_>) -> std::io::Result<()> {
        let number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX).saturating_add(1);
        let duration_ms = u64::try_from(entry.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let detail = self.token.redact(entry.detail).replace('\0', "\u{fffd}");
        let step = Step {
            number,
            kind: entry.kind,
            title: one_line(&self.token.redact(&entry.title), TITLE_CHARS),
            detail: tail(&detail, STEP_DETAIL_BYTES).to_owned(),
            ok: entry.ok,
            duration_ms,
        };
        self.write(&Line::Step(&step))?;
        tracing::info!(number, kind = ?step.kind, title = step.title, ok = step.ok, duration_ms, "step");
        self.steps.push(context::Step {
            number,
            kind: step.kind,
            title: step.title.clone(),
            ok: step.ok,
            duration_ms,
            output_sha256: entry.sha256.unwrap_or_else(|| sha256(entry.detail.as_bytes())),
        });
        // The teller only ends early when the attempt is over, and then nobody wants to know.
        let _ = self.sender.send(step);
        Ok(())
    }

    /// The steps so far.
    pub(crate) fn steps(&self) -> &[context::Step] {
        &self.steps
    }

    fn write(&mut self, line: &Line<'_>) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.write_all(&bytes)?;
        self.file.sync_data()
    }
}

async fn tell(mut steps: mpsc::UnboundedReceiver<Step>, control_plane: ControlPlane, pulse: Arc<Pulse>) {
    while let Some(step) = steps.recv().await {
        match control_plane.step(&step, TELL).await {
            Ok(()) => pulse.told(step.number),
            Err(error @ CallError::Over(_)) => return pulse.end(error.to_string()),
            // The step is on disk and in the context; the run does not hang on it.
            Err(error) => tracing::warn!(%error, number = step.number, "a step could not be told"),
        }
    }
}
