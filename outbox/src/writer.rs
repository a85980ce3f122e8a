//! Group commit: one task a partition takes all appends that wait and sends them as one statement.
//!
//! No timer: a lone append goes at once, and while a group is under way the next one gathers. A group is stored as a whole;
//! when some of it cannot be, those get their verdicts and the others are sent again, so that each append has its own. When a
//! statement fails, each append of its group is tried once alone, so that a bad one fails by itself. When the
//! connection is lost in the middle, nobody knows what happened; the group is sent once more, and the command ids tell.

mod lanes;
mod statement;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Sleep};

use self::lanes::{Lanes, MAX_GROUP, Waiting};
use self::statement::Answer;
use crate::append::Sealed;
use crate::{Append, Appended, LogError, Verdict, crash};

/// How long a statement may take before its connection counts as lost. The server gives up first.
const PATIENCE: Duration = Duration::from_secs(20);
const SERVER_PATIENCE: &str = "15s";
/// How often in turn nothing more came in until the next group is taken.
const QUIET: usize = 2;

/// The way to the writer task of one partition. The task ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    lanes: Arc<Lanes>,
    appended: watch::Receiver<i64>,
}

impl Writer {
    /// Starts the task. It connects when there is something to write.
    pub(crate) fn start(options: PgConnectOptions, partition: i32, notify: bool) -> Self {
        let lanes = Arc::new(Lanes::new());
        let (progress, appended) = watch::channel(0);
        let options = options.options([("statement_timeout", SERVER_PATIENCE)]);
        let patience = Box::pin(tokio::time::sleep(PATIENCE));
        let task = Task { lanes: Arc::clone(&lanes), options, partition, notify, connection: None, patience, progress };
        tokio::spawn(task.run());
        Self { lanes, appended }
    }

    /// The highest position appended through this writer, as it grows.
    pub(crate) fn appended(&self) -> watch::Receiver<i64> {
        self.appended.clone()
    }

    /// Waits for room among the tenant's appends, then for the verdict.
    pub(crate) async fn append(&self, sealed: Sealed) -> Result<Verdict, LogError> {
        self.lanes.append(sealed).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lanes.close();
    }
}

struct Task {
    lanes: Arc<Lanes>,
    options: PgConnectOptions,
    partition: i32,
    notify: bool,
    connection: Option<PgConnection>,
    /// Kept from statement to statement: putting a timer off costs nothing, a new one wakes the runtime's driver.
    patience: Pin<Box<Sleep>>,
    progress: watch::Sender<i64>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.lanes.abandon();
    }
}

impl Task {
    async fn run(mut self) {
        while let Some(group) = self.lanes.next_group().await {
            metrics::histogram!("agentworks_append_group_size").record(u32::try_from(group.len()).unwrap_or(u32::MAX));
            let several = group.len() > 1;
            self.write(group).await;
            if several {
                self.gather().await;
            }
        }
    }

    /// Lets those who were answered say what more they have, for as long as more comes in: a group costs as much as several
    /// appends, so that whoever is one group late costs everybody.
    async fn gather(&self) {
        let (mut waiting, mut quiet) = (self.lanes.waiting(), 0);
        while quiet < QUIET && waiting < MAX_GROUP {
            tokio::task::yield_now().await;
            let now = self.lanes.waiting();
            quiet = if now > waiting { 0 } else { quiet + 1 };
            waiting = now;
        }
    }

    /// Answers every append of a group.
    async fn write(&mut self, group: Vec<Waiting>) {
        let mut groups = vec![group];
        while let Some(group) = groups.pop() {
            match self.send(&group).await {
                Ok(Answer::Stored { before }) => self.stored(group, before),
                Ok(Answer::Refused(refusals)) => groups.extend(self.refused(group, refusals)),
                Err(error) if group.len() > 1 && !lost(&error) => {
                    tracing::warn!(partition = self.partition, appends = group.len(), %error, "a group of appends failed; trying each alone");
                    groups.extend(group.into_iter().rev().map(|waiting| vec![waiting]));
                }
                Err(error) => {
                    let error = LogError::from(error);
                    tracing::warn!(partition = self.partition, appends = group.len(), %error, "append failed");
                    fail(group, &error);
                }
            }
        }
    }

    fn stored(&self, group: Vec<Waiting>, before: i64) {
        let events: usize = group.iter().map(|waiting| waiting.sealed.append.events.len()).sum();
        self.reached(before + i64::try_from(events).unwrap_or(0));
        let mut position = before;
        for Waiting { sealed, answer, .. } in group {
            let Append { aggregate_type, stream, expected_version, events, .. } = sealed.append;
            let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
            position += count;
            let appended = Appended {
                aggregate_type: aggregate_type.to_owned(),
                stream,
                version: expected_version + count,
                position,
                partition: self.partition,
            };
            tell(answer, Verdict::Stored(appended));
        }
    }

    /// Answers those that were refused. The others, if any.
    fn refused(&self, group: Vec<Waiting>, refusals: Vec<(usize, Verdict)>) -> Option<Vec<Waiting>> {
        let mut refusals = refusals.into_iter().peekable();
        let mut left = Vec::new();
        for (place, waiting) in group.into_iter().enumerate() {
            match refusals.next_if(|(refused, _)| *refused == place) {
                Some((_, verdict)) => {
                    if let Verdict::Repeated(appended) = &verdict {
                        // It may be of this process, sent before the connection was lost.
                        self.reached(appended.position);
                    }
                    tell(waiting.answer, verdict);
                }
                None => left.push(waiting),
            }
        }
        (!left.is_empty()).then_some(left)
    }

    fn reached(&self, position: i64) {
        self.progress.send_if_modified(|known| {
            let grown = position > *known;
            *known = position.max(*known);
            grown
        });
    }

    /// One statement. Sent once more over a new connection when the first was lost.
    async fn send(&mut self, group: &[Waiting]) -> Result<Answer, sqlx::Error> {
        match self.try_send(group).await {
            Err(error) if lost(&error) => {
                tracing::info!(partition = self.partition, %error, "the writer's connection was lost; connecting anew");
                self.try_send(group).await
            }
            result => result,
        }
    }

    async fn try_send(&mut self, group: &[Waiting]) -> Result<Answer, sqlx::Error> {
        // Taken out: when this future is dropped or fails in the middle, the connection is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => patient(self.patience.as_mut(), self.options.connect()).await?,
        };
        crash::point("append.sending");
        let appends = group.iter().map(|waiting| &waiting.sealed);
        let statement = statement::execute(&mut connection, self.partition, self.notify, appends);
        let result = patient(self.patience.as_mut(), statement).await;
        if result.is_ok() {
            crash::point("append.committed");
        }
        if !result.as_ref().is_err_and(lost) {
            self.connection = Some(connection);
        }
        result
    }
}

fn tell(answer: oneshot::Sender<Result<Verdict, LogError>>, verdict: Verdict) {
    metrics::counter!("agentworks_appends_total", "verdict" => verdict.name()).increment(1);
    // A caller that has gone away wants no answer.
    let _ = answer.send(Ok(verdict));
}

fn fail(group: Vec<Waiting>, error: &LogError) {
    for waiting in group {
        let _ = waiting.answer.send(Err(error.clone()));
    }
}

async fn patient<T>(
    mut patience: Pin<&mut Sleep>,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    patience.as_mut().reset(Instant::now() + PATIENCE);
    tokio::select! {
        biased;
        result = work => result,
        () = patience => {
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer")))
        }
    }
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
