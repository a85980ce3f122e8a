//! Turns: what is decided by facts about several cards of a project waits here for its turn, so that two such
//! decisions of one process cannot pass each other (two runs under a limit of one, two dependencies that close a
//! circle). Between processes the window is as long as one decision; nothing is lost there but the exactness of a limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::ProjectId;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<ProjectId, Weak<Turn<()>>>>);

impl Turns {
    /// Waits for the project's turn and holds it as long as the guard lives.
    pub(crate) async fn take(&self, project: ProjectId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, turn| turn.strong_count() > 0);
            match all.get(&project).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(Turn::new(()));
                    all.insert(project, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}
