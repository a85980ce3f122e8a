//! Following the log in a program: one tenant's events, or a partition's, from a position on and then as they come.
//!
//! Guarantees: in order, each event once, none left out, whatever becomes of messages: the events come from the log, and
//! the bus says only when to look. However many follow, one reader a partition looks for what is new, and says whose it
//! is; who is not concerned moves on without asking the database. It holds no more than a page for each who follows.

mod reader;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::TenantId;
use schemas::{Cursor, Recorded};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;

use crate::{Bus, Log, LogError};

/// Events of a page, at most.
const PAGE: usize = 256;
/// Pages that are read at once in a process, so that other questions get connections too.
const READS: usize = 4;
/// How often who is not concerned is told that the cursor has moved.
const MOVED: Duration = Duration::from_secs(5);

/// Whose events to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One tenant's, under row-level security.
    Tenant(TenantId),
    /// All tenants' of a partition. For workers and operators.
    Partition(i32),
}

/// What came into a partition.
#[derive(Debug)]
struct News {
    /// It came behind this position,
    after: i64,
    /// up to this one.
    upto: i64,
    /// Whose it is.
    tenants: Vec<TenantId>,
}

type Told = broadcast::Sender<Arc<News>>;

/// Lets any number of followers follow. Cheap to clone; make one a process.
#[derive(Debug, Clone)]
pub struct Tail(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Log,
    bus: Option<Bus>,
    /// The partitions that somebody follows; each has a reader.
    followed: Mutex<HashMap<i32, Told>>,
    reads: Semaphore,
}

impl Shared {
    /// A panic elsewhere leaves a map of whole entries behind, so the lock's poison means nothing here.
    fn followed(&self) -> MutexGuard<'_, HashMap<i32, Told>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// Over `log`; with `bus`, appends of other processes are seen at once.
    pub fn new(log: Log, bus: Option<Bus>) -> Self {
        Self(Arc::new(Shared { log, bus, followed: Mutex::default(), reads: Semaphore::new(READS) }))
    }

    /// Follows from behind the position `after`; 0 stands before the first event.
    ///
    /// # Errors
    /// [`LogError::Partition`] when there is no such partition.
    pub fn follow(&self, scope: Scope, after: i64) -> Result<Follower, LogError> {
        let partition = match scope {
            Scope::Tenant(tenant) => self.0.log.partition_of(tenant),
            Scope::Partition(partition) => partition,
        };
        if !(0..self.0.log.partitions()).contains(&partition) {
            return Err(LogError::Partition(partition));
        }
        // It listens first and reads then.
        let news = self.listen(partition);
        let shared = self.0.clone();
        Ok(Follower { shared, scope, partition, at: after, head: None, news, returned: Instant::now() })
    }

    fn listen(&self, partition: i32) -> broadcast::Receiver<Arc<News>> {
        let mut followed = self.0.followed();
        let told = followed.entry(partition).or_insert_with(|| reader::start(self.0.clone(), partition));
        told.subscribe()
    }
}

/// Somebody who follows.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    scope: Scope,
    partition: i32,
    /// Everything up to here was returned.
    at: i64,
    /// The log is known to reach at least this far; none: it has to be asked.
    head: Option<i64>,
    news: broadcast::Receiver<Arc<News>>,
    returned: Instant,
}

impl Follower {
    /// Everything up to here was returned. Following on from here, in any process, misses and repeats nothing.
    pub fn cursor(&self) -> Cursor {
        Cursor { partition: self.partition, position: self.at }
    }

    /// The next events, once there are some. An empty page says only that the cursor has moved past what is others'.
    /// May be given up at any moment and called again.
    ///
    /// # Errors
    /// As [`Log::read`]; nothing is lost, call it again.
    pub async fn next(&mut self) -> Result<Vec<Recorded>, LogError> {
        loop {
            let head = match self.head {
                Some(head) => head,
                None => *self.head.insert(self.shared.log.head(self.partition).await?),
            };
            if head > self.at {
                let page = self.read().await?;
                let last = page.last().map_or(0, |event| event.position);
                // A page that is not full has everything up to the head that was known before.
                let upto = if page.len() < PAGE { head.max(last) } else { last };
                self.at = upto;
                if !page.is_empty() || self.returned.elapsed() >= MOVED {
                    self.returned = Instant::now();
                    return Ok(page);
                }
                continue;
            }
            match self.news.recv().await {
                Ok(news) if news.upto <= self.at => {}
                Ok(news) if news.after <= self.at && !self.concerned(&news) => {
                    self.at = news.upto;
                    if self.returned.elapsed() >= MOVED {
                        self.returned = Instant::now();
                        return Ok(Vec::new());
                    }
                }
                Ok(news) => self.head = Some(news.upto),
                Err(RecvError::Lagged(_)) => self.head = None,
                Err(RecvError::Closed) => return Err(LogError::Stopped),
            }
        }
    }

    fn concerned(&self, news: &News) -> bool {
        match self.scope {
            Scope::Tenant(tenant) => news.tenants.contains(&tenant),
            Scope::Partition(_) => true,
        }
    }

    async fn read(&self) -> Result<Vec<Recorded>, LogError> {
        let Ok(_turn) = self.shared.reads.acquire().await else { return Err(LogError::Stopped) };
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        match self.scope {
            Scope::Tenant(tenant) => self.shared.log.read_tenant(tenant, self.at, limit).await,
            Scope::Partition(partition) => self.shared.log.read(partition, self.at, limit).await,
        }
    }
}
