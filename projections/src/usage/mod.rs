//! Read model `usage`: what a tenant used, by day (UTC), project, provider and model.
//!
//! All sums are whole numbers: tokens, counts, milliseconds. A model call counts under the model that answered, on the
//! day it was made; a run's end and its time count under the model that was asked for, on the day it ended. Touched
//! topics are project ids.

mod apply;
mod read;
mod row;

pub use read::{usage, usage_in};
pub use row::UsageRow;

use domain::Decider as _;
use domain::run::Run;

use crate::model::Model;

/// The consumer's name.
pub const NAME: &str = "usage";

/// The model.
pub const MODEL: Model = Model {
    name: "usage",
    code: 1,
    consumer: NAME,
    aggregates: &[Run::TYPE],
    tables: include_str!("tables.sql"),
    indexes: "",
    fold: |whole| Box::new(apply::Tables::new(whole)),
};
