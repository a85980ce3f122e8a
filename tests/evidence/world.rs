//! A log with two tenants' events, an installation's keys, and the exports of both tenants.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentworks::embedded::Postgres;
use agentworks::export::{Exporter, Until};
use domain::id::{CommandId, EventId};
use domain::tenant::{TenantEvent, TenantRenamed};
use domain::value::Name;
use domain::{Actor, TenantId};
use outbox::evidence::{Evidence, Notary, NotarySettings};
use outbox::{Append, Log, LogSettings, NewEvent, Verdict, consumer};
use schemas::Metadata;
use schemas::evidence::Hash;
use schemas::evidence::checkpoint::Keys;
use tempfile::TempDir;
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) const INSTALLATION: &str = "test.example";

#[expect(clippy::disallowed_methods, reason = "the tests' room for ids")]
pub(crate) fn uuid() -> Uuid {
    Uuid::now_v7()
}

#[expect(clippy::disallowed_methods, reason = "the tests' room for the clock")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) fn keys(seeds: &[u8]) -> Keys {
    Keys::parse(&seeds.iter().map(|seed| Keys::line(&[*seed; 32])).collect::<String>()).unwrap()
}

pub(crate) struct World {
    _postgres: Postgres,
    pub(crate) log: Log,
    pub(crate) folder: TempDir,
    pub(crate) tenant: TenantId,
    pub(crate) other: TenantId,
    /// Streams of `tenant`: version and chain.
    streams: Vec<(Uuid, i64, Hash)>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = Postgres::start(&folder.path().join("postgres")).await.unwrap();
        let url = postgres.url("postgres", "postgres");
        outbox::migrate::run(&url, 1).await.unwrap();
        let settings = LogSettings { url, max_connections: 8, notify: false };
        let log = Log::connect(&settings).await.unwrap();
        let (tenant, other) = (TenantId::from_uuid(uuid()), TenantId::from_uuid(uuid()));
        Self { _postgres: postgres, log, folder, tenant, other, streams: vec![] }
    }

    /// Appends commands of `each` events to streams in turn, with one of the other tenant now and then, and a checkpoint
    /// after every so many commands.
    pub(crate) async fn fill(&mut self, commands: usize, each: usize, checkpoint_every: usize) {
        for nth in 0..commands {
            if nth % 5 == 0 {
                self.append(self.other, &mut (uuid(), 0, Hash::ZERO), 1).await;
            }
            if self.streams.len() < 7 {
                self.streams.push((uuid(), 0, Hash::ZERO));
            }
            let at = nth % self.streams.len();
            let mut stream = self.streams[at];
            self.append(self.tenant, &mut stream, each).await;
            self.streams[at] = stream;
            if nth % checkpoint_every == checkpoint_every - 1 {
                self.sign().await;
            }
        }
    }

    async fn append(&self, tenant: TenantId, stream: &mut (Uuid, i64, Hash), count: usize) {
        let event = |nth| {
            let name = Name::new(&format!("name {nth} of {}", stream.0)).unwrap();
            NewEvent::of::<TenantEvent>(EventId::from_uuid(uuid()), &TenantRenamed { name }.into()).unwrap()
        };
        let append = Append {
            metadata: Metadata {
                tenant,
                actor: Actor::Operator("Ada Ångström".into()),
                command: CommandId::from_uuid(uuid()),
                correlation: uuid(),
                causation: (stream.1 % 2 == 1).then(|| EventId::from_uuid(uuid())),
                traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
                occurred_at: now(),
            },
            fingerprint: *uuid().as_bytes().repeat(2).as_chunks::<32>().0.first().unwrap(),
            aggregate_type: "tenant",
            stream: stream.0,
            expected_version: stream.1,
            expected_chain: stream.2,
            events: (0..count).map(event).collect(),
        };
        assert!(matches!(self.log.append(append).await.unwrap(), Verdict::Stored(_)));
        let events = self.log.read_stream(tenant, stream.0, stream.1, 1_000).await.unwrap();
        let last = events.last().unwrap();
        (stream.1, stream.2) = (last.version, last.chain);
    }

    pub(crate) fn notary(&self, seeds: &[u8]) -> Notary {
        let settings = NotarySettings {
            installation: INSTALLATION.into(),
            interval: Duration::from_secs(60),
            events: usize::MAX,
            places: vec![],
        };
        Notary::new(self.log.clone(), Arc::new(keys(seeds)), settings)
    }

    async fn sign(&self) {
        let head = self.log.head(0).await.unwrap();
        consumer::catch_up(&self.log, &Evidence::default(), 0, head).await.unwrap();
        self.notary(&[1]).round().await.unwrap();
    }

    pub(crate) async fn export(&self, tenant: TenantId, seeds: &[u8]) -> PathBuf {
        self.export_until(tenant, seeds, Until::Now).await.unwrap()
    }

    pub(crate) async fn export_until(&self, tenant: TenantId, seeds: &[u8], until: Until) -> anyhow::Result<PathBuf> {
        let to = self.folder.path().join(format!("{tenant}-{}.tar.zst", uuid()));
        let (notary, keys) = (self.notary(seeds), keys(seeds));
        let exporter = Exporter { log: &self.log, notary: &notary, keys: &keys, installation: INSTALLATION };
        exporter.write(tenant, until, &to, &mut |_, _| {}).await?;
        Ok(to)
    }
}
