//! Read models: tables that are written from the log and read by everybody who asks.
//!
//! Each model is one folder that owns its tables: only it writes them, only it reads them. Whatever they hold follows
//! from the log alone, so a model can be built again at any time and comes out the same: its tables live in a schema a
//! generation, and the next one is built beside the one that serves ([`generations`]). Writing happens inside the
//! harness of [`outbox::consumer`], which moves the model's position in the same transaction; reading ([`read`]) takes
//! the tenant first and goes through row-level security, so another tenant's thing looks exactly like one that does not
//! exist.
//!
//! Nothing here decides anything, and nothing here holds a secret or a reference to one.

pub mod board;
pub mod card_history;
pub mod environments;
mod fact;
pub mod generations;
mod model;
mod page;
pub mod personal;
pub mod runs;
mod table;
pub mod usage;

use std::sync::Arc;

pub use generations::read;
pub use model::Model;
use outbox::consumer::Consumer;
pub use page::Page;

/// Every read model, each of them a consumer of the log with its own position.
pub const MODELS: [Model; 5] = [board::MODEL, card_history::MODEL, runs::MODEL, usage::MODEL, environments::MODEL];

/// Every read model, for the harness.
pub fn all() -> Vec<Arc<dyn Consumer>> {
    MODELS.iter().map(|model| Arc::new(*model) as Arc<dyn Consumer>).collect()
}
