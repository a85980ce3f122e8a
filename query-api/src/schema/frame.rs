//! What subscribers are told, frame by frame.

use std::sync::Arc;

use async_graphql::Object;
use projections::board::CardRow;
use projections::card_history::HistoryRow;
use projections::environments::EnvironmentRow;
use projections::runs::StepRow;
use projections::usage::UsageRow;
use time::Date;

use super::card::Card;
use super::environment::Environment;
use super::history::HistoryEntry;
use super::run::RunStep;
use super::usage::Usage;
use crate::scalar::Cursor;

/// A card as it is now, and what happened to it between the frame before (or `since`) and this frame's cursor.
pub(crate) struct CardFrame {
    pub(crate) cursor: Cursor,
    pub(crate) card: Arc<CardRow>,
    pub(crate) entries: Vec<HistoryRow>,
    pub(crate) cut: bool,
}

/// A card as it is now, and what happened to it between the frame before (or `since`) and this frame's cursor.
#[Object]
impl CardFrame {
    /// How far this goes: give it as `since` after a reconnect.
    async fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The card as it is now.
    async fn card(&self) -> Card {
        Card(self.card.clone())
    }

    /// What happened, in order; the newest 200 of it.
    #[graphql(complexity = "20 * child_complexity")]
    async fn entries(&self) -> Vec<HistoryEntry> {
        self.entries.iter().cloned().map(HistoryEntry).collect()
    }

    /// Whether more happened than `entries` holds: what was known of the history is void, and those before the first of
    /// `entries` are read with `cardHistory`.
    async fn resync(&self) -> bool {
        self.cut
    }
}

/// What the agents of a run wrote between the frame before (or `since`) and this frame's cursor.
pub(crate) struct RunLogFrame {
    pub(crate) cursor: Cursor,
    pub(crate) steps: Vec<Arc<StepRow>>,
    pub(crate) ended: bool,
}

/// What the agents of a run wrote between the frame before (or `since`) and this frame's cursor.
#[Object]
impl RunLogFrame {
    /// How far this goes: give it as `since` after a reconnect.
    async fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The lines, in order: of each step its title, then what came of it.
    async fn lines(&self) -> Vec<RunLogLine> {
        self.steps.iter().flat_map(RunLogLine::of).collect()
    }

    /// The steps that the lines are of.
    #[graphql(complexity = "20 * child_complexity")]
    async fn steps(&self) -> Vec<RunStep> {
        self.steps.iter().cloned().map(RunStep).collect()
    }

    /// Whether the run is over. The subscription completes after that frame.
    async fn ended(&self) -> bool {
        self.ended
    }
}

/// A line that an agent wrote.
pub(crate) struct RunLogLine {
    step: Arc<StepRow>,
    text: String,
}

impl RunLogLine {
    fn of(step: &Arc<StepRow>) -> Vec<Self> {
        let texts = std::iter::once(step.title.as_str()).chain(step.detail.lines());
        texts.map(|text| Self { step: step.clone(), text: text.to_owned() }).collect()
    }
}

/// A line that an agent wrote.
#[Object]
impl RunLogLine {
    /// Which attempt wrote it, from 1.
    async fn attempt(&self) -> i32 {
        self.step.attempt
    }

    /// The step that it is of, from 1 within the attempt.
    async fn step(&self) -> i32 {
        self.step.number
    }

    /// The line, without its end.
    async fn text(&self) -> &str {
        &self.text
    }
}

/// What changed among a project's environments between the frame before (or `since`) and this frame's cursor.
pub(crate) struct EnvironmentsFrame {
    pub(crate) cursor: Cursor,
    pub(crate) whole: bool,
    pub(crate) resync: bool,
    pub(crate) environments: Vec<Arc<EnvironmentRow>>,
}

/// What changed among a project's environments between the frame before (or `since`) and this frame's cursor.
#[Object]
impl EnvironmentsFrame {
    /// How far this goes: give it as `since` after a reconnect.
    async fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether `environments` are all that are not over, and what was known before is void: in the first frame of a
    /// subscription without `since`, and in one with `resync`.
    async fn snapshot(&self) -> bool {
        self.whole
    }

    /// Whether a client that was up to date by its cursor gets a snapshot all the same: too much has changed since.
    async fn resync(&self) -> bool {
        self.resync
    }

    /// Those that are new or changed, as they are now; those that are over are among them once.
    #[graphql(complexity = "20 * child_complexity")]
    async fn environments(&self) -> Vec<Environment> {
        self.environments.iter().cloned().map(Environment).collect()
    }
}

/// What was used, whole, as of this frame's cursor.
pub(crate) struct UsageFrame {
    cursor: Cursor,
    usage: Usage,
}

impl UsageFrame {
    pub(crate) fn new(cursor: Cursor, from: Date, to: Date, rows: Vec<UsageRow>) -> Self {
        Self { cursor, usage: Usage { from, to, rows } }
    }
}

/// What was used, whole, as of this frame's cursor.
#[Object]
impl UsageFrame {
    /// The moment.
    async fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// What was used; what was known before is void.
    async fn usage(&self) -> &Usage {
        &self.usage
    }
}
