//! How fair the choice is: simulations on the model, under a clock of their own. They decide nothing by real time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use uuid::Uuid;

use crate::jobs::model::{Micros, Queue};

const SECOND: Micros = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends(Uuid),
    Arrives(Uuid, Uuid),
}

/// Workers with so many places, and what comes to them.
struct Simulation {
    queue: Queue,
    free: usize,
    events: BinaryHeap<Reverse<(Micros, Event)>>,
    costs: BTreeMap<Uuid, Micros>,
    /// Of each run: its tenant, and when it came and was claimed.
    waits: Vec<(Uuid, Micros, Micros)>,
    /// Of each run: its tenant, and from when to when it was under way.
    work: Vec<(Uuid, Micros, Micros)>,
    runs: u128,
}

/// The same numbers each time: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: Micros) -> Micros {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 >> 2).unwrap() % bound
    }
}

fn tenant(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

impl Simulation {
    fn new(places: usize, lanes: &[(u128, i64, usize)]) -> Self {
        let mut queue = Queue::default();
        for (number, weight, limit) in lanes {
            queue.lane(tenant(*number), *weight, *limit);
        }
        let (events, costs) = (BinaryHeap::new(), BTreeMap::new());
        Self { queue, free: places, events, costs, waits: vec![], work: vec![], runs: 0 }
    }

    fn job(&mut self, of: u128, at: Micros, cost: Micros) {
        self.runs += 1;
        let run = Uuid::from_u128(self.runs);
        self.costs.insert(run, cost);
        self.events.push(Reverse((at, Event::Arrives(tenant(of), run))));
    }

    fn run(&mut self, until: Micros) {
        let mut came = BTreeMap::new();
        while let Some(Reverse((now, event))) = self.events.pop().filter(|Reverse((at, _))| *at < until) {
            match event {
                Event::Ends(run) => {
                    self.free += 1;
                    self.queue.finish(run, self.costs[&run]);
                }
                Event::Arrives(of, run) => {
                    came.insert(run, now);
                    self.queue.enqueue(of, run, now);
                }
            }
            // All that happens in one moment happens before anything is claimed.
            if self.events.peek().is_some_and(|Reverse((at, _))| *at == now) {
                continue;
            }
            while self.free > 0
                && let Some((of, run)) = self.queue.claim()
            {
                self.free -= 1;
                let ends = now + self.costs[&run];
                self.waits.push((of, came[&run], now));
                self.work.push((of, now, ends));
                self.events.push(Reverse((ends, Event::Ends(run))));
            }
        }
    }

    /// The wait of a tenant's runs that 95 of a hundred do not exceed.
    fn p95(&self, of: u128) -> Micros {
        let waits = self.waits.iter().filter(|(whose, ..)| *whose == tenant(of));
        let mut waits: Vec<_> = waits.map(|(_, came, claimed)| claimed - came).collect();
        waits.sort_unstable();
        waits[waits.len() * 95 / 100]
    }

    /// Time of environment that a tenant had between two moments.
    fn had(&self, of: u128, from: Micros, to: Micros) -> Micros {
        let work = self.work.iter().filter(|(whose, ..)| *whose == tenant(of));
        work.map(|(_, begin, end)| ((*end).min(to) - (*begin).max(from)).max(0)).sum()
    }
}

/// Three tenants with four runs of a second every now and then, of which two may be under way, on eight places; beside them
/// one that has put 10,000 runs into the queue at once and may have as many under way as there are places, or nobody.
fn victims(flood: usize) -> Simulation {
    let mut simulation = Simulation::new(8, &[(1, 1, 1_000), (2, 1, 2), (3, 1, 2), (4, 1, 2)]);
    for _ in 0..flood {
        simulation.job(1, 0, SECOND / 2);
    }
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    for victim in 2..=4 {
        let mut at = 20 * SECOND;
        while at < 480 * SECOND {
            at += 4 * SECOND + chance.below(8 * SECOND);
            for _ in 0..4 {
                simulation.job(victim, at, SECOND);
            }
        }
    }
    simulation.run(500 * SECOND);
    simulation
}

#[test]
fn who_floods_the_queue_waits_behind_himself() {
    let (idle, flooded) = (victims(0), victims(10_000));
    assert!(flooded.queue.lanes[&tenant(1)].ready() > 0, "the flood lasts to the end");
    for victim in 2..=4 {
        let (before, under) = (idle.p95(victim), flooded.p95(victim));
        println!("victim {victim}: p95 of the wait {before} us idle, {under} us beside the flood");
        assert!(before > 0 && under <= 2 * before, "victim {victim} waits {under} us instead of {before} us");
    }
}

#[test]
fn each_gets_its_share_of_every_ten_seconds() {
    // By weight, whatever a run of theirs takes.
    let lanes = [(1, 1, 1_000), (2, 2, 1_000), (3, 3, 1_000), (4, 2, 1_000)];
    let mut simulation = Simulation::new(16, &lanes);
    let mut chance = Chance(42);
    for (number, ..) in lanes {
        for _ in 0..20_000 {
            let cost = match number {
                1 => 50_000,
                2 => 20_000 + chance.below(60_000),
                3 => 100_000,
                _ => 200_000,
            };
            simulation.job(number, 0, cost);
        }
    }
    simulation.run(100 * SECOND);
    let total: i64 = lanes.iter().map(|(_, weight, _)| weight).sum();
    let mut worst = 0.0_f64;
    for window in 1..10 {
        let (from, to) = (window * 10 * SECOND, (window + 1) * 10 * SECOND);
        for (number, weight, _) in lanes {
            #[expect(clippy::cast_precision_loss, reason = "a ratio")]
            let error = simulation.had(number, from, to) as f64 / (16 * 10 * SECOND * weight / total) as f64 - 1.0;
            worst = worst.max(error.abs());
        }
    }
    println!("the worst error of a share over 10 s is {:.2} %", worst * 100.0);
    assert!(worst <= 0.05, "{worst}");
}

#[test]
fn nobody_saves_up_a_claim_by_being_idle() {
    let mut simulation = Simulation::new(4, &[(1, 1, 100), (2, 1, 100)]);
    for number in 0..20_000 {
        simulation.job(1, 0, SECOND);
        simulation.job(2, 1_000 * SECOND + number, SECOND);
    }
    simulation.run(1_100 * SECOND);
    let had = |number| simulation.had(number, 1_000 * SECOND, 1_100 * SECOND);
    let (first, second) = (had(1), had(2));
    assert!((first - second).abs() <= 8 * SECOND, "{first} us beside {second} us");
}
