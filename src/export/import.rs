//! Restores an export into a tenant that has no events, and proves it equal.
//!
//! The export is checked as a whole before the first event is appended. An import that was killed goes on where it
//! stopped: what the tenant has must be the beginning of the export.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use domain::{Actor, TenantId, registry};
use futures::future::join_all;
use outbox::evidence::{self, Evidence};
use outbox::{Append, Log, NewEvent, Verdict, consumer};
use ring::digest::{Context, SHA256};
use schemas::evidence::Hash;
use schemas::evidence::checkpoint::Checkpoint;
use schemas::evidence::export::{Line, Report, Visitor};
use schemas::evidence::note::PublicKey;
use schemas::{Metadata, Recorded};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::file::check;

/// Events that one read takes.
const PAGE: i64 = 2_000;
/// Commands that are appended at once, each of another stream.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1 << 20;
/// Events that may wait to be appended.
const QUEUE: usize = 1_024;

/// What was restored.
#[derive(Debug)]
pub struct Imported {
    /// What the export proves.
    pub report: Report,
    /// How many events the tenant had already, of an import that was killed.
    pub present: u64,
    /// How many checkpoints of the export the restored log was found to fit.
    pub checkpoints: usize,
}

/// Restores the export at `path`. `progress` hears how many of how many events are in the log.
///
/// # Errors
/// When the export is not right, the tenant has other events, or the log fails.
pub async fn import(
    log: &Log,
    path: &Path,
    anchors: &[PublicKey],
    progress: &mut dyn FnMut(u64, u64),
) -> anyhow::Result<Imported> {
    let report = look(path, anchors).await?;
    let tenant = report.manifest.tenant;
    let (sender, mut events) = mpsc::channel(QUEUE);
    let reading = {
        let (path, anchors) = (path.to_owned(), anchors.to_owned());
        tokio::task::spawn_blocking(move || read(&path, &anchors, sender))
    };
    let mut present = Present { log, tenant, page: Vec::new().into_iter(), after: 0 };
    let mut restoring = Restoring::new(log);
    let (mut checkpoints, mut count, mut had) = (Vec::new(), 0, 0);
    while let Some(item) = events.recv().await {
        let event = match item {
            Item::Checkpoint(checkpoint) => {
                checkpoints.push(checkpoint);
                continue;
            }
            Item::Event(event) => *event,
        };
        count += 1;
        match present.next().await? {
            Some(known) if known.digest == event.digest => {
                had += 1;
                restoring.skip(&event);
            }
            Some(_) => bail!(
                "tenant {tenant} has events that are not in the export: an export is restored into an empty tenant"
            ),
            None => restoring.push(event).await?,
        }
        progress(count, report.manifest.events);
    }
    restoring.flush().await?;
    let read = reading.await.context("reading the export panicked")??;
    ensure!(count == report.manifest.events, "the export changed while it was read");
    ensure!(present.next().await?.is_none(), "tenant {tenant} has more events than the export");
    prove(log, tenant, &checkpoints, &read).await?;
    Ok(Imported { report, present: had, checkpoints: checkpoints.len() })
}

/// Checks the export as a whole.
async fn look(path: &Path, anchors: &[PublicKey]) -> anyhow::Result<Report> {
    let (path, anchors) = (path.to_owned(), anchors.to_owned());
    let checking = move |path: PathBuf| check(&path, &anchors, None).with_context(|| path.display().to_string());
    let verdict =
        tokio::task::spawn_blocking(move || checking(path)).await.context("checking the export panicked")??;
    verdict.outcome.map_err(|failure| anyhow::anyhow!("the export is not right: {failure}"))
}

/// The restored log is the archived one: the same digests, chains, and roots.
async fn prove(log: &Log, tenant: TenantId, checkpoints: &[Checkpoint], chains: &[u8]) -> anyhow::Result<()> {
    let partition = log.partition_of(tenant);
    consumer::catch_up(log, &Evidence::default(), partition, log.head(partition).await?).await?;
    let mut tx = log.tenant_read(tenant).await?;
    for Checkpoint { size, root, .. } in checkpoints {
        let found = evidence::root(&mut tx, tenant, *size).await?;
        ensure!(found == Some(*root), "the restored log is not the archived one: its root at size {size} is another");
    }
    drop(tx);
    let mut stored = Present { log, tenant, page: Vec::new().into_iter(), after: 0 };
    let mut sum = Context::new(&SHA256);
    while let Some(event) = stored.next().await? {
        sum.update(&event.chain.0);
    }
    ensure!(sum.finish().as_ref() == chains, "the restored log is not the archived one: a chain is another");
    Ok(())
}

/// What the tenant has, in order.
struct Present<'a> {
    log: &'a Log,
    tenant: TenantId,
    page: std::vec::IntoIter<Recorded>,
    after: i64,
}

impl Present<'_> {
    async fn next(&mut self) -> anyhow::Result<Option<Recorded>> {
        if self.page.len() == 0 && self.after >= 0 {
            self.page = self.log.read_tenant(self.tenant, self.after, PAGE).await?.into_iter();
            // What is appended from now on is not what was there.
            self.after = self.page.as_slice().last().map_or(-1, |last| last.position);
        }
        Ok(self.page.next())
    }
}

