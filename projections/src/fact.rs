//! Events as the read models see them: decoded, beside the envelope they came in.

use domain::card::{Card, CardEvent};
use domain::environment::{Environment, EnvironmentEvent};
use domain::project::{Project, ProjectEvent};
use domain::provider::{Provider, ProviderEvent};
use domain::run::{Run, RunEvent};
use domain::subject::{Subject, SubjectEvent};
use domain::tenant::{Tenant, TenantEvent};
use domain::workspace::{Workspace, WorkspaceEvent};
use domain::{Decider, DecodeError, SubjectId};
use schemas::Recorded;
use time::{Date, OffsetDateTime, UtcOffset};
use uuid::Uuid;

/// What happened.
pub(crate) enum What {
    Tenant(TenantEvent),
    Workspace(WorkspaceEvent),
    Provider(ProviderEvent),
    Project(Box<ProjectEvent>),
    Card(Box<CardEvent>),
    Run(Box<RunEvent>),
    Environment(EnvironmentEvent),
    /// Somebody was erased.
    Erased(SubjectId),
    /// Something of another aggregate.
    Other,
}

/// An event, decoded.
pub(crate) struct Fact<'a> {
    pub(crate) what: What,
    pub(crate) event: &'a Recorded,
}

impl What {
    /// What an event says. Those of other `aggregates` say nothing here, whether or not they can be read.
    pub(crate) fn of(event: &Recorded, aggregates: &[&str]) -> Result<Self, DecodeError> {
        if !aggregates.contains(&event.aggregate_type.as_str()) {
            return Ok(Self::Other);
        }
        let what = match event.aggregate_type.as_str() {
            Tenant::TYPE => event.decode::<Tenant>()?.map(Self::Tenant),
            Workspace::TYPE => event.decode::<Workspace>()?.map(Self::Workspace),
            Provider::TYPE => event.decode::<Provider>()?.map(Self::Provider),
            Project::TYPE => event.decode::<Project>()?.map(|event| Self::Project(Box::new(event))),
            Card::TYPE => event.decode::<Card>()?.map(|event| Self::Card(Box::new(event))),
            Run::TYPE => event.decode::<Run>()?.map(|event| Self::Run(Box::new(event))),
            Environment::TYPE => event.decode::<Environment>()?.map(Self::Environment),
            Subject::TYPE => {
                event.decode::<Subject>()?.map(|SubjectEvent::Erased(erased)| Self::Erased(erased.subject))
            }
            _ => None,
        };
        Ok(what.unwrap_or(Self::Other))
    }
}

impl Fact<'_> {
    pub(crate) fn tenant(&self) -> Uuid {
        self.event.metadata.tenant.uuid()
    }

    /// The stream's key in a table of its tenant.
    pub(crate) fn key(&self) -> (Uuid, Uuid) {
        (self.tenant(), self.event.stream)
    }

    /// The key of another thing of the same tenant.
    pub(crate) fn key_of(&self, id: Uuid) -> (Uuid, Uuid) {
        (self.tenant(), id)
    }

    /// Who was erased, if somebody was.
    pub(crate) fn erased(&self) -> Option<SubjectId> {
        match self.what {
            What::Erased(subject) => Some(subject),
            _ => None,
        }
    }

    pub(crate) fn actor(&self) -> String {
        self.event.metadata.actor.to_string()
    }

    /// When it occurred, in whole microseconds: as the database holds it, whichever way the event came.
    pub(crate) fn at(&self) -> OffsetDateTime {
        let at = self.event.metadata.occurred_at.to_offset(UtcOffset::UTC);
        at.replace_nanosecond(at.nanosecond() / 1_000 * 1_000).unwrap_or(at)
    }

    /// The day of [`Fact::at`], UTC.
    pub(crate) fn day(&self) -> Date {
        self.at().date()
    }
}

/// The whole page, decoded as far as it is of these aggregates.
pub(crate) fn facts<'a>(page: &'a [Recorded], aggregates: &[&str]) -> Result<Vec<Fact<'a>>, DecodeError> {
    page.iter().map(|event| Ok(Fact { what: What::of(event, aggregates)?, event })).collect()
}

/// The most that one event adds to a sum: 10¹². A vendor's address is the tenant's own choice, and what it claims
/// must not make a sum leave 64 bits.
const MOST: i64 = 1_000_000_000_000;

/// A count (tokens, milliseconds) as the database holds it, at most 10¹².
pub(crate) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(MOST).min(MOST)
}

/// A small number (an attempt, a step) as the database holds it.
pub(crate) fn small(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
