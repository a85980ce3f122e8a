//! Things that other things name, fetched together: all that one request names of a kind at a time costs one statement.
//!
//! The loader is made anew for each execution (a question, or a frame of a subscription), for one tenant, keeps nothing, and
//! reads from the request's one transaction. [`Together`] runs an execution with it: it lets the fields ask for whatever
//! they can, and only when none of them can go on are the fetches made. So what is fetched together follows from the
//! question alone, and no time is spent on waiting for others to ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll, Wake, Waker};
use std::{future, pin};

use access::MasterKeys;
use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::{Context, Data, Error, Response};
use domain::{CardId, EnvironmentId, ProjectId, ProviderId, RunId, TenantId, WorkspaceId};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::task::AtomicWaker;
use outbox::{Log, LogError};
use projections::board::{self, CardRow, ProjectRow, ProviderRow, TenantRow, WorkspaceRow};
use projections::environments::{self, EnvironmentRow};
use projections::runs::{self, RunRow, StepRow};
use projections::usage::{self, UsageRow};
use time::Date;
use tokio::sync::mpsc;

use crate::error::OrInternal as _;
use crate::reader::Reader;

/// What loaders are made of.
pub(crate) struct Source {
    log: Log,
    keys: MasterKeys,
    tenant: TenantId,
}

/// What the loaders of a tenant are made of.
pub(crate) fn loader(log: Log, keys: MasterKeys, tenant: TenantId) -> Source {
    Source { log, keys, tenant }
}

/// Fetches things of one tenant, for one execution.
pub(crate) struct Named {
    pub(crate) reader: Reader,
    pub(crate) keys: MasterKeys,
    pub(crate) tenant: TenantId,
}

/// Runs each execution with a reader and a loader of its own.
pub(crate) struct Together;

