//! Read model `board`: tenants, workspaces, providers, projects and cards as they are now.
//!
//! Guarantees: a row's `position` is that of its last change, and rows are never deleted, so everything that changed
//! after a position is found by [`cards_changed`]; an archived card stays as its own tombstone. Never holds a key, a
//! credential or a reference to one. Touched topics are project ids.

mod apply;
mod at;
mod list;
mod read;
mod row;

pub use at::{BoardAt, as_of};
pub use list::{CardFilter, CardOrder, CardPlace, CardsOf, count, list};
pub use read::{
    card, cards, cards_by_id, cards_changed, count_projects, occupied_lanes, project, projects, projects_by_id,
    providers, providers_by_id, tenant, workspaces, workspaces_by_id,
};
pub use row::{CardRow, LastRun, ProjectRow, ProviderRow, TenantRow, WorkspaceRow};

use domain::Decider as _;
use domain::card::Card;
use domain::project::Project;
use domain::provider::Provider;
use domain::subject::Subject;
use domain::tenant::Tenant;
use domain::workspace::Workspace;

use crate::model::Model;

/// The consumer's name.
pub const NAME: &str = "board-2";

/// The model.
pub const MODEL: Model = Model {
    name: "board",
    code: 2,
    consumer: NAME,
    aggregates: &[Tenant::TYPE, Workspace::TYPE, Provider::TYPE, Project::TYPE, Card::TYPE, Subject::TYPE],
    tables: include_str!("tables.sql"),
    indexes: include_str!("indexes.sql"),
    fold: |whole| Box::new(apply::Tables::new(whole)),
};
