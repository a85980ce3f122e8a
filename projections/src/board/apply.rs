//! How the board follows the log.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::DecodeError;
use domain::card::{CardCreated, CardEvent};
use domain::project::{ProjectCreated, ProjectEvent, Repository};
use domain::provider::{ProviderEvent, ProviderSettings};
use domain::tenant::TenantEvent;
use domain::workspace::WorkspaceEvent;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::row::{CardRow, LastRun, ProjectRow, ProviderRow, TenantRow, WorkspaceRow};
use crate::fact::{Fact, What};
use crate::model::Fold;
use crate::personal::{self, Erasure};
use crate::table::{Rows, Write};

/// Takes away what an erased subject has said.
const ERASE: &str = "UPDATE cards c SET position = e.position, \
     blocked_reason = CASE WHEN starts_with(c.blocked_reason, e.said) THEN e.erased ELSE c.blocked_reason END, \
     last_run = CASE WHEN starts_with(c.last_run->>'reason', e.said) \
         THEN jsonb_set(c.last_run, '{reason}', to_jsonb(e.erased)) ELSE c.last_run END \
     FROM json_to_recordset($1::text::json) AS e (tenant uuid, position bigint, said text, erased text) \
     WHERE c.tenant = e.tenant \
     AND (starts_with(c.blocked_reason, e.said) OR starts_with(c.last_run->>'reason', e.said))";

/// The rows of the board in memory.
pub(super) struct Tables {
    pub(super) tenants: Rows<TenantRow>,
    pub(super) workspaces: Rows<WorkspaceRow>,
    pub(super) providers: Rows<ProviderRow>,
    pub(super) projects: Rows<ProjectRow>,
    pub(super) cards: Rows<CardRow>,
    /// Those who were erased meanwhile.
    erased: Vec<Erasure>,
}

#[async_trait]
impl Fold for Tables {
    async fn load(&mut self, conn: &mut PgConnection, facts: &[Fact<'_>]) -> Result<(), sqlx::Error> {
        let keys = |wanted: fn(&What) -> bool| facts.iter().filter(move |fact| wanted(&fact.what)).map(Fact::key);
        self.tenants.load(conn, keys(|what| matches!(what, What::Tenant(_)))).await?;
        self.workspaces.load(conn, keys(|what| matches!(what, What::Workspace(_)))).await?;
        self.providers.load(conn, keys(|what| matches!(what, What::Provider(_)))).await?;
        self.projects.load(conn, keys(|what| matches!(what, What::Project(_)))).await?;
        self.cards.load(conn, keys(|what| matches!(what, What::Card(_)))).await
    }

    fn take(&mut self, fact: &Fact<'_>, topics: &mut BTreeSet<Uuid>) -> Result<(), DecodeError> {
        topics.extend(Self::take(self, fact));
        Ok(())
    }

    fn drain(&mut self) -> Result<Vec<Write>, sqlx::Error> {
        let mut all = Vec::new();
        Erasure::drain(&mut self.erased, ERASE, &mut all)?;
        self.tenants.drain(&mut all)?;
        self.workspaces.drain(&mut all)?;
        self.providers.drain(&mut all)?;
        self.projects.drain(&mut all)?;
        self.cards.drain(&mut all)?;
        Ok(all)
    }

    fn len(&self) -> usize {
        let small = self.tenants.len() + self.workspaces.len() + self.providers.len();
        small + self.projects.len() + self.cards.len() + self.erased.len()
    }
}

impl Tables {
    pub(super) fn new(whole: bool) -> Self {
        Self {
            tenants: Rows::new(whole),
            workspaces: Rows::new(whole),
            providers: Rows::new(whole),
            projects: Rows::new(whole),
            cards: Rows::new(whole),
            erased: vec![],
        }
    }

    /// Takes in one event; answers the project whose board it touches.
    pub(super) fn take(&mut self, fact: &Fact<'_>) -> Option<Uuid> {
        match &fact.what {
            What::Tenant(event) => self.tenant(fact, event),
            What::Workspace(event) => self.workspace(fact, event),
            What::Provider(event) => self.provider(fact, event),
            What::Project(event) => {
                self.project(fact, event);
                return Some(fact.event.stream);
            }
            What::Card(event) => return self.card(fact, event),
            What::Erased(_) => self.erase(fact),
            What::Run(_) | What::Environment(_) | What::Other => {}
        }
        None
    }

