//! Read model `card_history`: what happened to a card, one row for each event: its own, its runs' and their
//! environments'.
//!
//! A row's `payload` is the event's own, in its current version, without references to secrets; its `summary` is one
//! line for people, without what people said: that stands in the payload, sealed. Rows never change, but that what was said
//! goes when its subject is erased. Touched topics are card ids.

mod apply;
mod read;
mod row;
mod summary;

pub use read::{exists, histories, history, lengths, positions};
pub use row::HistoryRow;
pub use summary::with;

use domain::Decider as _;
use domain::card::Card;
use domain::environment::Environment;
use domain::run::Run;
use domain::subject::Subject;

use crate::model::Model;

/// The consumer's name.
pub const NAME: &str = "card_history-2";

/// The model.
pub const MODEL: Model = Model {
    name: "card_history",
    code: 2,
    consumer: NAME,
    aggregates: &[Card::TYPE, Run::TYPE, Environment::TYPE, Subject::TYPE],
    tables: include_str!("tables.sql"),
    indexes: "",
    fold: |whole| Box::new(apply::Tables::new(whole)),
};
