//! Read model `usage`: what a tenant used, by day (UTC), project, provider and model.
//!
//! All sums are whole numbers: tokens, counts, milliseconds. A model call counts under the model that answered, on the
//! day it was made; a run's end and its time count under the model that was asked for, on the day it ended. Touched
//! topics are project ids.

mod apply;
mod read;
mod row;

pub use apply::UsageModel;
pub use read::usage;
pub use row::UsageRow;

/// The consumer's name.
pub const NAME: &str = "usage";
