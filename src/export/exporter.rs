//! Writes a tenant's log into an export, chunk after chunk.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, bail};
use domain::TenantId;
use domain::id::CommandId;
use outbox::evidence::{self, Evidence, Notary, NotaryError};
use outbox::{Log, consumer};
use ring::digest::{SHA256, digest};
use schemas::Recorded;
use schemas::evidence::checkpoint::Keys;
use schemas::evidence::export::{
    Command, FORMAT, Manifest, Record, chunk_member, schema_member, seal_origin, seal_text,
};
use schemas::evidence::note::Note;
use schemas::evidence::{Hash, micros};

use super::file::Writer;

/// Events that one read takes.
const PAGE: i64 = 2_000;
/// A chunk ends after so many events, or so many bytes of them.
const CHUNK: usize = 8_192;
const CHUNK_BYTES: usize = 16 << 20;
/// For the person who opens an export.
const README: &str = include_str!("README.md");

/// Up to where a log is written.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// All that it holds when the export begins.
    Now,
    /// The events up to a position, and those of the same command after it.
    Position(i64),
}

/// What an export needs.
pub struct Exporter<'a> {
    /// The log.
    pub log: &'a Log,
    /// Who signs what no checkpoint covers yet.
    pub notary: &'a Notary,
    /// The keys that seal the export.
    pub keys: &'a Keys,
    /// What the installation calls itself.
    pub installation: &'a str,
}

impl Exporter<'_> {
    /// Writes the export of a tenant. How many events it holds. `progress` hears how many of how many were written.
    ///
    /// # Errors
    /// When the tenant has no events up to there, the log fails, or the file cannot be written.
    pub async fn write(
        &self,
        tenant: TenantId,
        until: Until,
        to: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> anyhow::Result<u64> {
        let events = self.cover(tenant, until).await?;
        let partial = to.with_added_extension("partial");
        let file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
        let mut export = Export { writer: Writer::new(file)?, hashes: Vec::new(), types: BTreeSet::new() };
        export.member("about/README.md", README.as_bytes())?;
        export.member("about/keys.note", self.keys.statement(self.installation).to_string().as_bytes())?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            installation: self.installation.to_owned(),
            tenant,
            events,
            partition: self.log.partition_of(tenant),
        };
        export.member("about/manifest.json", format!("{}\n", serde_json::to_string_pretty(&manifest)?).as_bytes())?;
        self.chunks(&mut export, tenant, events, progress).await?;
        export.schemas()?;
        let name = seal_origin(self.installation, tenant);
        let seal = Note::sign(&name, seal_text(events, &export.hashes), [self.keys.newest()]);
        export.writer.member("seal.note", seal.to_string().as_bytes())?;
        export.writer.finish()?;
        std::fs::rename(&partial, to).with_context(|| format!("cannot write {}", to.display()))?;
        Ok(events)
    }

    /// Sees to it that a signed checkpoint covers just what is to be written. How many events that are.
    async fn cover(&self, tenant: TenantId, until: Until) -> anyhow::Result<u64> {
        let partition = self.log.partition_of(tenant);
        let head = self.log.head(partition).await?;
        consumer::catch_up(self.log, &Evidence::default(), partition, head).await?;
        let mut tx = self.log.tenant_read(tenant).await?;
        let size = match until {
            Until::Now => evidence::size(&mut tx, tenant).await?,
            Until::Position(position) => {
                let position = self.end_of_command(tenant, position).await?;
                evidence::size_at(&mut tx, tenant, position).await?
            }
        };
        drop(tx);
        match (size, until) {
            (0, Until::Now) => bail!(NotaryError::Empty(tenant)),
            (0, Until::Position(position)) => bail!("tenant {tenant} has no events up to position {position}"),
            (size, _) => Ok(self.notary.sign(tenant, Some(size)).await?),
        }
    }

    /// The position itself, or the last one of the command whose events it would part.
    async fn end_of_command(&self, tenant: TenantId, position: i64) -> anyhow::Result<i64> {
        let next = self.log.read_tenant(tenant, position, 1).await?;
        let Some(next) = next.first() else { return Ok(position) };
        let before = self.log.read_tenant(tenant, next.position - 2, 1).await?;
        let command = next.metadata.command;
        if !before.first().is_some_and(|event| event.position < next.position && event.metadata.command == command) {
            return Ok(position);
        }
        let past = self.log.command(tenant, command).await?;
        Ok(past.map_or(position, |past| past.appended.position))
    }

    async fn chunks(
        &self,
        export: &mut Export,
        tenant: TenantId,
        events: u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> anyhow::Result<()> {
        let (mut after, mut read, mut number) = (0, 0, 0);
        let mut chunk = Chunk::default();
        while read < events {
            let left = i64::try_from(events - read).unwrap_or(PAGE).min(PAGE);
            let page = self.log.read_tenant(tenant, after, left).await?;
            let Some(last) = page.last() else {
                bail!("the log ends after {read} of {events} events of its Merkle tree")
            };
            after = last.position;
            for event in &page {
                chunk.push(event)?;
                read += 1;
                if chunk.is_full() || read == events {
                    self.end(export, tenant, number, read, std::mem::take(&mut chunk)).await?;
                    number += 1;
                    progress(read, events);
                }
            }
        }
        Ok(())
    }

    /// Writes a chunk whose last event is number `to`, counted from 1.
    async fn end(
        &self,
        export: &mut Export,
        tenant: TenantId,
        number: u64,
        to: u64,
        chunk: Chunk,
    ) -> anyhow::Result<()> {
        let from = to - u64::try_from(chunk.digests.len() / schemas::evidence::export::RECORD).unwrap_or(to);
        let mut tx = self.log.tenant_read(tenant).await?;
        let checkpoints = evidence::checkpoints(&mut tx, tenant, from, to).await?;
        let fingerprints: HashMap<_, _> = self.log.fingerprints(tenant, &chunk.commands).await?.into_iter().collect();
        drop(tx);
        let mut text = Vec::new();
        for note in checkpoints {
            serde_json::to_writer(&mut text, &note)?;
            text.push(b'\n');
        }
        export.member(&chunk_member(number, "checkpoints.jsonl"), &text)?;
        text.clear();
        for command in chunk.commands {
            let fingerprint = fingerprints.get(&command).copied();
            let fingerprint = fingerprint.with_context(|| format!("the log does not know command {command}"))?;
            serde_json::to_writer(&mut text, &Command { command, fingerprint: Hash(fingerprint) })?;
            text.push(b'\n');
        }
        export.member(&chunk_member(number, "commands.jsonl"), &text)?;
        export.member(&chunk_member(number, "digests.bin"), &chunk.digests)?;
        export.types.extend(chunk.types);
        // Covered by the digests.
        Ok(export.writer.member(&chunk_member(number, "events.jsonl"), &chunk.lines)?)
    }
}

