//! The choice of the queue in plain Rust, without any I/O: what `migrations/0034_work_queue.sql` does, one job at a time. A
//! test shows that both choose the same; simulations on it show how fair the choice is, under a clock of their own.

use std::collections::BTreeMap;

use uuid::Uuid;

/// A moment or a time, in microseconds.
pub(super) type Micros = i64;

/// A job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    run: Uuid,
    priority: i32,
    due: Micros,
}

/// A job that is under way.
#[derive(Debug, Clone)]
struct Held {
    tenant: Uuid,
    due: Micros,
    priority: i32,
    charge: Micros,
}

/// A tenant's lane; see `work.lanes`.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) weight: i64,
    pub(super) limit: usize,
    pub(super) paused: bool,
    pub(super) running: usize,
    pub(super) vtime: Micros,
    pub(super) estimate: Micros,
    waiting: Vec<Waiting>,
}

impl Lane {
    fn new(weight: i64, limit: usize) -> Self {
        Self { weight, limit, paused: false, running: 0, vtime: 0, estimate: 60_000_000, waiting: vec![] }
    }

    pub(super) fn ready(&self) -> usize {
        self.waiting.len()
    }

    fn is_open(&self) -> bool {
        !self.paused && !self.waiting.is_empty() && self.running < self.limit
    }
}

/// The queue. All jobs in it are due.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) lanes: BTreeMap<Uuid, Lane>,
    held: BTreeMap<Uuid, Held>,
}

impl Queue {
    pub(super) fn lane(&mut self, tenant: Uuid, weight: i64, limit: usize) {
        self.lanes.insert(tenant, Lane::new(weight, limit));
    }

    /// Changes a lane; one that opens by that begins where the others are at present.
    fn shift(&mut self, tenant: Uuid, change: impl FnOnce(&mut Lane)) {
        let others = || self.lanes.iter().filter(|(other, _)| **other != tenant).map(|(_, lane)| lane);
        let first = others().filter(|lane| lane.is_open()).map(|lane| lane.vtime).min();
        let present = first.or_else(|| others().map(|lane| lane.vtime).max());
        let Some(lane) = self.lanes.get_mut(&tenant) else { return };
        let was_open = lane.is_open();
        change(lane);
        if !was_open && lane.is_open() {
            lane.vtime = lane.vtime.max(present.unwrap_or(lane.vtime));
        }
    }

    pub(super) fn enqueue(&mut self, tenant: Uuid, run: Uuid, due: Micros) {
        self.shift(tenant, |lane| lane.waiting.push(Waiting { run, priority: 0, due }));
    }

    pub(super) fn pause(&mut self, tenant: Uuid, paused: bool) {
        self.shift(tenant, |lane| lane.paused = paused);
    }

    pub(super) fn put_first(&mut self, tenant: Uuid, run: Uuid) {
        let Some(lane) = self.lanes.get_mut(&tenant) else { return };
        let others = lane.waiting.iter().filter(|other| other.run != run);
        let Some(highest) = others.map(|other| other.priority).max() else { return };
        if let Some(job) = lane.waiting.iter_mut().find(|job| job.run == run) {
            job.priority = highest + 1;
        }
    }

    /// The next job.
    pub(super) fn claim(&mut self) -> Option<(Uuid, Uuid)> {
        let open = self.lanes.iter_mut().filter(|(_, lane)| lane.is_open());
        let (tenant, lane) = open.min_by_key(|(tenant, lane)| (lane.vtime, **tenant))?;
        let order = |job: &Waiting| (-job.priority, job.due, job.run);
        let (at, _) = lane.waiting.iter().enumerate().min_by_key(|(_, job)| order(job))?;
        let Waiting { run, priority, due } = lane.waiting.swap_remove(at);
        let charge = (lane.estimate / lane.weight).max(1);
        lane.running += 1;
        lane.vtime += charge;
        self.held.insert(run, Held { tenant: *tenant, due, priority, charge });
        Some((*tenant, run))
    }

    fn settle(&mut self, run: Uuid, spent: Micros, back: bool) {
        let Some(Held { tenant, due, priority, charge }) = self.held.remove(&run) else { return };
        self.shift(tenant, |lane| {
            lane.running -= 1;
            lane.vtime += spent / lane.weight - charge;
            lane.estimate = (lane.estimate + (spent - lane.estimate) / 8).max(1);
            if back {
                lane.waiting.push(Waiting { run, priority, due });
            }
        });
    }

    /// The end of a job that has cost so much.
    pub(super) fn finish(&mut self, run: Uuid, spent: Micros) {
        self.settle(run, spent, false);
    }

    /// A job that has cost so much waits again.
    pub(super) fn put_back(&mut self, run: Uuid, spent: Micros) {
        self.settle(run, spent, true);
    }
}
