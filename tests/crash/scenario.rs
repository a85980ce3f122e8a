//! A scenario: a world under load, something terrible in the middle of it, rest, and the checker's word.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection as _, PgConnection};

use crate::checker::archive::Archived;
use crate::checker::picture::{Picture, archives};
use crate::checker::{self, Bus, Finding};
use crate::listen::{self, EVENTS, Listeners, STREAM};
use crate::load::{self, Load};
use crate::records::Noted;
use crate::world::{ALL, LOOK, PATIENCE, Start, World, free_port};

/// How long a process may live with a point armed that it must come to.
const REACHED_WITHIN: Duration = Duration::from_secs(60);

/// A point, and how the load comes to it.
pub(crate) struct Crash {
    pub(crate) point: &'static str,
    /// It dies there at the latest when it is reached so often; the seed decides.
    pub(crate) upto: u64,
    pub(crate) way: Way,
}

/// What must be done to come to a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// People work.
    Work,
    /// Cards run.
    Run,
    /// Somebody archives ranges, while people work.
    Archive,
}

const fn on_the_way(point: &'static str, upto: u64) -> Crash {
    Crash { point, upto, way: Way::Work }
}

const fn in_a_run(point: &'static str, upto: u64) -> Crash {
    Crash { point, upto, way: Way::Run }
}

const fn archiving(point: &'static str) -> Crash {
    Crash { point, upto: 1, way: Way::Archive }
}

/// One for each point of the product.
pub(crate) const CRASHES: &[Crash] = &[
    on_the_way("command.decided", 100),
    on_the_way("command.stored", 100),
    on_the_way("append.sending", 80),
    on_the_way("append.committed", 80),
    on_the_way("relay.leased", 2),
    on_the_way("relay.sending", 100),
    on_the_way("relay.sent", 100),
    on_the_way("relay.acknowledged", 100),
    on_the_way("consumer.applied", 100),
    on_the_way("consumer.committed", 100),
    on_the_way("evidence.leaves", 50),
    on_the_way("checkpoint.signed", 2),
    on_the_way("checkpoint.stored", 2),
    on_the_way("checkpoint.published", 2),
    on_the_way("erase.destroyed", 3),
    on_the_way("erase.purged", 2),
    in_a_run("process.planned", 20),
    in_a_run("process.dispatched", 2),
    in_a_run("job.claimed", 2),
    in_a_run("job.extended", 2),
    in_a_run("environment.requested", 2),
    in_a_run("environment.dispatched", 2),
    in_a_run("environment.started", 2),
    in_a_run("push.passing", 2),
    in_a_run("push.done", 2),
    in_a_run("result.checked", 2),
    in_a_run("result.recorded", 2),
    // Last: a stream must have become long.
    on_the_way("snapshot.cut", 1),
    on_the_way("snapshot.written", 1),
    // And ranges full.
    archiving("archive.written"),
    archiving("archive.marked"),
    archiving("archive.detached"),
];

/// A world with people at work in it.
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) world: World,
    pub(crate) load: Load,
    pub(crate) port: u16,
    pub(crate) random: StdRng,
    listeners: Listeners,
    begun: Instant,
    /// What went wrong before the checker was asked.
    pub(crate) troubles: Vec<String>,
}

/// What came of a scenario.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) requests: usize,
    pub(crate) events: usize,
    pub(crate) problems: Vec<String>,
    pub(crate) kept: Option<PathBuf>,
    /// What the checker was given.
    pub(crate) given: Option<(Picture, Noted)>,
}

impl Stage {
    /// Sets it up with all roles in one process, and lets people begin.
    pub(crate) async fn set(name: &str, seed: u64) -> Self {
        let mut world = World::new(None).await;
        let port = free_port();
        world.start(ALL, ALL, port, &Start::default());
        world.ready(ALL, port).await;
        Self::in_world(name, seed, world, port, port).await
    }

    /// In a world whose processes take commands on `port` and queries on `queries`.
    pub(crate) async fn in_world(name: &str, seed: u64, world: World, port: u16, queries: u16) -> Self {
        world.small_ranges().await;
        let mut load = Load::set_up(&world, port, 2, seed).await;
        let mut listeners = Listeners::default();
        listeners.stream(&world.bus, &load.records);
        listeners.events(queries, world.token(None), &load.records);
        for tenant in &load.tenants {
            listeners.board(world.client(queries, Some(tenant.id)), &tenant.project, &load.records);
        }
        load.start(&world, port);
        let random = StdRng::seed_from_u64(seed);
        let (name, begun, troubles) = (name.to_owned(), Instant::now(), vec![]);
        Self { name, seed, world, load, port, random, listeners, begun, troubles }
    }

