//! How much of something somebody may have at once in this process.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::gauge;

/// Places, a number of them for each `K`. Cheap to clone; all clones share them.
#[derive(Debug)]
pub(crate) struct Places<K> {
    /// The metric that counts those that are taken.
    gauge: &'static str,
    most: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self { gauge: self.gauge, most: self.most, taken: self.taken.clone() }
    }
}

/// One place, taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Hash + Eq> {
    gauge: &'static str,
    whose: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

/// A panic elsewhere leaves a map of whole entries behind, so the lock's poison means nothing here.
fn lock<K>(taken: &Mutex<HashMap<K, usize>>) -> MutexGuard<'_, HashMap<K, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// `most` for each.
    pub(crate) fn new(gauge: &'static str, most: usize) -> Self {
        Self { gauge, most, taken: Arc::default() }
    }

    /// How many each may have.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// A place; none when all of theirs are taken.
    pub(crate) fn take(&self, whose: &K) -> Option<Place<K>> {
        let mut taken = lock(&self.taken);
        let count = taken.get(whose).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        taken.insert(whose.clone(), count + 1);
        gauge!(self.gauge).increment(1);
        Some(Place { gauge: self.gauge, whose: whose.clone(), taken: self.taken.clone() })
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.whose);
            }
        }
        gauge!(self.gauge).decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_and_whoever_gives_one_back_may_take_another() {
        let places = Places::new("test", 2);
        let (first, second) = (places.take(&"a"), places.take(&"a"));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(&"a").is_none());
        assert!(places.clone().take(&"b").is_some());
        drop(first);
        let third = places.take(&"a");
        assert!(third.is_some() && places.take(&"a").is_none());
        drop((second, third));
        assert!(lock(&places.taken).is_empty(), "nothing is kept of whoever has none");
    }
}
