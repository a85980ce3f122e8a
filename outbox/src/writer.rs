//! Group commit: one task a partition takes all appends that wait and sends them as one statement.
//!
//! No timer: a lone append goes at once, and while a group is under way the next one gathers. Each append gets its own
//! verdict. When a statement fails, each append of its group is tried once alone, so that a bad one fails by itself. When the
//! connection is lost in the middle, nobody knows what happened; the group is sent once more, and the command ids tell.

mod statement;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{mpsc, oneshot, watch};

use crate::append::Sealed;
use crate::{Append, LogError, Verdict, crash};

/// Appends that one statement takes at most.
const MAX_GROUP: usize = 512;
/// Bytes of events that one statement takes, about; a single append may be larger.
const MAX_GROUP_BYTES: usize = 4 << 20;
/// Appends that may wait before callers have to.
const QUEUE: usize = 2 * MAX_GROUP;
/// How long a statement may take before its connection counts as lost. The server gives up first.
const PATIENCE: Duration = Duration::from_secs(20);
const SERVER_PATIENCE: &str = "15s";

/// The way to the writer task of one partition. The task ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Waiting>,
    appended: watch::Receiver<i64>,
}

/// An append whose caller waits.
#[derive(Debug)]
struct Waiting {
    sealed: Sealed,
    answer: oneshot::Sender<Result<Verdict, LogError>>,
}

impl Writer {
    /// Starts the task. It connects when there is something to write.
    pub(crate) fn start(options: PgConnectOptions, partition: i32, notify: bool) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (progress, appended) = watch::channel(0);
        let options = options.options([("statement_timeout", SERVER_PATIENCE)]);
        tokio::spawn(Task { options, partition, notify, connection: None, progress }.run(waiting));
        Self { queue, appended }
    }

    /// The highest position appended through this writer, as it grows.
    pub(crate) fn appended(&self) -> watch::Receiver<i64> {
        self.appended.clone()
    }

    /// Waits for room in the queue, then for the verdict.
    pub(crate) async fn append(&self, append: Append) -> Result<Verdict, LogError> {
        let (answer, verdict) = oneshot::channel();
        let waiting = Waiting { sealed: Sealed::new(append)?, answer };
        self.queue.send(waiting).await.map_err(|_| LogError::Stopped)?;
        verdict.await.map_err(|_| LogError::Stopped)?
    }
}

struct Task {
    options: PgConnectOptions,
    partition: i32,
    notify: bool,
    connection: Option<PgConnection>,
    progress: watch::Sender<i64>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = queue.recv().await else { return };
                waiting.push_back(first);
            }
            while waiting.len() < MAX_GROUP {
                let Ok(next) = queue.try_recv() else { break };
                waiting.push_back(next);
            }
            let group = take_group(&mut waiting);
            metrics::histogram!("agentworks_append_group_size").record(u32::try_from(group.len()).unwrap_or(u32::MAX));
            self.write(group).await;
        }
    }

    /// Answers every append of a group.
    async fn write(&mut self, group: Vec<Waiting>) {
        match self.send(&group).await {
            Ok(verdicts) => self.answer(group, verdicts),
            Err(error) if group.len() == 1 || lost(&error) => {
                let error = LogError::from(error);
                tracing::warn!(partition = self.partition, appends = group.len(), %error, "append failed");
                for waiting in group {
                    // A caller that has gone away wants no answer.
                    let _ = waiting.answer.send(Err(error.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(partition = self.partition, appends = group.len(), %error, "a group of appends failed; trying each alone");
                for waiting in group {
                    let alone = vec![waiting];
                    match self.send(&alone).await {
                        Ok(verdicts) => self.answer(alone, verdicts),
                        Err(error) => {
                            let error = LogError::from(error);
                            for waiting in alone {
                                let _ = waiting.answer.send(Err(error.clone()));
                            }
                        }
                    }
                }
            }
        }
    }

    fn answer(&self, group: Vec<Waiting>, verdicts: Vec<Verdict>) {
        let last = verdicts.iter().filter_map(|verdict| match verdict {
            // A repeated one may be of this process, sent before the connection was lost.
            Verdict::Stored(appended) | Verdict::Repeated(appended) => Some(appended.position),
            Verdict::Mismatch | Verdict::Conflict { .. } => None,
        });
        let last = last.max().unwrap_or(0);
        self.progress.send_if_modified(|known| {
            let grown = last > *known;
            *known = last.max(*known);
            grown
        });
        for (waiting, verdict) in group.into_iter().zip(verdicts) {
            metrics::counter!("agentworks_appends_total", "verdict" => verdict.name()).increment(1);
            let _ = waiting.answer.send(Ok(verdict));
        }
    }

    /// One statement. Sent once more over a new connection when the first was lost.
    async fn send(&mut self, group: &[Waiting]) -> Result<Vec<Verdict>, sqlx::Error> {
        match self.try_send(group).await {
            Err(error) if lost(&error) => {
                tracing::info!(partition = self.partition, %error, "the writer's connection was lost; connecting anew");
                self.try_send(group).await
            }
            result => result,
        }
    }

    async fn try_send(&mut self, group: &[Waiting]) -> Result<Vec<Verdict>, sqlx::Error> {
        // Taken out: when this future is dropped or fails in the middle, the connection is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => patient(self.options.connect()).await?,
        };
        crash::point("append.sending");
        let result =
            patient(statement::execute(&mut connection, self.partition, self.notify, group.iter().map(|w| &w.sealed)))
                .await;
        if result.is_ok() {
            crash::point("append.committed");
        }
        if !result.as_ref().is_err_and(lost) {
            self.connection = Some(connection);
        }
        result
    }
}

async fn patient<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer")))
    })
}

/// Whether the connection is of no more use, as opposed to a statement that was refused.
fn lost(error: &sqlx::Error) -> bool {
    match error {
        // Connection exceptions, operator intervention (shutdown, time-out), too many connections, a server that only reads.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || code.starts_with("57") || code == "53300" || code == "25006"),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Takes the next group off the queue: in order, each stream and each command at most once. What is left out keeps its order.
fn take_group(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let (mut streams, mut commands) = (HashSet::new(), HashSet::new());
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut left = VecDeque::new();
    while let Some(next) = waiting.pop_front() {
        let append = &next.sealed.append;
        let full = group.len() == MAX_GROUP || (!group.is_empty() && bytes + next.sealed.bytes > MAX_GROUP_BYTES);
        let stream_is_new = streams.insert((append.metadata.tenant, append.stream));
        let command_is_new = commands.insert((append.metadata.tenant, append.metadata.command));
        if full || !stream_is_new || !command_is_new {
            left.push_back(next);
        } else {
            bytes += next.sealed.bytes;
            group.push(next);
        }
    }
    *waiting = left;
    group
}

impl Verdict {
    fn name(&self) -> &'static str {
        match self {
            Self::Stored(_) => "stored",
            Self::Repeated(_) => "repeated",
            Self::Mismatch => "mismatch",
            Self::Conflict { .. } => "conflict",
        }
    }
}
