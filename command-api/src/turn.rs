//! Turns: decisions of one process that would get in each other's way wait here, one behind the other.
//!
//! What is decided by facts about several cards of a project takes the project's turn, so that two such decisions
//! cannot pass each other (two runs under a limit of one, two dependencies that close a circle). Between processes the
//! window is as long as one decision; nothing is lost there but the exactness of a limit. And who has lost a race for a
//! stream takes the stream's turn, so that many who change one thing at once are all served.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use uuid::Uuid;

#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Uuid, Weak<Turn<()>>>>);

impl Turns {
    /// Waits for the turn of a project or a stream, and holds it as long as the guard lives.
    pub(crate) async fn take(&self, of: Uuid) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, turn| turn.strong_count() > 0);
            match all.get(&of).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(Turn::new(()));
                    all.insert(of, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}