enum Item {
    Event(Box<Restored>),
    Checkpoint(Checkpoint),
}

/// An event of the export.
struct Restored {
    metadata: Metadata,
    fingerprint: [u8; 32],
    aggregate_type: &'static str,
    stream: Uuid,
    version: i64,
    event: NewEvent,
    digest: Hash,
    chain: Hash,
}

/// Sends what is in the export. The hash of its chains.
fn read(path: &Path, anchors: &[PublicKey], sender: mpsc::Sender<Item>) -> anyhow::Result<Vec<u8>> {
    let types = registry::events().into_iter().map(|known| (known.event.name, known.aggregate)).collect();
    let mut reader = Reader { sender, types, error: None, chains: Context::new(&SHA256) };
    let verdict = check(path, anchors, Some(&mut reader))?;
    if let Some(error) = reader.error {
        return Err(error);
    }
    verdict.outcome.map_err(|failure| anyhow::anyhow!("the export changed while it was read: {failure}"))?;
    Ok(reader.chains.finish().as_ref().to_vec())
}

struct Reader {
    sender: mpsc::Sender<Item>,
    /// Every event's name, and its aggregate.
    types: HashMap<&'static str, &'static str>,
    error: Option<anyhow::Error>,
    chains: Context,
}

impl Visitor for Reader {
    fn event(&mut self, event: &Line<'_>, fingerprint: Option<Hash>) -> bool {
        self.chains.update(&event.chain.0);
        match self.restored(event, fingerprint) {
            // Who no longer listens has failed, and says so.
            Ok(restored) => self.sender.blocking_send(Item::Event(Box::new(restored))).is_ok(),
            Err(error) => {
                self.error = Some(error);
                false
            }
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let _unheard = self.sender.blocking_send(Item::Checkpoint(checkpoint.clone()));
    }
}

impl Reader {
    fn restored(&self, event: &Line<'_>, fingerprint: Option<Hash>) -> anyhow::Result<Restored> {
        let name = &*event.event_type;
        let known = self.types.get_key_value(name).filter(|(_, aggregate)| **aggregate == event.aggregate_type);
        let known = known.map(|(name, aggregate)| (*name, *aggregate));
        let (event_type, aggregate_type) =
            known.with_context(|| format!("this release does not know event `{name}`"))?;
        let actor: Actor = event.actor.parse().with_context(|| format!("the actor of event {}", event.id))?;
        let fingerprint =
            fingerprint.with_context(|| format!("the export does not say what {} said", event.command))?;
        Ok(Restored {
            metadata: Metadata {
                tenant: event.tenant,
                actor,
                command: event.command,
                correlation: event.correlation,
                causation: event.causation,
                traceparent: event.traceparent.as_deref().map(str::to_owned),
                occurred_at: event.occurred_at,
            },
            fingerprint: fingerprint.0,
            aggregate_type,
            stream: event.stream,
            version: event.version,
            event: NewEvent {
                id: event.id,
                event_type,
                event_version: event.event_version,
                payload: event.payload.get().to_owned(),
            },
            digest: event.digest,
            chain: event.chain,
        })
    }
}

/// Appends events in their order, as the commands that they came from.
struct Restoring<'a> {
    log: &'a Log,
    /// Commands that are appended together: each of another stream, so that their order is kept.
    batch: Vec<Append>,
    streams: HashSet<Uuid>,
    bytes: usize,
    chains: HashMap<Uuid, Hash>,
    position: i64,
}

impl<'a> Restoring<'a> {
    fn new(log: &'a Log) -> Self {
        Self { log, batch: Vec::new(), streams: HashSet::new(), bytes: 0, chains: HashMap::new(), position: 0 }
    }

    /// An event that is there already.
    fn skip(&mut self, event: &Restored) {
        self.chains.insert(event.stream, event.chain);
    }

    async fn push(&mut self, event: Restored) -> anyhow::Result<()> {
        let expected_chain = self.chains.insert(event.stream, event.chain).unwrap_or_default();
        self.bytes += event.event.payload.len();
        if let Some(last) = self.batch.last_mut()
            && last.metadata.command == event.metadata.command
            && last.stream == event.stream
        {
            last.events.push(event.event);
            return Ok(());
        }
        if self.batch.len() == BATCH || self.bytes > BATCH_BYTES || self.streams.contains(&event.stream) {
            self.flush().await?;
        }
        self.streams.insert(event.stream);
        self.batch.push(Append {
            metadata: event.metadata,
            fingerprint: event.fingerprint,
            aggregate_type: event.aggregate_type,
            stream: event.stream,
            expected_version: event.version - 1,
            expected_chain,
            events: vec![event.event],
        });
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.streams.clear();
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        for verdict in join_all(batch.into_iter().map(|append| self.log.append(append))).await {
            let Verdict::Stored(appended) = verdict? else { bail!("somebody else writes to this tenant") };
            ensure!(appended.position > self.position, "the log took the events in another order");
            self.position = appended.position;
        }
        Ok(())
    }
}
