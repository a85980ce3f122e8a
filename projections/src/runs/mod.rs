//! Read model `runs`: runs, what their agents did, and how they ended.
//!
//! A run is here as soon as its card asked for it, so whoever pressed Run can follow it at once. Rows are never
//! deleted, and `position` is that of a row's last change, so what is new is `position > $1`. Touched topics are run
//! ids and project ids.

mod apply;
mod read;
mod row;

pub use read::{RunsOf, active_runs, counts, run, runs, runs_by_id, steps, steps_by_run};
pub use row::{RunRow, StepRow};

use domain::Decider as _;
use domain::card::Card;
use domain::run::Run;
use domain::subject::Subject;

use crate::model::Model;

/// The consumer's name.
pub const NAME: &str = "runs-2";

/// The model.
pub const MODEL: Model = Model {
    name: "runs",
    code: 2,
    consumer: NAME,
    aggregates: &[Card::TYPE, Run::TYPE, Subject::TYPE],
    tables: include_str!("tables.sql"),
    indexes: include_str!("indexes.sql"),
    fold: |whole| Box::new(apply::Tables::new(whole)),
};
