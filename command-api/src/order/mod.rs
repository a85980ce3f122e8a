//! Orders: what is asked, with ids and checked values, and without the facts that the domain wants to decide on.
//!
//! One file an aggregate. To add an order: a variant there, its line in `name` and `prepare`, and where people may give
//! it a handler in `http`.

mod card;
mod project;
mod provider;
mod run;
mod subject;
mod tenant;
mod workspace;

use std::future::Future;

pub use card::{CardChange, CardOrder, Place};
use domain::card::RunResult;
use domain::environment::EnvironmentCommand;
use domain::run::RunCommand;
use domain::{CardId, Decider, EnvironmentId, ProjectId, RunId, TenantId};
pub use project::{ProjectChange, ProjectOrder};
pub use provider::{ProviderChange, ProviderOrder};
pub(crate) use run::{EnvironmentOrder, FinishCardOrder, RunOrder};
pub use subject::SubjectOrder;
pub use tenant::TenantOrder;
use uuid::Uuid;
pub use workspace::{WorkspaceChange, WorkspaceOrder};

use crate::DispatchError;
use crate::facts::Facts;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Of the caller's tenant itself.
    Tenant(TenantOrder),
    /// Of a workspace.
    Workspace(WorkspaceOrder),
    /// Of a provider.
    Provider(ProviderOrder),
    /// Of a project.
    Project(ProjectOrder),
    /// Of a card.
    Card(CardOrder),
    /// Of a run. People may only cancel.
    Run {
        /// The run.
        run: RunId,
        /// What is asked of it.
        command: RunCommand,
    },
    /// Of an environment. For the system only.
    Environment {
        /// The environment.
        environment: EnvironmentId,
        /// What is asked of it.
        command: EnvironmentCommand,
    },
    /// About a data subject.
    Subject(SubjectOrder),
    /// Tells a card how its run ended. For the system only.
    FinishCard {
        /// The card.
        card: CardId,
        /// The run.
        run: RunId,
        /// How it ended.
        result: RunResult,
    },
}

/// An order to one kind of aggregate, as the dispatcher carries it out.
pub(crate) trait Ask: Send + Sync {
    /// Who decides on it.
    type Aggregate: Decider;

    /// Stable, such as `card.move`: for spans, counters and fingerprints.
    fn name(&self) -> &'static str;

    /// The aggregate's id; `None` when it is to be created under a new one.
    fn stream(&self, tenant: TenantId) -> Option<Uuid>;

    /// The project whose turn it must be, when facts about several of its cards decide.
    fn turn(&self) -> Option<ProjectId> {
        None
    }

    /// The domain's command, with all facts looked up.
    fn prepare(
        &self,
        state: &Self::Aggregate,
        facts: &Facts<'_>,
    ) -> impl Future<Output = Result<<Self::Aggregate as Decider>::Command, DispatchError>> + Send;
}
