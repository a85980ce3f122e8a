//! Read models: tables in schema `read`, written from the log and read by everybody who asks.
//!
//! Each model is one folder that owns its tables: only it writes them, only it reads them. Whatever they hold follows
//! from the log alone, so a model can be thrown away and built again at any time and comes out the same. Writing
//! happens inside the harness of [`outbox::consumer`], which moves the model's position in the same transaction;
//! reading takes the tenant first and goes through row-level security, so another tenant's thing looks exactly like
//! one that does not exist.
//!
//! Nothing here decides anything, and nothing here holds a secret or a reference to one.

pub mod board;
pub mod card_history;
mod fact;
pub mod runs;
mod table;
pub mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;

use outbox::consumer::{Consumer, Touched};
use uuid::Uuid;

/// Every read model, each of them a consumer of the log with its own position.
pub fn all() -> Vec<Arc<dyn Consumer>> {
    vec![
        Arc::new(board::BoardModel),
        Arc::new(card_history::CardHistoryModel),
        Arc::new(runs::RunsModel),
        Arc::new(usage::UsageModel),
    ]
}

/// What a page touched. For the harness no topics mean that nobody knows; a page that touched nothing names the topic
/// that is nobody's, so that it wakes nobody.
fn touched(mut topics: BTreeSet<Uuid>) -> Touched {
    if topics.is_empty() {
        topics.insert(Uuid::nil());
    }
    Touched(topics)
}