struct Export {
    writer: Writer,
    /// Of the members that the seal covers.
    hashes: Vec<(String, Hash)>,
    types: BTreeSet<(String, u16)>,
}

impl Export {
    fn member(&mut self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, content).as_ref());
        self.hashes.push((name.to_owned(), Hash(hash)));
        self.writer.member(name, content)
    }

    fn schemas(&mut self) -> anyhow::Result<()> {
        let mut members = Vec::new();
        for (event, version) in &self.types {
            let schema = schemas::contracts::event_schema(event, *version);
            let schema = schema.with_context(|| format!("this release does not know {event} in version {version}"))?;
            members.push((schema_member(event, *version), schema));
        }
        members.sort();
        for (name, schema) in members {
            self.member(&name, schema.as_bytes())?;
        }
        Ok(())
    }
}

/// What is gathered of a chunk.
#[derive(Default)]
struct Chunk {
    lines: Vec<u8>,
    digests: Vec<u8>,
    commands: Vec<CommandId>,
    types: BTreeSet<(String, u16)>,
}

impl Chunk {
    fn push(&mut self, event: &Recorded) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.lines, event)?;
        self.lines.push(b'\n');
        let recorded_at = micros(event.recorded_at);
        let record = Record { digest: event.digest, position: event.position, recorded_at };
        self.digests.extend(record.to_bytes());
        if self.commands.last() != Some(&event.metadata.command) {
            self.commands.push(event.metadata.command);
        }
        self.types.insert((event.event_type.clone(), event.event_version));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.digests.len() >= CHUNK * schemas::evidence::export::RECORD || self.lines.len() >= CHUNK_BYTES
    }
}
