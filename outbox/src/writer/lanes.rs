//! The appends that wait for a group: a lane for each tenant, which take turns.
//!
//! A tenant that sends more than the writer takes waits behind itself: its lane is full, and its callers have to wait for
//! room, while the others' appends still join the next group.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::TenantId;
use domain::id::CommandId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

use crate::append::Sealed;
use crate::{LogError, Verdict};

/// Appends that one statement takes at most.
pub(super) const MAX_GROUP: usize = 512;
/// Bytes of events that one statement takes, about; a single append may be larger.
const MAX_GROUP_BYTES: usize = 4 << 20;
/// Appends of one tenant that may be under way before its callers have to wait.
const LANE: usize = 2 * MAX_GROUP;
/// The same for all tenants together.
const ALL_LANES: usize = 16 * MAX_GROUP;

/// An append whose caller waits. It holds its place in its lane and among all until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) sealed: Sealed,
    pub(super) answer: oneshot::Sender<Result<Verdict, LogError>>,
    _places: [OwnedSemaphorePermit; 2],
}

/// All lanes of a partition.
#[derive(Debug)]
pub(super) struct Lanes {
    state: Mutex<State>,
    arrived: Notify,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<TenantId, Lane>,
    /// Tenants with something that waits; the first is next.
    turns: VecDeque<TenantId>,
    /// Appends that wait, in all lanes.
    waiting: usize,
    closed: bool,
}

#[derive(Debug)]
struct Lane {
    waiting: VecDeque<Waiting>,
    room: Arc<Semaphore>,
    /// Callers that wait for room or for their verdict. The lane goes with the last.
    callers: usize,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), room: Arc::new(Semaphore::new(ALL_LANES)) }
    }

    /// Waits for room, then for the verdict.
    pub(super) async fn append(&self, sealed: Sealed) -> Result<Verdict, LogError> {
        let tenant = sealed.append.metadata.tenant;
        let (caller, lane) = self.enter(tenant);
        let place = lane.acquire_owned().await.map_err(|_| LogError::Stopped)?;
        let among_all = Arc::clone(&self.room).acquire_owned().await.map_err(|_| LogError::Stopped)?;
        let (answer, verdict) = oneshot::channel();
        self.push(tenant, Waiting { sealed, answer, _places: [place, among_all] })?;
        let verdict = verdict.await;
        drop(caller);
        verdict.map_err(|_| LogError::Stopped)?
    }

    fn enter(&self, tenant: TenantId) -> (Caller<'_>, Arc<Semaphore>) {
        let mut state = self.state();
        let lane = state.lanes.entry(tenant).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            room: Arc::new(Semaphore::new(LANE)),
            callers: 0,
        });
        lane.callers += 1;
        (Caller { lanes: self, tenant }, Arc::clone(&lane.room))
    }

    fn push(&self, tenant: TenantId, waiting: Waiting) -> Result<(), LogError> {
        let mut state = self.state();
        let State { lanes, turns, waiting: all, closed } = &mut *state;
        let Some(lane) = lanes.get_mut(&tenant).filter(|_| !*closed) else { return Err(LogError::Stopped) };
        if lane.waiting.is_empty() {
            turns.push_back(tenant);
        }
        lane.waiting.push_back(waiting);
        *all += 1;
        let first = *all == 1;
        drop(state);
        if first {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits until there is something to write, then takes as much as one statement may hold; `None` when the lanes are
    /// closed and empty.
    pub(super) async fn next_group(&self) -> Option<Vec<Waiting>> {
        loop {
            {
                let mut state = self.state();
                let group = state.take_group();
                if !group.is_empty() {
                    return Some(group);
                }
                if state.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// How many appends wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Nothing more comes in; what waits can still be taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.room.close();
        self.arrived.notify_one();
    }

    /// Nothing will be taken any more: whoever waits is told so.
    pub(super) fn abandon(&self) {
        self.close();
        let mut state = self.state();
        state.turns.clear();
        state.waiting = 0;
        for lane in state.lanes.values_mut() {
            lane.room.close();
            lane.waiting.clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One append of each tenant in turn, until the group is full or nothing more fits. In a group each stream and each command
    /// stands at most once; what is left out keeps its order.
    fn take_group(&mut self) -> Vec<Waiting> {
        let mut group = Group::default();
        let mut left: HashMap<TenantId, Vec<Waiting>> = HashMap::new();
        'turns: while let Some(tenant) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&tenant) else { continue };
            while let Some(next) = lane.waiting.pop_front() {
                match group.offer(next) {
                    Offered::Taken => break,
                    Offered::NotNow(next) => left.entry(tenant).or_default().push(next),
                    Offered::Full(next) => {
                        lane.waiting.push_front(next);
                        self.turns.push_front(tenant);
                        break 'turns;
                    }
                }
            }
            if !lane.waiting.is_empty() {
                self.turns.push_back(tenant);
            } else if lane.callers == 0 && !left.contains_key(&tenant) {
                self.lanes.remove(&tenant);
            }
        }
        for (tenant, left) in left {
            let Some(lane) = self.lanes.get_mut(&tenant) else { continue };
            if lane.waiting.is_empty() {
                self.turns.push_back(tenant);
            }
            left.into_iter().rev().for_each(|waiting| lane.waiting.push_front(waiting));
        }
        self.waiting -= group.appends.len();
        group.appends
    }
}

#[derive(Default)]
struct Group {
    appends: Vec<Waiting>,
    streams: HashSet<(TenantId, Uuid)>,
    commands: HashSet<(TenantId, CommandId)>,
    bytes: usize,
}

enum Offered {
    Taken,
    /// Its stream or its command stands in the group already.
    NotNow(Waiting),
    Full(Waiting),
}

impl Group {
    fn offer(&mut self, waiting: Waiting) -> Offered {
        let append = &waiting.sealed.append;
        let stream = (append.metadata.tenant, append.stream);
        let command = (append.metadata.tenant, append.metadata.command);
        if self.streams.contains(&stream) || self.commands.contains(&command) {
            return Offered::NotNow(waiting);
        }
        let bytes = self.bytes + waiting.sealed.bytes;
        if self.appends.len() == MAX_GROUP || (bytes > MAX_GROUP_BYTES && !self.appends.is_empty()) {
            return Offered::Full(waiting);
        }
        self.streams.insert(stream);
        self.commands.insert(command);
        self.bytes = bytes;
        self.appends.push(waiting);
        Offered::Taken
    }
}

/// A caller's part in its lane.
struct Caller<'a> {
    lanes: &'a Lanes,
    tenant: TenantId,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let mut state = self.lanes.state();
        if let Some(lane) = state.lanes.get_mut(&self.tenant) {
            lane.callers -= 1;
            if lane.callers == 0 && lane.waiting.is_empty() {
                state.lanes.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests;
