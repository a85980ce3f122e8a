//! What may be asked.

mod board;
mod card;
mod cards;
mod compat;
mod environment;
mod frame;
mod history;
mod log;
mod node;
mod notification;
mod page;
mod project;
mod query;
mod replay;
mod run;
mod subscription;
mod tenant;
mod usage;

use async_graphql::{EmptyMutation, Schema, SchemaBuilder};
pub(crate) use board::Board;
pub use compat::sdl_breaks;
pub(crate) use frame::{BoardFrame, CardFrame, EnvironmentsFrame, Resync, RunFrame, RunLogFrame, UsageFrame};
pub(crate) use log::EventsFrame;
pub(crate) use notification::NotificationsFrame;
use query::Query;
use subscription::Subscription;
pub(crate) use usage::Days;

use crate::guard::{self, Guard};
use crate::loader::Together;
use crate::state::{Reading, Settings};

/// The schema, ready to be asked.
pub(crate) type ApiSchema = Schema<Query, EmptyMutation, Subscription>;

fn builder() -> SchemaBuilder<Query, EmptyMutation, Subscription> {
    Schema::build(Query, EmptyMutation, Subscription)
        .extension(Guard)
        .extension(Together)
        .limit_recursive_depth(guard::MAX_DEPTH)
        .limit_directives(guard::DIRECTIVES)
        .disable_suggestions()
}

pub(crate) fn build(reading: Reading, settings: &Settings) -> ApiSchema {
    builder().limit_depth(settings.max_depth).limit_complexity(settings.max_complexity).data(reading).finish()
}

/// The schema in the schema definition language, as it is checked in among the contracts.
pub fn sdl() -> String {
    builder().finish().sdl()
}
