//! Things that other things name, fetched together: all that one request names of a kind costs one query.
//!
//! Made anew for each request or socket, for one tenant; keeps nothing.

use std::collections::HashMap;
use std::sync::Arc;

use access::MasterKeys;
use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{Context, Error};
use domain::{CardId, EnvironmentId, ProjectId, ProviderId, RunId, TenantId, WorkspaceId};
use outbox::{Log, LogError};
use projections::board::{self, CardRow, ProjectRow, ProviderRow, TenantRow, WorkspaceRow};
use projections::card_history::{self, HistoryRow, Page};
use projections::environments::{self, EnvironmentRow};
use projections::runs::{self, RunRow, StepRow};

use crate::error::OrInternal as _;
use crate::waiting::{self, WaitingRow};

/// Fetches things of one tenant.
pub(crate) struct Named {
    pub(crate) log: Log,
    pub(crate) keys: MasterKeys,
    pub(crate) tenant: TenantId,
}

/// The steps of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StepsOf(pub(crate) RunId);

/// Why a run waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WaitingOf(pub(crate) RunId);

/// A page of a card's runs, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RunsOf {
    pub(crate) project: ProjectId,
    pub(crate) card: CardId,
    pub(crate) before: Option<RunId>,
    pub(crate) limit: i64,
}

/// A page of a card's history, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HistoryOf {
    pub(crate) card: CardId,
    pub(crate) after: Option<i64>,
    pub(crate) before: Option<i64>,
    pub(crate) last: bool,
    pub(crate) limit: i64,
}

/// A loader for one request or socket.
pub(crate) fn loader(log: Log, keys: MasterKeys, tenant: TenantId) -> DataLoader<Named> {
    DataLoader::new(Named { log, keys, tenant }, tokio::spawn)
}

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
                let mut tx = projections::read(&self.log, self.tenant).await?;
                let rows = $read(&mut tx, self.tenant, keys).await?;
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
        let mut tx = projections::read(&self.log, self.tenant).await?;
        let row = board::tenant(&mut tx, self.tenant).await?;
        Ok(row.into_iter().map(|row| (self.tenant, row)).collect())
    }
}

impl Loader<StepsOf> for Named {
    type Value = Vec<Arc<StepRow>>;
    type Error = LogError;

    async fn load(&self, keys: &[StepsOf]) -> Result<HashMap<StepsOf, Self::Value>, LogError> {
        let ids: Vec<RunId> = keys.iter().map(|key| key.0).collect();
        let mut tx = projections::read(&self.log, self.tenant).await?;
        let mut steps = HashMap::<StepsOf, Self::Value>::new();
        for step in runs::steps_by_run(&mut tx, self.tenant, &ids).await? {
            steps.entry(StepsOf(RunId::from_uuid(step.run))).or_default().push(Arc::new(step));
        }
        Ok(steps)
    }
}

impl Loader<WaitingOf> for Named {
    type Value = WaitingRow;
    type Error = LogError;

    async fn load(&self, keys: &[WaitingOf]) -> Result<HashMap<WaitingOf, WaitingRow>, LogError> {
        let runs: Vec<RunId> = keys.iter().map(|key| key.0).collect();
        let mut tx = projections::read(&self.log, self.tenant).await?;
        let rows = waiting::waiting(&mut tx, &runs).await?;
        Ok(rows.into_iter().map(|row| (WaitingOf(RunId::from_uuid(row.run)), row)).collect())
    }
}

/// One after the other on one connection: a board has many cards, and the pool has few connections.
impl Loader<RunsOf> for Named {
    type Value = Vec<Arc<RunRow>>;
    type Error = LogError;

    async fn load(&self, keys: &[RunsOf]) -> Result<HashMap<RunsOf, Self::Value>, LogError> {
        let mut tx = projections::read(&self.log, self.tenant).await?;
        let mut pages = HashMap::new();
        for key in keys {
            let rows = runs::runs(&mut tx, self.tenant, key.project, Some(key.card), key.before, key.limit).await?;
            pages.insert(key.clone(), rows.into_iter().map(Arc::new).collect());
        }
        Ok(pages)
    }
}

/// As for [`RunsOf`].
impl Loader<HistoryOf> for Named {
    type Value = Vec<HistoryRow>;
    type Error = LogError;

    async fn load(&self, keys: &[HistoryOf]) -> Result<HashMap<HistoryOf, Self::Value>, LogError> {
        let mut tx = projections::read(&self.log, self.tenant).await?;
        let mut pages = HashMap::new();
        for key in keys {
            let page = Page { after: key.after, before: key.before, last: key.last, limit: key.limit };
            pages.insert(key.clone(), card_history::history(&mut tx, self.tenant, key.card, page).await?);
        }
        Ok(pages)
    }
}