impl ExtensionFactory for Together {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Together {
    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let Some(source) = ctx.data_opt::<Source>() else { return next.run(ctx, operation_name).await };
        let reader = Reader::new(source.log.clone(), source.tenant);
        let named = Named { reader: reader.clone(), keys: source.keys.clone(), tenant: source.tenant };
        let (ask, mut asked) = mpsc::unbounded_channel::<BoxFuture<'static, ()>>();
        // Nobody hears it only when the execution is over.
        let loader = DataLoader::new(named, move |fetch| drop(ask.send(fetch))).delay(std::time::Duration::ZERO);
        let mut data = Data::default();
        data.insert(loader);
        data.insert(reader.clone());
        let mut answer = pin::pin!(next.run_with_data(ctx, operation_name, data));
        let (stirring, mut fetches) = (Arc::new(Stirring::default()), FuturesUnordered::new());
        let stirs = Waker::from(stirring.clone());
        future::poll_fn(|cx| {
            stirring.task.register(cx.waker());
            loop {
                stirring.again.store(false, Ordering::Relaxed);
                if let Poll::Ready(answer) = answer.as_mut().poll(&mut task::Context::from_waker(&stirs)) {
                    return Poll::Ready(answer);
                }
                if stirring.again.load(Ordering::Relaxed) {
                    return Poll::Pending;
                }
                while let Ok(fetch) = asked.try_recv() {
                    fetches.push(fetch);
                }
                match fetches.poll_next_unpin(cx) {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) => {
                        // It waits for something else.
                        reader.rest();
                        return Poll::Pending;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

/// Whether an execution wants to go on: fields of a long list take turns, and each turn asks for the next one.
#[derive(Default)]
struct Stirring {
    again: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Stirring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::Relaxed);
        self.task.wake();
    }
}

/// The steps of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StepsOf(pub(crate) RunId);

/// What was used in a range of days, both included; in one project when it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UsageOf {
    pub(crate) from: Date,
    pub(crate) to: Date,
    pub(crate) project: Option<ProjectId>,
}

/// All workspaces of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Workspaces;

/// All providers of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Providers;

/// The thing of that key, when it exists.
///
/// # Errors
/// `internal`.
pub(crate) async fn named<K>(ctx: &Context<'_>, key: K) -> Result<Option<<Named as Loader<K>>::Value>, Error>
where
    K: Send + Sync + std::hash::Hash + Eq + Clone + 'static,
    Named: Loader<K, Error = LogError>,
{
    ctx.data::<DataLoader<Named>>()?.load_one(key).await.or_internal()
}

/// Those of these things that exist, in this order.
///
/// # Errors
/// `internal`.
pub(crate) async fn all_named<K>(ctx: &Context<'_>, keys: Vec<K>) -> Result<Vec<<Named as Loader<K>>::Value>, Error>
where
    K: Send + Sync + std::hash::Hash + Eq + Clone + 'static,
    Named: Loader<K, Error = LogError>,
{
    let mut found = ctx.data::<DataLoader<Named>>()?.load_many(keys.iter().cloned()).await.or_internal()?;
    Ok(keys.iter().filter_map(|key| found.remove(key)).collect())
}

macro_rules! loads {
    ($($key:ident => $row:ident by $read:path, $id:ident;)*) => {$(
        impl Loader<$key> for Named {
            type Value = Arc<$row>;
            type Error = LogError;

            async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, Arc<$row>>, LogError> {
                let rows = $read(self.reader.turn().await?.conn(), self.tenant, keys).await?;
                Ok(rows.into_iter().map(|row| ($key::from_uuid(row.$id), Arc::new(row))).collect())
            }
        }
    )*};
}

loads! {
    WorkspaceId => WorkspaceRow by board::workspaces_by_id, workspace;
    ProviderId => ProviderRow by board::providers_by_id, provider;
    ProjectId => ProjectRow by board::projects_by_id, project;
    CardId => CardRow by board::cards_by_id, card;
    RunId => RunRow by runs::runs_by_id, run;
    EnvironmentId => EnvironmentRow by environments::environments_by_id, environment;
}

/// The only tenant that can be named is the one that asks.
impl Loader<TenantId> for Named {
    type Value = TenantRow;
    type Error = LogError;

    async fn load(&self, keys: &[TenantId]) -> Result<HashMap<TenantId, TenantRow>, LogError> {
        if !keys.contains(&self.tenant) {
            return Ok(HashMap::new());
        }
        let row = board::tenant(self.reader.turn().await?.conn(), self.tenant).await?;
        Ok(row.into_iter().map(|row| (self.tenant, row)).collect())
    }
}

impl Loader<Workspaces> for Named {
    type Value = Vec<Arc<WorkspaceRow>>;
    type Error = LogError;

    async fn load(&self, _: &[Workspaces]) -> Result<HashMap<Workspaces, Self::Value>, LogError> {
        let rows = board::workspaces(self.reader.turn().await?.conn(), self.tenant).await?;
        Ok([(Workspaces, rows.into_iter().map(Arc::new).collect())].into())
    }
}

impl Loader<Providers> for Named {
    type Value = Vec<Arc<ProviderRow>>;
    type Error = LogError;

    async fn load(&self, _: &[Providers]) -> Result<HashMap<Providers, Self::Value>, LogError> {
        let rows = board::providers(self.reader.turn().await?.conn(), self.tenant).await?;
        Ok([(Providers, rows.into_iter().map(Arc::new).collect())].into())
    }
}

impl Loader<StepsOf> for Named {
    type Value = Vec<Arc<StepRow>>;
    type Error = LogError;

    async fn load(&self, keys: &[StepsOf]) -> Result<HashMap<StepsOf, Self::Value>, LogError> {
        let ids: Vec<RunId> = keys.iter().map(|key| key.0).collect();
        let mut steps = HashMap::<StepsOf, Self::Value>::new();
        for step in runs::steps_by_run(self.reader.turn().await?.conn(), self.tenant, &ids).await? {
            steps.entry(StepsOf(RunId::from_uuid(step.run))).or_default().push(Arc::new(step));
        }
        Ok(steps)
    }
}

/// A statement for each range of days; one question has seldom more than one.
impl Loader<UsageOf> for Named {
    type Value = Vec<UsageRow>;
    type Error = LogError;

    async fn load(&self, keys: &[UsageOf]) -> Result<HashMap<UsageOf, Self::Value>, LogError> {
        let mut ranges = HashMap::<(Date, Date, bool), Vec<ProjectId>>::new();
        for UsageOf { from, to, project } in keys {
            ranges.entry((*from, *to, project.is_some())).or_default().extend(project);
        }
        let mut used: HashMap<UsageOf, Self::Value> = HashMap::new();
        let mut turn = self.reader.turn().await?;
        for ((from, to, within), projects) in ranges {
            let projects = within.then_some(projects.as_slice());
            for row in usage::usage_in(turn.conn(), self.tenant, from, to, projects).await? {
                let project = within.then(|| ProjectId::from_uuid(row.project));
                used.entry(UsageOf { from, to, project }).or_default().push(row);
            }
        }
        Ok(used)
    }
}