    /// Lets it die at a point for the `nth` time, after whatever runs now was killed.
    pub(crate) async fn die_at(&mut self, crash: &Crash, nth: u64) {
        self.load.run_cards(crash.way == Way::Run);
        if crash.way == Way::Archive {
            return self.die_archiving(crash.point, nth).await;
        }
        self.world.kill(ALL);
        let start = Start { crash: Some((crash.point, nth)), ..Start::default() };
        self.world.start(ALL, ALL, self.port, &start);
        if !self.world.killed(ALL, REACHED_WITHIN).await {
            self.troubles.push(format!("it never came to {}:{nth}", crash.point));
            self.world.kill(ALL);
        }
    }

    /// Lets what archives die at a point, while all others run.
    async fn die_archiving(&mut self, point: &str, nth: u64) {
        self.recover().await;
        let start = Start { crash: Some((point, nth)), ..Start::default() };
        let until = Instant::now() + REACHED_WITHIN;
        while Instant::now() < until {
            match self.world.archive(&start).await {
                Ok(true) => return,
                // There was no full range that everybody is past; there will be.
                Ok(false) => {}
                Err(error) => return self.troubles.push(error),
            }
        }
        self.troubles.push(format!("it never came to {point}:{nth}"));
    }

    /// Starts it again, as it is meant to run.
    pub(crate) async fn recover(&mut self) {
        self.world.kill(ALL);
        self.world.start(ALL, ALL, self.port, &Start::default());
        self.world.ready(ALL, self.port).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// Lets people go home, waits for rest, and asks the checker.
    pub(crate) async fn judge(mut self, bus: Bus) -> Outcome {
        self.load.run_cards(false);
        self.troubles.extend(self.load.finish().await.err());
        // What died while it archived left nothing that the next one does not end.
        self.troubles.extend(self.world.archive(&Start::default()).await.err());
        let rest = tokio::time::timeout(PATIENCE, self.rest()).await;
        match rest {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.troubles.push(format!("no rest: {error}")),
            Err(_) => self.troubles.push("it does not come to rest".to_owned()),
        }
        let taken = Picture::take(&self.world.database, &self.world.archived()).await;
        let picture = taken.expect("the database can be read");
        let reading = listen::newcomer(&self.world.bus, &self.load.records, &picture.clock);
        match tokio::time::timeout(Duration::from_secs(30), reading).await {
            Ok(read) => self.troubles.extend(read.err()),
            Err(_) => self.troubles.push("the stream cannot be read to its end".to_owned()),
        }
        drop(self.listeners);
        let noted = self.load.records.noted();
        let findings = checker::judge(&picture, &noted, bus);
        let mut problems: Vec<String> = self.troubles;
        problems.extend(pushes(&self.world, &self.load, &picture));
        problems.extend(findings.iter().map(Finding::to_string));
        let (requests, events) = (noted.requests.len(), picture.events.len());
        if !problems.is_empty() {
            noted.write(&self.world.folder.join("records.json"));
        }
        let kept = self.world.end(!problems.is_empty()).await;
        let seconds = self.begun.elapsed().as_secs();
        Outcome {
            name: self.name,
            seed: self.seed,
            seconds,
            requests,
            events,
            problems,
            kept,
            given: Some((picture, noted)),
        }
    }

    /// Waits until nothing is to be done any more and everybody knows everything.
    async fn rest(&self) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&self.world.database).await?;
        loop {
            let at_rest: bool = sqlx::query_scalar(
                "SELECT NOT EXISTS (SELECT FROM work.jobs) AND NOT EXISTS (SELECT FROM work.outgoing)
                     AND NOT EXISTS (SELECT FROM log.consumers c JOIN log.clock k USING (partition) WHERE c.position < k.position)",
            )
            .fetch_one(&mut connection)
            .await?;
            let at_rest = at_rest && self.all_ended(&mut connection).await?;
            if at_rest && self.all_seen(&mut connection).await? {
                return connection.close().await;
            }
            tokio::time::sleep(LOOK * 5).await;
        }
    }

    /// Whether what began has ended.
    async fn all_ended(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let mut counts: BTreeMap<String, i64> =
            sqlx::query_as("SELECT event_type, count(*) FROM log.events GROUP BY event_type")
                .fetch_all(&mut *connection)
                .await?
                .into_iter()
                .collect();
        let archives = archives(&mut *connection, &self.world.archived()).await?;
        for event in
            archives.iter().filter(|archived| archived.row["left"] == false).flat_map(Archived::events).flatten()
        {
            *counts.entry(event.event_type).or_default() += 1;
        }
        let purged = "SELECT count(*) FROM vault.subject_keys WHERE sealed IS NULL AND purged";
        let purged: i64 = sqlx::query_scalar(purged).fetch_one(connection).await?;
        let of = |name: &str| counts.get(name).copied().unwrap_or(0);
        Ok(of("SubjectErased") == purged
            && of("CardRunRequested") == of("CardRunFinished")
            && of("EnvironmentRequested") == of("EnvironmentStopped") + of("EnvironmentFailed"))
    }

    /// Whether the subscribers have what is there.
    async fn all_seen(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let records = &self.load.records;
        let heads: Vec<(i32, i64)> =
            sqlx::query_as("SELECT partition, position FROM log.clock").fetch_all(&mut *connection).await?;
        for listener in [STREAM, EVENTS] {
            if heads.iter().any(|(partition, head)| records.highest(listener, *partition) < *head) {
                return Ok(false);
            }
        }
        for tenant in &self.load.tenants {
            let last = "SELECT max(position) FROM log.streams WHERE tenant = $1 AND type = 'card'";
            let last: Option<i64> =
                sqlx::query_scalar(last).bind(load::uuid(tenant)).fetch_one(&mut *connection).await?;
            let seen = records.last_frame(&tenant.project).and_then(|cursor| checker::place_of(&cursor));
            if seen.map_or(0, |(_, position)| position) < last.unwrap_or(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Every run's work is at the Git host, and was pushed once. The host's record of a push may be missing where the connection
/// was cut in the middle of it; its references are never.
fn pushes(world: &World, load: &Load, picture: &Picture) -> Vec<String> {
    let mut problems = Vec::new();
    let mut branches = BTreeMap::new();
    for number in 0..load.tenants.len() {
        let repository = load::repository(number);
        let mut pushed = BTreeMap::new();
        for push in world.git.pushes(&repository).expect("a record") {
            if let Some(before) = pushed.insert(push.reference.clone(), push.new.clone()) {
                problems.push(format!("{} was pushed twice: {before}, then {}", push.reference, push.new));
            }
        }
        let mut git = Command::new("git");
        git.args(["-c", "safe.directory=*", "--git-dir"]).arg(world.git.path(&repository));
        let listed = git.args(["for-each-ref", "--format=%(refname:short) %(objectname)"]).output().expect("git runs");
        let listed = String::from_utf8(listed.stdout).expect("UTF-8");
        branches
            .extend(listed.lines().filter_map(|line| line.split_once(' ')).map(|(b, c)| (b.to_owned(), c.to_owned())));
    }
    for event in picture.events.iter().filter(|event| event.event_type == "RunSucceeded") {
        let run = event.body();
        let (branch, head) = (run["branch"].as_str().unwrap_or_default(), run["head_commit"].as_str());
        let found = branches.get(branch).map(String::as_str);
        if found.is_none() || found != head {
            problems.push(format!("{branch} is {found:?} at the host, {head:?} in the log"));
        }
    }
    problems
}

/// Several deaths in one world, each at another point, one after the other.
pub(crate) async fn die_again_and_again(name: &str, seed: u64, crashes: &[&Crash], at_once: bool) -> Outcome {
    let mut stage = Stage::set(name, seed).await;
    for crash in crashes {
        let upto = if at_once { crash.upto.min(20) } else { crash.upto };
        let nth = stage.random.random_range(1..=upto);
        stage.die_at(crash, nth).await;
    }
    stage.recover().await;
    stage.judge(Bus::Kept).await
}

impl Outcome {
    /// Fails the test when there is a problem, and says how to look at it.
    pub(crate) fn assert_sound(&self) {
        assert!(self.problems.is_empty(), "{self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, seconds, requests, events, problems, .. } = self;
        let word = if problems.is_empty() { "sound" } else { "BROKEN" };
        write!(f, "{name:<28} {word:<6} {seconds:>4} s {requests:>6} requests {events:>6} events  seed {seed}")?;
        for problem in problems.iter().take(20) {
            write!(f, "\n    {problem}")?;
        }
        if problems.len() > 20 {
            write!(f, "\n    … and {} more", problems.len() - 20)?;
        }
        if let Some(kept) = &self.kept {
            write!(
                f,
                "\n    kept in {}: records.json (what clients know), *.log (the processes), postgres/data (start a server on it)\n    \
                 again: CRASH_SEED={seed} ./dev crash {name}",
                kept.display()
            )?;
        }
        Ok(())
    }
}

/// The seed of this run: the one that was asked for, or a new one.
pub(crate) fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how a person repeats a failure")]
    let asked = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    #[expect(clippy::disallowed_methods, reason = "each run looks elsewhere")]
    asked.unwrap_or_else(|| u64::from(rand::random::<u32>()))
}

/// What the person at `./dev crash` asked for; nothing: all of it.
pub(crate) fn only() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "how a person names a scenario")]
    std::env::var("CRASH_ONLY").ok().filter(|only| !only.is_empty())
}
