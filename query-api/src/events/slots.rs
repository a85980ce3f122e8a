//! How many streams a tenant may have open at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use access::Problem;
use axum::http::StatusCode;
use domain::TenantId;
use metrics::gauge;

type Taken = HashMap<Option<TenantId>, usize>;

/// The places of this process; operators have some together.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

/// One place, taken until this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    whose: Option<TenantId>,
    taken: Arc<Mutex<Taken>>,
}

/// A panic elsewhere leaves a map of whole entries behind, so the lock's poison means nothing here.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place of a tenant, or of operators.
    ///
    /// # Errors
    /// 429 when all are taken.
    pub(super) fn take(&self, whose: Option<TenantId>) -> Result<Slot, Problem> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(whose).or_default();
        if *count >= self.most {
            let detail = format!("{} streams are open, and no more may be at once; close one", self.most);
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail).retry_after(10));
        }
        *count += 1;
        gauge!("agentworks_event_streams").increment(1);
        Ok(Slot { whose, taken: self.taken.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.whose);
            }
        }
        gauge!("agentworks_event_streams").decrement(1);
    }
}
