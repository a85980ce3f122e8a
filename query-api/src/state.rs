//! What the API stands on.

use std::sync::Arc;
use std::time::Duration;

use access::Verifier;
use outbox::Log;
use outbox::progress::Progress;
use tokio_util::sync::CancellationToken;

use crate::follow::Boards;
use crate::schema::ApiSchema;

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a question with `waitFor` waits for its read model.
    pub wait: Duration,
    /// Whether `/graphiql` is served.
    pub graphiql: bool,
    /// Fields in each other, at most; no more than [`crate::MAX_DEPTH`] in any case.
    pub max_depth: usize,
    /// What all fields of a request together may count.
    pub max_complexity: usize,
}

impl Default for Settings {
    fn default() -> Self {
        // GraphiQL's own question is 15 deep.
        Self { wait: Duration::from_secs(5), graphiql: true, max_depth: 16, max_complexity: 10_000 }
    }
}

/// The query API of this process. Cheap to clone.
#[derive(Clone)]
pub struct QueryState {
    pub(crate) reading: Reading,
    pub(crate) schema: ApiSchema,
    pub(crate) verifier: Verifier,
    pub(crate) graphiql: bool,
    pub(crate) shutdown: CancellationToken,
}

/// What reading takes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) log: Log,
    pub(crate) progress: Progress,
    pub(crate) boards: Arc<Boards>,
    pub(crate) wait: Duration,
}

impl QueryState {
    /// `progress` must watch the consumers `board`, `card_history`, `runs` and `usage`. When `shutdown` is cancelled,
    /// open sockets are closed with 1001, so that their clients go on elsewhere.
    pub fn new(
        log: Log,
        progress: Progress,
        verifier: Verifier,
        settings: &Settings,
        shutdown: CancellationToken,
    ) -> Self {
        let boards = Arc::new(Boards::new(log.clone(), progress.clone()));
        let reading = Reading { log, progress, boards, wait: settings.wait };
        let schema = crate::schema::build(reading.clone(), settings);
        Self { reading, schema, verifier, graphiql: settings.graphiql, shutdown }
    }
}
