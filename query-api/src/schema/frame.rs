//! What subscribers are told, frame by frame.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object};
use domain::id::CardKind;
use projections::board::{CardRow, ProjectRow};
use projections::card_history::HistoryRow;
use projections::environments::EnvironmentRow;
use projections::runs::{RunRow, StepRow};
use projections::usage::UsageRow;
use time::Date;

use super::board::Board;
use super::card::Card;
use super::environment::Environment;
use super::history::HistoryEntry;
use super::project::Project;
use super::run::{Run, RunStep};
use super::usage::Usage;
use crate::scalar::{Cursor, id};

/// Why a subscription begins anew with the whole.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resync {
    /// So much has changed since the cursor that the whole is less.
    CursorTooOld,
    /// The client took its frames more slowly than things changed.
    ClientTooSlow,
}

/// What changed on a board: everything between the frame before (or `since`) and this frame's cursor.
pub(crate) struct BoardFrame {
    pub(crate) cursor: Cursor,
    pub(crate) snapshot: Option<Board>,
    pub(crate) resync: Option<Resync>,
    pub(crate) cards: Vec<Arc<CardRow>>,
    pub(crate) project: Option<Arc<ProjectRow>>,
}

impl BoardFrame {
    /// Whether it is worth to be told.
    pub(crate) fn holds_something(&self) -> bool {
        self.snapshot.is_some() || !self.cards.is_empty() || self.project.is_some()
    }
}

/// What changed on a board: everything between the frame before (or `since`) and this frame's cursor. To apply it, put
/// each of `cards` where it says it stands, and take those of `removed` off the board.
#[Object]
impl BoardFrame {
    /// How far this goes: give it as `since` after a reconnect.
    async fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The whole board, in the first frame of a subscription without `since`, and in one with `resync`; what was known
    /// before is void.
    async fn snapshot(&self) -> Option<&Board> {
        self.snapshot.as_ref()
    }

    /// Why a client that was up to date by its cursor is told anew.
    async fn resync(&self) -> Option<Resync> {
        self.resync
    }

    /// The cards on the board that are new or changed, as they are now.
    #[graphql(complexity = "20 * child_complexity")]
    async fn cards(&self) -> Vec<Card> {
        self.cards.iter().filter(|card| !card.archived).cloned().map(Card).collect()
    }

    /// The ids of cards that are off the board now.
    async fn removed(&self) -> Vec<ID> {
        self.cards.iter().filter(|card| card.archived).map(|card| id::<CardKind>(card.card)).collect()
    }

    /// The project, when it changed: its name, its lanes, its bounds.
    async fn project(&self) -> Option<Project> {
        self.project.clone().map(Project)
    }
}

/// A card as it is now, and what happened to it between the frame before (or `since`) and this frame's cursor.
pub(crate) struct CardFrame {
    pub(crate) cursor: Cursor,
    pub(crate) card: Arc<CardRow>,
    pub(crate) entries: Vec<HistoryRow>,
    pub(crate) whole: bool,
    pub(crate) resync: Option<Resync>,
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

    /// Whether `entries` stand for the whole history, and what was known of it before is void: in the first frame of a
    /// subscription without `since`, and in one with `resync`. What happened before the first of them is read with
    /// `cardHistory`.
    async fn whole(&self) -> bool {
        self.whole
    }

    /// Why a client that was up to date by its cursor is told anew.
    async fn resync(&self) -> Option<Resync> {
        self.resync
    }
}

/// How a run goes on: everything between the frame before (or `since`) and this frame's cursor.
pub(crate) struct RunFrame {
    pub(crate) cursor: Cursor,
    pub(crate) run: Arc<RunRow>,
    pub(crate) steps: Vec<Arc<StepRow>>,
}

/// How a run goes on: everything between the frame before (or `since`) and this frame's cursor.
#[Object]
impl RunFrame {
    /// How far this goes: give it as `since` after a reconnect.
    async fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The run as it is now.
    async fn run(&self) -> Run {
        Run(self.run.clone())
    }

    /// What its agents did since the frame before; everything so far in the first frame of a subscription without
    /// `since`.
    #[graphql(complexity = "20 * child_complexity")]
    async fn new_steps(&self) -> Vec<RunStep> {
        self.steps.iter().cloned().map(RunStep).collect()
    }

    /// Whether the run is over. The subscription completes after that frame.
    async fn ended(&self) -> bool {
        self.run.ended_at.is_some()
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
    pub(crate) resync: Option<Resync>,
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
    async fn whole(&self) -> bool {
        self.whole
    }

    /// Why a client that was up to date by its cursor is told anew.
    async fn resync(&self) -> Option<Resync> {
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
