//! Read model `card_history`: what happened to a card, one row for each event: its own, its runs' and their
//! environments'.
//!
//! A row's `payload` is the event's own, in its current version, without references to secrets; its `summary` is one
//! line for people. Rows never change. Touched topics are card ids.

mod apply;
mod read;
mod row;
mod summary;

pub use read::{Page, exists, history, positions};
pub use row::HistoryRow;

use domain::Decider as _;
use domain::card::Card;
use domain::environment::Environment;
use domain::run::Run;

use crate::model::Model;

/// The consumer's name.
pub const NAME: &str = "card_history";

/// The model.
pub const MODEL: Model = Model {
    name: "card_history",
    code: 1,
    consumer: NAME,
    aggregates: &[Card::TYPE, Run::TYPE, Environment::TYPE],
    tables: include_str!("tables.sql"),
    indexes: "",
    fold: |whole| Box::new(apply::Tables::new(whole)),
};
