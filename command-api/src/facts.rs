//! Facts: what a decision needs to know of other things than its own aggregate.
//!
//! Most come from the log itself, by loading the other aggregates; what is known only of many things together comes
//! from the board's read model, as of the log's end when it was asked.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::card::{AgentProfile, Card, Rank, ResolvedModel};
use domain::id::CommandId;
use domain::project::{LaneRole, Lanes, OpenProject, Project};
use domain::provider::Provider;
use domain::tenant::Tenant;
use domain::value::LaneKey;
use domain::workspace::Workspace;
use domain::{
    CardId, Decider, PersonalText, ProjectId, ProviderId, RefusalKind, Saying, SubjectId, TenantId, WorkspaceId,
};
use outbox::{Aggregates, Loaded, subjects};
use schemas::Cursor;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::DispatchError;
use crate::order::Place;
use crate::vault::Vault;

/// Cards that a search for a circle of dependencies may look at.
const MAX_CARDS_SEARCHED: usize = 2_000;

/// What only the board's read model knows. Each question waits, for a bounded time, until the read model has reached
/// `as_of`.
#[async_trait]
pub trait BoardFacts: Send + Sync {
    /// Runs of the project that are queued or under way.
    async fn active_runs(&self, tenant: TenantId, project: ProjectId, as_of: Cursor) -> Result<u32, FactsUnavailable>;

    /// The lanes of the project that hold cards.
    async fn occupied_lanes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        as_of: Cursor,
    ) -> Result<BTreeSet<LaneKey>, FactsUnavailable>;
}

/// The read model could not answer in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the board's read model could not answer: {0}")]
pub struct FactsUnavailable(pub String);

/// Looks facts up for one order of one tenant.
pub(crate) struct Facts<'a> {
    pub(crate) aggregates: &'a Aggregates,
    pub(crate) memory: &'a Memory,
    pub(crate) board: &'a dyn BoardFacts,
    pub(crate) vault: &'a Vault,
    pub(crate) tenant: TenantId,
    pub(crate) command: CommandId,
    pub(crate) now: OffsetDateTime,
    /// Who asks, when that is a person.
    pub(crate) author: Option<SubjectId>,
}

/// Whether facts may come from memory, and whether any did.
#[derive(Debug)]
pub(crate) struct Memory {
    allowed: bool,
    used: AtomicBool,
}

impl Memory {
    pub(crate) const fn new(allowed: bool) -> Self {
        Self { allowed, used: AtomicBool::new(false) }
    }

    /// The aggregate as `remembered`, when that may be believed.
    pub(crate) fn use_if_any<A>(&self, remembered: impl FnOnce() -> Option<Arc<Loaded<A>>>) -> Option<Arc<Loaded<A>>> {
        let found = self.allowed.then(remembered).flatten();
        if found.is_some() {
            self.used.store(true, Ordering::Relaxed);
        }
        found
    }

    pub(crate) fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }
}

type Found<T> = Result<T, DispatchError>;

