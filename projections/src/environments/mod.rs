//! Read model `environments`: where attempts of runs work or worked, and what became of it.
//!
//! Rows are never deleted, and `position` is that of a row's last change. Touched topics are environment ids and project
//! ids.

mod apply;
mod read;
mod row;

pub use read::{changed, counts, environment, environments, environments_by_id};
pub use row::EnvironmentRow;

use domain::Decider as _;
use domain::environment::Environment;

use crate::model::Model;

/// The consumer's name.
pub const NAME: &str = "environments";

/// The model.
pub const MODEL: Model = Model {
    name: "environments",
    code: 1,
    consumer: NAME,
    aggregates: &[Environment::TYPE],
    tables: include_str!("tables.sql"),
    indexes: include_str!("indexes.sql"),
    fold: |whole| Box::new(apply::Tables::new(whole)),
};
