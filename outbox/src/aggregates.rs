//! Aggregates: as the log has them, or as this process saw them last.
//!
//! What this process has loaded or appended stays in memory, bounded by bytes; what was not asked for longest goes first.
//! It may be old, since other processes append too, and is never trusted for more than it can bear:
//!
//! * Whoever decides on an aggregate that was only [`seen`](Aggregates::seen) appends on the version and chain that were
//!   seen: an old one is a conflict. A decision that appends nothing proves nothing; it has to be made again on what
//!   [`load`](Aggregates::load) says.
//! * A fact about another aggregate may be [`recent`](Aggregates::recent): this process's own appends are in it at once,
//!   those of others as soon as the bus tells of them ([`follow`](Aggregates::follow)), and when the bus loses that, after
//!   [`MemorySettings::fact_life`] at the latest.

use std::any::Any;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::project::Project;
use domain::provider::Provider;
use domain::tenant::Tenant;
use domain::workspace::Workspace;
use domain::{Decider, TenantId};
use futures::StreamExt as _;
use futures::stream::SelectAll;
use lru::LruCache;
use schemas::subject;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::append::Sealed;
use crate::{Append, Bus, Loaded, Log, LogError, Verdict, message};

/// Those that are facts for others, and change rarely.
const FACTS: [&str; 4] = [Tenant::TYPE, Workspace::TYPE, Provider::TYPE, Project::TYPE];
/// What an entry takes besides its state, about.
const ENTRY_OVERHEAD: usize = 256;

/// What stays in memory, and how long it may be believed.
#[derive(Debug, Clone, Copy)]
pub struct MemorySettings {
    /// Bytes that all states in memory may take, about; 0 keeps none.
    pub max_bytes: usize,
    /// How old a fact may be that no append checks.
    pub fact_life: Duration,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, fact_life: Duration::from_secs(2) }
    }
}

/// The aggregates of a log. Cheap to clone; all clones share the memory.
#[derive(Debug, Clone)]
pub struct Aggregates {
    log: Log,
    memory: Arc<Memory>,
}

impl Aggregates {
    /// Of `log`, with nothing in memory yet.
    pub fn new(log: Log, settings: MemorySettings) -> Self {
        let kept = Mutex::new(Kept { entries: LruCache::unbounded(), bytes: 0 });
        Self { log, memory: Arc::new(Memory { settings, kept }) }
    }

    /// The log.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The aggregate as the log has it now.
    ///
    /// # Errors
    /// As [`Log::load`].
    pub async fn load<A: Decider>(&self, tenant: TenantId, stream: Uuid) -> Result<Arc<Loaded<A>>, LogError> {
        let asked = Instant::now();
        let loaded = Arc::new(self.log.load::<A>(tenant, stream).await?);
        // What does not exist may come into being anywhere at any moment.
        if loaded.version > 0 {
            self.memory.put((tenant, stream), Arc::clone(&loaded), asked);
        }
        Ok(loaded)
    }

    /// The aggregate as this process saw it last, if it remembers. Good for deciding what is then appended, and for
    /// nothing else.
    pub fn seen<A: Decider>(&self, tenant: TenantId, stream: Uuid) -> Option<Arc<Loaded<A>>> {
        self.memory.get(&(tenant, stream)).map(|(seen, _)| seen)
    }

    /// The aggregate as this process saw it last, if that is not longer ago than the life of facts.
    pub fn recent<A: Decider>(&self, tenant: TenantId, stream: Uuid) -> Option<Arc<Loaded<A>>> {
        let (seen, at) = self.memory.get(&(tenant, stream))?;
        (at.elapsed() < self.memory.settings.fact_life).then_some(seen)
    }

    /// Appends the `events` that were decided on `seen`, as [`Log::append`] does, and remembers what then is.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn append<A: Decider>(
        &self,
        append: Append,
        seen: &Loaded<A>,
        events: &[A::Event],
    ) -> Result<Verdict, LogError> {
        let key = (append.metadata.tenant, append.stream);
        let sealed = Sealed::new(append)?;
        let (asked, chain) = (Instant::now(), sealed.chain());
        let verdict = self.log.append_sealed(sealed).await?;
        match &verdict {
            Verdict::Stored(appended) if self.memory.settings.max_bytes > 0 => {
                let mut state = seen.state.clone();
                events.iter().for_each(|event| state.evolve(event));
                let now = Loaded { state, version: appended.version, position: appended.position, chain };
                self.memory.put(key, Arc::new(now), asked);
            }
            Verdict::Conflict { .. } => self.memory.forget(&key, seen.version),
            Verdict::Stored(_) | Verdict::Repeated(_) | Verdict::Mismatch => {}
        }
        Ok(verdict)
    }

    /// Forgets what other processes change, as the bus tells of it, until `shutdown`. A hint: it may be lost.
    pub async fn follow(&self, bus: &Bus, shutdown: CancellationToken) {
        let mut told = SelectAll::new();
        for aggregate in FACTS {
            match bus.client().subscribe(subject::aggregate(aggregate)).await {
                Ok(subscriber) => told.push(subscriber),
                Err(error) => tracing::warn!(aggregate, %error, "cannot listen to what others change"),
            }
        }
        loop {
            let message = tokio::select! {
                () = shutdown.cancelled() => return,
                message = told.next() => message,
            };
            let Some(message) = message else { return };
            if let Some(event) = message::decode(&message) {
                self.memory.forget(&(event.metadata.tenant, event.stream), event.version - 1);
            }
        }
    }
}

/// The tenant is part of the key: nothing is ever found under another's.
type Key = (TenantId, Uuid);

#[derive(Debug)]
struct Memory {
    settings: MemorySettings,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    entries: LruCache<Key, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// A `Loaded` of the aggregate.
    loaded: Arc<dyn Any + Send + Sync>,
    version: i64,
    /// It was so at this moment or later.
    at: Instant,
    bytes: usize,
}

impl Memory {
    fn get<A: Decider>(&self, key: &Key) -> Option<(Arc<Loaded<A>>, Instant)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = kept.entries.get(key)?;
        // Under another aggregate's type it looks like none, as in the log.
        Some((Arc::clone(&entry.loaded).downcast().ok()?, entry.at))
    }

    /// Keeps what was so `at` some moment, unless something newer is known.
    fn put<A: Decider>(&self, key: Key, loaded: Arc<Loaded<A>>, at: Instant) {
        let bytes = ENTRY_OVERHEAD + size(&loaded.state);
        if bytes > self.settings.max_bytes {
            return self.forget(&key, loaded.version);
        }
        let entry = Entry { version: loaded.version, loaded, at, bytes };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = |known: &Entry| (known.version, known.at) > (entry.version, entry.at);
        if kept.entries.peek(&key).is_some_and(newer) {
            return;
        }
        kept.bytes += bytes;
        if let Some(old) = kept.entries.put(key, entry) {
            kept.bytes -= old.bytes;
        }
        while kept.bytes > self.settings.max_bytes {
            let Some((_, old)) = kept.entries.pop_lru() else { return };
            kept.bytes -= old.bytes;
        }
    }

    /// Forgets what is known up to a version.
    fn forget(&self, key: &Key, version: i64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.entries.peek(key).is_some_and(|known| known.version <= version)
            && let Some(old) = kept.entries.pop(key)
        {
            kept.bytes -= old.bytes;
        }
    }
}

/// About how many bytes a state takes: those of its JSON.
fn size(state: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What has no JSON form is too large to keep.
    serde_json::to_writer(&mut count, state).map_or(usize::MAX / 2, |()| count.0)
}
