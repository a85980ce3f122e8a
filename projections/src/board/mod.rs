//! Read model `board`: tenants, workspaces, providers, projects and cards as they are now.
//!
//! Guarantees: a row's `position` is that of its last change, and rows are never deleted, so everything that changed
//! after a position is found by [`cards_changed`]; an archived card stays as its own tombstone. Never holds a key, a
//! credential or a reference to one. Touched topics are project ids.

mod apply;
mod read;
mod row;

pub use apply::BoardModel;
pub use read::{
    card, cards, cards_by_id, cards_changed, occupied_lanes, project, projects, projects_by_id, providers,
    providers_by_id, tenant, workspaces, workspaces_by_id,
};
pub use row::{CardRow, LastRun, ProjectRow, ProviderRow, TenantRow, WorkspaceRow};

/// The consumer's name.
pub const NAME: &str = "board";