impl Facts<'_> {
    /// As the log has it now.
    async fn load<A: Decider>(&self, stream: Uuid) -> Found<Arc<Loaded<A>>> {
        Ok(self.aggregates.load(self.tenant, stream).await?)
    }

    /// Perhaps from memory: for what changes seldom, and where a moment too late does no harm.
    async fn settled<A: Decider>(&self, stream: Uuid) -> Found<Arc<Loaded<A>>> {
        match self.memory.use_if_any(|| self.aggregates.recent(self.tenant, stream)) {
            Some(recent) => Ok(recent),
            None => self.load(stream).await,
        }
    }

    /// What was said, sealed for whom it is about, or else for who says it. What the system says itself stays readable.
    pub(crate) async fn seal(
        &self,
        saying: Saying,
        text: PersonalText,
        about: Option<SubjectId>,
    ) -> Found<PersonalText> {
        match (text, about.or(self.author)) {
            (PersonalText::Plain(text), Some(subject)) => {
                Ok(self.vault.seal(self.tenant, subject, saying, &text).await?)
            }
            (text, _) => Ok(text),
        }
    }

    /// Whether anything is or was kept for the person in this tenant.
    pub(crate) async fn subject_known(&self, subject: SubjectId) -> Found<bool> {
        Ok(subjects::kept(self.aggregates.log(), self.tenant, &[subject]).await?.contains_key(&subject))
    }

    /// Whether the tenant exists and is active.
    pub(crate) async fn tenant_active(&self) -> Found<bool> {
        Ok(self.settled::<Tenant>(self.tenant.uuid()).await?.state.is_active())
    }

    /// Whether people may only read in this tenant.
    pub(crate) async fn tenant_suspended(&self) -> Found<bool> {
        Ok(matches!(self.settled(self.tenant.uuid()).await?.state, Tenant::Suspended { .. }))
    }

    /// Whether the workspace exists and is not archived.
    pub(crate) async fn workspace_open(&self, workspace: WorkspaceId) -> Found<bool> {
        Ok(matches!(self.settled(workspace.uuid()).await?.state, Workspace::Open { .. }))
    }

    /// Whether the provider exists and is enabled; true when none is named.
    pub(crate) async fn provider_usable(&self, provider: Option<ProviderId>) -> Found<bool> {
        match provider {
            None => Ok(true),
            Some(id) => Ok(matches!(self.settled(id.uuid()).await?.state, Provider::Registered { enabled: true, .. })),
        }
    }

    /// The project, in use or archived (then `false`).
    pub(crate) async fn project(&self, project: ProjectId) -> Found<(Box<OpenProject>, bool)> {
        match &self.settled(project.uuid()).await?.state {
            Project::Absent => Err(DispatchError::NotFound),
            Project::Open(known) => Ok((known.clone(), true)),
            Project::Archived(known) => Ok((known.clone(), false)),
        }
    }

    /// The lanes of the project's board.
    pub(crate) async fn lanes(&self, project: ProjectId) -> Found<Lanes> {
        match &self.settled(project.uuid()).await?.state {
            Project::Absent => Err(DispatchError::NotFound),
            Project::Open(known) | Project::Archived(known) => Ok(known.lanes.clone()),
        }
    }

    /// The lanes of the project that hold cards now.
    pub(crate) async fn occupied_lanes(&self, project: ProjectId) -> Found<BTreeSet<LaneKey>> {
        Ok(self.board.occupied_lanes(self.tenant, project, self.end().await?).await?)
    }

    /// Runs of the project that are queued or under way now.
    pub(crate) async fn active_runs(&self, project: ProjectId) -> Found<u32> {
        Ok(self.board.active_runs(self.tenant, project, self.end().await?).await?)
    }

    /// Whether the card is on that project's board.
    pub(crate) async fn on_board(&self, project: ProjectId, card: CardId) -> Found<bool> {
        Ok(matches!(&self.load(card.uuid()).await?.state, Card::Open(card) if card.project == project))
    }

    /// Whether `card` waits, directly or through others, for `for_card`; true as well when it is that card.
    pub(crate) async fn waits(&self, card: CardId, for_card: CardId) -> Found<bool> {
        let mut seen = BTreeSet::from([card]);
        let mut open = VecDeque::from([card]);
        while let Some(next) = open.pop_front() {
            if next == for_card {
                return Ok(true);
            }
            if seen.len() > MAX_CARDS_SEARCHED {
                let message = format!("more than {MAX_CARDS_SEARCHED} cards depend on each other here");
                return Err(DispatchError::rule(RefusalKind::Rule, "dependencies_too_many", message));
            }
            let card = self.load::<Card>(next.uuid()).await?;
            let further = card.state.known().map(|card| card.depends_on.clone()).unwrap_or_default();
            open.extend(further.into_iter().filter(|card| seen.insert(*card)));
        }
        Ok(false)
    }

    /// Those of the cards that are not done.
    pub(crate) async fn undone(&self, cards: &BTreeSet<CardId>, lanes: &Lanes) -> Found<Vec<CardId>> {
        let mut undone = Vec::new();
        for id in cards {
            let card = self.load::<Card>(id.uuid()).await?;
            let lane = card.state.known().and_then(|card| lanes.get(&card.lane));
            if lane.is_none_or(|lane| lane.role != LaneRole::Done) {
                undone.push(*id);
            }
        }
        Ok(undone)
    }

    /// The model for a run: the agent's choice, else the project's, else the provider's default.
    pub(crate) async fn model(
        &self,
        agent: Option<&AgentProfile>,
        project: &OpenProject,
    ) -> Found<Option<ResolvedModel>> {
        let chosen = project.model.as_ref();
        let named = agent.and_then(|agent| agent.provider);
        let Some(provider) = named.or(chosen.map(|choice| choice.provider)) else { return Ok(None) };
        let found = self.settled(provider.uuid()).await?;
        let Provider::Registered { settings, enabled, .. } = &found.state else { return Ok(None) };
        // The project's model means something only at the project's own provider.
        let of_project = chosen.filter(|choice| choice.provider == provider).and_then(|choice| choice.model.clone());
        let model = agent.and_then(|agent| agent.model.clone()).or(of_project);
        let model = model.unwrap_or_else(|| settings.default_model.clone());
        Ok(Some(ResolvedModel { provider, kind: settings.kind, model, usable: *enabled }))
    }

    /// The rank of a place in a lane of the project: beside its neighbours, or at the end.
    pub(crate) async fn rank(&self, project: ProjectId, card: CardId, lane: &LaneKey, place: Place) -> Found<Rank> {
        let after = self.neighbour(project, card, lane, "after", place.after).await?;
        let before = self.neighbour(project, card, lane, "before", place.before).await?;
        match (after, before) {
            (None, None) => Ok(self.end_of_lane()),
            (Some(after), None) => Ok(after.just_after()),
            (None, Some(before)) => Ok(before.just_before()),
            (Some(after), Some(before)) => Rank::between(&after, &before).ok_or_else(|| {
                let message = "`after` no longer stands before `before`; read the board again";
                DispatchError::rule(RefusalKind::Rule, "neighbours_out_of_order", message)
            }),
        }
    }

    /// The rank at the end of any lane.
    pub(crate) fn end_of_lane(&self) -> Rank {
        Rank::end(self.now)
    }

    async fn neighbour(
        &self,
        project: ProjectId,
        card: CardId,
        lane: &LaneKey,
        field: &str,
        neighbour: Option<CardId>,
    ) -> Found<Option<Rank>> {
        let Some(id) = neighbour else { return Ok(None) };
        match &self.load(id.uuid()).await?.state {
            Card::Open(found) if found.project == project && id != card => {
                if found.lane == *lane {
                    return Ok(Some(found.rank.clone()));
                }
                let message = format!("{field}: card {id} is in lane `{}`; read the board again", found.lane);
                Err(DispatchError::rule(RefusalKind::Rule, "neighbour_elsewhere", message))
            }
            _ => {
                let message = format!("{field}: there is no other card {id} on this board");
                Err(DispatchError::rule(RefusalKind::Invalid, "neighbour_unknown", message))
            }
        }
    }

    /// The log's end, now.
    async fn end(&self) -> Found<Cursor> {
        let log = self.aggregates.log();
        let partition = log.partition_of(self.tenant);
        Ok(Cursor { partition, position: log.head(partition).await? })
    }
}
