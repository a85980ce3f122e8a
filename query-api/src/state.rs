//! What the API stands on.

use std::sync::Arc;
use std::time::Duration;

use access::{MasterKeys, Verifier};
use outbox::progress::Progress;
use outbox::tail::Tail;
use outbox::{Bus, Log};
use tokio_util::sync::CancellationToken;

use crate::events::{EventSettings, Events};
use crate::follow::{Boards, Subscribers};
use crate::schema::ApiSchema;
use crate::transport::{Documents, Operations};

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
    /// How long one question may take.
    pub time: Duration,
    /// Subscriptions that one person or program may have at once, in this process.
    pub subscriptions_per_user: usize,
    /// The only operations that are run; without it, all.
    pub operations: Option<Operations>,
    /// Of the stream of events.
    pub events: EventSettings,
}

impl Default for Settings {
    fn default() -> Self {
        // GraphiQL's own question is 15 deep.
        Self {
            wait: Duration::from_secs(5),
            graphiql: true,
            max_depth: 16,
            max_complexity: 10_000,
            time: Duration::from_secs(30),
            subscriptions_per_user: 1_000,
            operations: None,
            events: EventSettings::default(),
        }
    }
}

/// The query API of this process. Cheap to clone.
#[derive(Clone)]
pub struct QueryState {
    pub(crate) reading: Reading,
    pub(crate) events: Events,
    pub(crate) schema: ApiSchema,
    pub(crate) keys: MasterKeys,
    pub(crate) verifier: Verifier,
    pub(crate) documents: Documents,
    pub(crate) subscribers: Subscribers,
    pub(crate) time: Duration,
    pub(crate) graphiql: bool,
    pub(crate) shutdown: CancellationToken,
}

/// What reading takes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) log: Log,
    pub(crate) progress: Progress,
    pub(crate) boards: Arc<Boards>,
    pub(crate) tail: Tail,
    pub(crate) wait: Duration,
}

impl QueryState {
    /// `keys` open what is kept for people. `progress` must watch the consumers `board`, `card_history`, `runs` and
    /// `usage`. When `shutdown` is cancelled, open sockets are closed with 1001 and streams end, so that their clients go
    /// on elsewhere. With `bus`, streams see what other processes append at once.
    pub fn new(
        log: Log,
        bus: Option<Bus>,
        progress: Progress,
        verifier: Verifier,
        keys: MasterKeys,
        settings: &Settings,
        shutdown: CancellationToken,
    ) -> Self {
        let boards = Arc::new(Boards::new(log.clone(), progress.clone()));
        let tail = Tail::new(log.clone(), bus);
        let reading = Reading { log, progress, boards, tail: tail.clone(), wait: settings.wait };
        let schema = crate::schema::build(reading.clone(), settings);
        let events = Events::new(reading.log.clone(), tail, settings.events.clone(), shutdown.clone());
        Self {
            reading,
            events,
            schema,
            keys,
            verifier,
            documents: Documents::new(settings.operations.clone()),
            subscribers: Subscribers::new(settings.subscriptions_per_user),
            time: settings.time,
            graphiql: settings.graphiql,
            shutdown,
        }
    }
}