    fn erase(&mut self, fact: &Fact<'_>) {
        let Some(erasure) = Erasure::of(fact) else { return };
        self.cards.change_all(erasure.tenant, |row| {
            let run = row.last_run.as_mut().and_then(|Json(run)| run.reason.as_mut());
            let ran = erasure.scrub(run, &mut row.position);
            erasure.scrub(row.blocked_reason.as_mut(), &mut row.position) || ran
        });
        self.erased.push(erasure);
    }

    fn tenant(&mut self, fact: &Fact<'_>, event: &TenantEvent) {
        if let TenantEvent::Created(created) = event {
            self.tenants.put(TenantRow {
                tenant: fact.tenant(),
                id: fact.event.stream,
                name: created.name.to_string(),
                suspended: false,
                created_at: fact.at(),
                version: 0,
                position: 0,
            });
        }
        let Some(row) = self.tenants.change(fact.key()) else { return };
        match event {
            TenantEvent::Created(_) => {}
            TenantEvent::Renamed(renamed) => row.name = renamed.name.to_string(),
            TenantEvent::Suspended(_) => row.suspended = true,
            TenantEvent::Resumed(_) => row.suspended = false,
        }
        (row.version, row.position) = (fact.event.version, fact.event.position);
    }

    fn workspace(&mut self, fact: &Fact<'_>, event: &WorkspaceEvent) {
        if let WorkspaceEvent::Created(created) = event {
            self.workspaces.put(WorkspaceRow {
                tenant: fact.tenant(),
                workspace: fact.event.stream,
                name: created.name.to_string(),
                archived: false,
                created_at: fact.at(),
                version: 0,
                position: 0,
            });
        }
        let Some(row) = self.workspaces.change(fact.key()) else { return };
        match event {
            WorkspaceEvent::Created(_) => {}
            WorkspaceEvent::Renamed(renamed) => row.name = renamed.name.to_string(),
            WorkspaceEvent::Archived(_) => row.archived = true,
        }
        (row.version, row.position) = (fact.event.version, fact.event.position);
    }

    fn provider(&mut self, fact: &Fact<'_>, event: &ProviderEvent) {
        if let ProviderEvent::Registered(registered) = event {
            self.providers.put(new_provider(fact, &registered.settings));
        }
        let Some(row) = self.providers.change(fact.key()) else { return };
        match event {
            ProviderEvent::Registered(_) | ProviderEvent::KeyRotated(_) => {}
            ProviderEvent::Configured(configured) => configure(row, &configured.settings),
            ProviderEvent::Disabled(_) => row.enabled = false,
            ProviderEvent::Enabled(_) => row.enabled = true,
        }
        (row.version, row.position) = (fact.event.version, fact.event.position);
    }

    fn project(&mut self, fact: &Fact<'_>, event: &ProjectEvent) {
        if let ProjectEvent::Created(created) = event {
            self.projects.put(new_project(fact, created));
        }
        let Some(row) = self.projects.change(fact.key()) else { return };
        match event {
            ProjectEvent::Created(_) => {}
            ProjectEvent::Renamed(renamed) => row.name = renamed.name.to_string(),
            ProjectEvent::RepositoryConnected(connected) => connect(row, &connected.repository),
            ProjectEvent::LanesConfigured(configured) => row.lanes = Json(configured.lanes.as_slice().to_vec()),
            ProjectEvent::PolicySet(set) => row.policy = Json(set.policy.clone()),
            ProjectEvent::ModelChosen(chosen) => {
                row.provider = Some(chosen.model.provider.uuid());
                row.model = chosen.model.model.as_ref().map(ToString::to_string);
            }
            ProjectEvent::Archived(_) => row.archived = true,
        }
        (row.version, row.position) = (fact.event.version, fact.event.position);
        (row.updated_at, row.updated_by) = (fact.at(), fact.actor());
    }

