//! The log against a model of it in memory: whatever is appended at once, by several writers, there is an order in which the
//! model gives the same verdicts and holds the same events.

use std::collections::BTreeMap;

use domain::id::CommandId;
use domain::tenant::Tenant;
use domain::{EventId, TenantId};
use futures::future::join_all;
use outbox::{Append, Appended, Log, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use schemas::evidence::{Hash, link};
use uuid::Uuid;

use crate::support::{Database, connect, first, tenant, uuid};

const HISTORIES: usize = 20;
const TENANTS: usize = 4;
const STREAMS: usize = 3;
const COMMANDS: usize = 6;

/// An append, by what it has in common with others of its tenant.
#[derive(Debug, Clone)]
struct Said {
    tenant: usize,
    stream: usize,
    /// One of a few command ids that come again, or one of its own.
    command: Option<usize>,
    fingerprint: u8,
    /// How far the expected version is off.
    off: i64,
    forked: bool,
    card: bool,
    events: usize,
    /// Which of the writers it goes through.
    writer: usize,
}

fn said() -> impl Strategy<Value = Said> {
    let rarely = |weight| proptest::bool::weighted(weight);
    (
        (0..TENANTS, 0..STREAMS, proptest::option::weighted(0.3, 0..COMMANDS), 1_u8..=2),
        (
            prop_oneof![8 => Just(0_i64), 1 => Just(-1), 1 => Just(1)],
            rarely(0.05),
            rarely(0.05),
            1_usize..4,
            0_usize..2,
        ),
    )
        .prop_map(|((tenant, stream, command, fingerprint), (off, forked, card, events, writer))| Said {
            tenant,
            stream,
            command,
            fingerprint,
            off,
            forked,
            card,
            events,
            writer,
        })
}

/// What is said at once, round after round.
fn history() -> impl Strategy<Value = Vec<Vec<Said>>> {
    proptest::collection::vec(proptest::collection::vec(said(), 1..12), 1..8)
}

#[derive(Debug, Clone, Default)]
struct Stream {
    aggregate_type: &'static str,
    events: Vec<(EventId, Hash)>,
    position: i64,
}

impl Stream {
    fn version(&self) -> i64 {
        i64::try_from(self.events.len()).unwrap()
    }

    /// The chain after so many events.
    fn chain(&self, version: usize) -> Hash {
        version.checked_sub(1).map_or(Hash::ZERO, |last| self.events[last].1)
    }
}

#[derive(Debug, Default)]
struct Model {
    streams: BTreeMap<(TenantId, Uuid), Stream>,
    commands: BTreeMap<(TenantId, CommandId), ([u8; 32], Appended)>,
    heads: BTreeMap<i32, i64>,
}

impl Model {
    /// The rules of an append, in the plainest words.
    fn append(&mut self, partition: i32, append: &Append, digests: impl Iterator<Item = Hash>) -> Verdict {
        let command = (append.metadata.tenant, append.metadata.command);
        if let Some((fingerprint, appended)) = self.commands.get(&command) {
            return if *fingerprint == append.fingerprint {
                Verdict::Repeated(appended.clone())
            } else {
                Verdict::Mismatch
            };
        }
        let known = self.streams.get(&(append.metadata.tenant, append.stream)).cloned().unwrap_or_default();
        let (version, chain) = (known.version(), known.chain(known.events.len()));
        let same_type = version == 0 || known.aggregate_type == append.aggregate_type;
        if (version, chain) != (append.expected_version, append.expected_chain) || !same_type {
            return Verdict::Conflict { version };
        }
        let stream = self.streams.entry((append.metadata.tenant, append.stream)).or_default();
        stream.aggregate_type = append.aggregate_type;
        let head = self.heads.entry(partition).or_default();
        for (event, digest) in append.events.iter().zip(digests) {
            let chain = link(&stream.chain(stream.events.len()), &digest);
            stream.events.push((event.id, chain));
            *head += 1;
        }
        stream.position = *head;
        let appended = Appended {
            aggregate_type: append.aggregate_type.to_owned(),
            stream: append.stream,
            version: stream.version(),
            position: *head,
            partition,
        };
        self.commands.insert(command, (append.fingerprint, appended.clone()));
        Verdict::Stored(appended)
    }
}

struct World {
    logs: [Log; 2],
    tenants: Vec<TenantId>,
    streams: Vec<Uuid>,
    commands: Vec<CommandId>,
    model: Model,
}

impl World {
    fn append_of(&self, said: &Said) -> Append {
        let (tenant, stream) = (self.tenants[said.tenant], self.streams[said.stream]);
        let known = self.model.streams.get(&(tenant, stream)).cloned().unwrap_or_default();
        let mut append = first(tenant, stream, said.events);
        append.fingerprint = [said.fingerprint; 32];
        if let Some(command) = said.command {
            append.metadata.command = self.commands[command];
        }
        append.expected_version = (known.version() + said.off).max(0);
        let version = usize::try_from(append.expected_version).unwrap().min(known.events.len());
        append.expected_chain = if said.forked { Hash([9; 32]) } else { known.chain(version) };
        append.aggregate_type = if said.card { "card" } else { "tenant" };
        append
    }

    /// Says it all at once, then finds the order in which the model says the same.
    async fn round(&mut self, said: &[Said]) {
        let appends: Vec<_> = said.iter().map(|said| (self.append_of(said), said.writer)).collect();
        let answers = appends.iter().map(|(append, writer)| self.logs[*writer].append(append.clone()));
        let verdicts: Vec<_> = join_all(answers).await.into_iter().map(Result::unwrap).collect();
        let mut open: Vec<_> = appends.into_iter().map(|(append, _)| append).zip(verdicts).collect();
        let (mut stored, _): (Vec<_>, Vec<_>) =
            open.extract_if(.., |(_, verdict)| matches!(verdict, Verdict::Stored(_))).partition(|_| true);
        stored.sort_by_key(|(_, verdict)| match verdict {
            Verdict::Stored(appended) => (appended.partition, appended.position),
            _ => unreachable!(),
        });
        self.explain(&mut open);
        for (append, verdict) in stored {
            let partition = self.logs[0].partition_of(append.metadata.tenant);
            let digests = self.digests(&append).await;
            assert_eq!(self.model.append(partition, &append, digests.into_iter()), verdict, "{append:#?}");
            self.explain(&mut open);
        }
        assert!(open.is_empty(), "no order explains {open:#?}");
    }

    /// Strikes out what the model refuses in the same way as it is now.
    fn explain(&mut self, open: &mut Vec<(Append, Verdict)>) {
        let mut left = Vec::new();
        for (append, verdict) in open.drain(..) {
            let partition = self.logs[0].partition_of(append.metadata.tenant);
            // What it would store is not there; the model forgets it again.
            let before = (self.model.streams.clone(), self.model.commands.clone(), self.model.heads.clone());
            let says = self.model.append(partition, &append, std::iter::repeat(Hash::ZERO));
            (self.model.streams, self.model.commands, self.model.heads) = before;
            if says != verdict {
                left.push((append, verdict));
            }
        }
        *open = left;
    }

    /// The digests that the log has stored for these events, each checked.
    async fn digests(&self, append: &Append) -> Vec<Hash> {
        let (tenant, stream) = (append.metadata.tenant, append.stream);
        let events = self.logs[1].read_stream(tenant, stream, append.expected_version, 100).await.unwrap();
        let ours = events.iter().take(append.events.len());
        ours.map(|event| {
            assert_eq!(event.digest, event.expected_digest());
            event.digest
        })
        .collect()
    }

    /// What is in the log is what is in the model.
    async fn compare(&self) {
        let log = &self.logs[0];
        for partition in 0..log.partitions() {
            let positions: Vec<_> = log.read(partition, 0, 10_000).await.unwrap().iter().map(|e| e.position).collect();
            let head = self.model.heads.get(&partition).copied().unwrap_or(0);
            assert_eq!(positions, (1..=head).collect::<Vec<_>>());
            assert_eq!(log.head(partition).await.unwrap(), head);
        }
        for tenant in &self.tenants {
            let mut total = 0;
            for stream in &self.streams {
                let known = self.model.streams.get(&(*tenant, *stream)).cloned().unwrap_or_default();
                let events = log.read_stream(*tenant, *stream, 0, 1_000).await.unwrap();
                let stored: Vec<_> = events.iter().map(|event| (event.id, event.chain)).collect();
                assert_eq!(stored, known.events);
                assert!(events.iter().zip(1..).all(|(event, version)| event.version == version));
                if known.aggregate_type == "tenant" {
                    let loaded = log.load::<Tenant>(*tenant, *stream).await.unwrap();
                    let expected = (known.version(), known.position, known.chain(known.events.len()));
                    assert_eq!((loaded.version, loaded.position, loaded.chain), expected);
                }
                total += events.len();
            }
            let of_tenant = log.read_tenant(*tenant, 0, 10_000).await.unwrap();
            assert!(of_tenant.is_sorted_by(|a, b| a.position < b.position));
            assert_eq!(of_tenant.len(), total);
        }
        for ((tenant, command), (fingerprint, appended)) in &self.model.commands {
            let past = log.command(*tenant, *command).await.unwrap().unwrap();
            assert_eq!((past.fingerprint, &past.appended), (*fingerprint, appended));
        }
    }
}

async fn same(partitions: i32) {
    let database = Database::with(partitions).await;
    let sql = "UPDATE log.clock SET range_size = 25";
    sqlx::raw_sql(sql).execute(&mut database.in_role("agentworks_owner").await).await.unwrap();
    let logs = [connect(&database).await, connect(&database).await];
    // Always the same histories: a failure can be seen again.
    let mut runner = TestRunner::deterministic();
    let mut heads = BTreeMap::new();
    for _ in 0..HISTORIES {
        let mut world = World {
            logs: logs.clone(),
            tenants: (0..TENANTS).map(|_| tenant()).collect(),
            streams: (0..STREAMS).map(|_| uuid()).collect(),
            commands: (0..COMMANDS).map(|_| CommandId::from_uuid(uuid())).collect(),
            model: Model { heads, ..Model::default() },
        };
        for round in history().new_tree(&mut runner).unwrap().current() {
            world.round(&round).await;
        }
        world.compare().await;
        heads = world.model.heads;
    }
    assert!(heads.values().sum::<i64>() > 500, "too little was stored to compare anything: {heads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_partition() {
    same(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_partitions() {
    same(3).await;
}
