//! The board as of a moment, folded in memory by the code that also follows the log.

use domain::DecodeError;
use schemas::Recorded;
use uuid::Uuid;

use super::MODEL;
use super::apply::Tables;
use super::row::{CardRow, ProjectRow, ProviderRow, TenantRow, WorkspaceRow};
use crate::fact::{Fact, What};

/// The rows of the board as they were after some events. It needs no database; it is the same today and in ten years.
pub struct BoardAt(Tables);

impl Default for BoardAt {
    /// Before everything.
    fn default() -> Self {
        Self(Tables::new(true))
    }
}

impl BoardAt {
    /// Takes in the next event, of whatever aggregate. They come in the order of the log.
    ///
    /// # Errors
    /// When it makes no sense to this release.
    pub fn take(&mut self, event: &Recorded) -> Result<(), DecodeError> {
        let what = What::of(event, MODEL.aggregates)?;
        self.0.take(&Fact { what, event });
        Ok(())
    }

    /// A tenant.
    pub fn tenant(&self, tenant: Uuid) -> Option<&TenantRow> {
        self.0.tenants.get((tenant, tenant))
    }

    /// Every workspace of a tenant, the oldest first.
    pub fn workspaces(&self, tenant: Uuid) -> Vec<&WorkspaceRow> {
        self.0.workspaces.of(tenant, |row| row.workspace)
    }

    /// Every provider of a tenant, the oldest first.
    pub fn providers(&self, tenant: Uuid) -> Vec<&ProviderRow> {
        self.0.providers.of(tenant, |row| row.provider)
    }

    /// A project.
    pub fn project(&self, tenant: Uuid, project: Uuid) -> Option<&ProjectRow> {
        self.0.projects.get((tenant, project))
    }

    /// The cards on a project's board, in the order of their places in their lanes.
    pub fn cards(&self, tenant: Uuid, project: Uuid) -> Vec<&CardRow> {
        let mut cards = self.0.cards.of(tenant, |row| row.card);
        cards.retain(|card| card.project == project && !card.archived);
        cards.sort_by(|one, other| (&one.lane, &one.rank).cmp(&(&other.lane, &other.rank)));
        cards
    }
}

/// The board as it was after these events, which come in the order of the log.
///
/// # Errors
/// When one makes no sense to this release.
pub fn as_of<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Result<BoardAt, DecodeError> {
    let mut board = BoardAt::default();
    for event in events {
        board.take(event)?;
    }
    Ok(board)
}