    fn card(&mut self, fact: &Fact<'_>, event: &CardEvent) -> Option<Uuid> {
        if let CardEvent::Created(created) = event {
            self.cards.put(new_card(fact, created));
        }
        let row = self.cards.change(fact.key())?;
        match event {
            CardEvent::Created(_) | CardEvent::Commented(_) => {}
            CardEvent::Edited(edited) => {
                if let Some(title) = &edited.title {
                    row.title = title.to_string();
                }
                if let Some(description) = &edited.description {
                    row.description = description.to_string();
                }
            }
            CardEvent::Moved(moved) => {
                row.lane = moved.to.to_string();
                row.rank = moved.rank.to_string();
            }
            CardEvent::Ranked(ranked) => row.rank = ranked.rank.to_string(),
            CardEvent::AgentAssigned(assigned) => row.agent = assigned.agent.clone().map(Json),
            CardEvent::DependencyAdded(added) => {
                row.depends_on.push(added.on.uuid());
                row.depends_on.sort_unstable();
                row.depends_on.dedup();
            }
            CardEvent::DependencyRemoved(removed) => row.depends_on.retain(|card| *card != removed.on.uuid()),
            CardEvent::Blocked(blocked) => row.blocked_reason = Some(personal::stored(&blocked.reason)),
            CardEvent::Unblocked(_) => row.blocked_reason = None,
            CardEvent::RunRequested(requested) => row.active_run = Some(requested.run.uuid()),
            CardEvent::RunFinished(finished) => {
                row.active_run = None;
                row.last_run = Some(Json(LastRun::of(finished.run.uuid(), &finished.result)));
            }
            CardEvent::Archived(_) => row.archived = true,
        }
        (row.version, row.position) = (fact.event.version, fact.event.position);
        (row.updated_at, row.updated_by) = (fact.at(), fact.actor());
        Some(row.project)
    }
}

fn new_provider(fact: &Fact<'_>, settings: &ProviderSettings) -> ProviderRow {
    let mut row = ProviderRow {
        tenant: fact.tenant(),
        provider: fact.event.stream,
        name: String::new(),
        kind: String::new(),
        base_url: None,
        default_model: String::new(),
        enabled: true,
        created_at: fact.at(),
        version: 0,
        position: 0,
    };
    configure(&mut row, settings);
    row
}

fn configure(row: &mut ProviderRow, settings: &ProviderSettings) {
    row.name = settings.name.to_string();
    row.kind = settings.kind.as_str().to_owned();
    row.base_url = settings.base_url.as_ref().map(ToString::to_string);
    row.default_model = settings.default_model.to_string();
}

fn new_project(fact: &Fact<'_>, created: &ProjectCreated) -> ProjectRow {
    let mut row = ProjectRow {
        tenant: fact.tenant(),
        project: fact.event.stream,
        workspace: created.workspace.uuid(),
        name: created.name.to_string(),
        repository_url: String::new(),
        default_branch: String::new(),
        has_credential: false,
        lanes: Json(created.lanes.as_slice().to_vec()),
        policy: Json(created.policy.clone()),
        provider: created.model.as_ref().map(|model| model.provider.uuid()),
        model: created.model.as_ref().and_then(|model| model.model.as_ref()).map(ToString::to_string),
        archived: false,
        created_at: fact.at(),
        created_by: fact.actor(),
        updated_at: fact.at(),
        updated_by: fact.actor(),
        version: 0,
        position: 0,
    };
    connect(&mut row, &created.repository);
    row
}

fn connect(row: &mut ProjectRow, repository: &Repository) {
    row.repository_url = repository.url.to_string();
    row.default_branch = repository.default_branch.to_string();
    row.has_credential = repository.credential.is_some();
}

fn new_card(fact: &Fact<'_>, created: &CardCreated) -> CardRow {
    CardRow {
        tenant: fact.tenant(),
        card: fact.event.stream,
        project: created.project.uuid(),
        lane: created.lane.to_string(),
        rank: created.rank.to_string(),
        title: created.title.to_string(),
        description: created.description.to_string(),
        agent: None,
        depends_on: vec![],
        blocked_reason: None,
        active_run: None,
        last_run: None,
        archived: false,
        created_at: fact.at(),
        created_by: fact.actor(),
        updated_at: fact.at(),
        updated_by: fact.actor(),
        version: 0,
        position: 0,
    }
}
