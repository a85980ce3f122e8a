//! Boards, whole and as they change.

use std::sync::Arc;

use async_graphql::{Context, ID, Result, SimpleObject};
use domain::id::ProjectKind;
use projections::board::{BoardAt, CardRow, ProjectRow};

use super::card::Card;
use super::project::{LaneRole, Project};
use super::replay;
use crate::error::{OrInternal as _, internal};
use crate::replay::Moment;
use crate::scalar::{Cursor, named};
use crate::state::Reading;
use crate::viewer::Viewer;

/// A column of a board, with its cards.
#[derive(SimpleObject)]
pub(crate) struct BoardLane {
    /// Stable within the project, such as `in-progress`.
    key: String,
    /// What people call it.
    name: String,
    /// What it means to runs.
    role: LaneRole,
    /// Whether a card may be run from it.
    runs_allowed: bool,
    /// The cards in it, from the top.
    #[graphql(complexity = "20 * child_complexity")]
    cards: Vec<Card>,
}

/// A project's board as of one moment.
#[derive(SimpleObject)]
pub(crate) struct Board {
    /// The project.
    project: Project,
    /// Its lanes in order, with their cards.
    lanes: Vec<BoardLane>,
    /// The moment: give it as `since` to `boardChanged` to go on from here.
    cursor: Cursor,
}

impl Board {
    /// `cards` come in the order of their places.
    pub(crate) fn of(project: Arc<ProjectRow>, cards: Vec<Arc<CardRow>>, cursor: Cursor) -> Self {
        let mut lanes: Vec<BoardLane> = (project.lanes.iter())
            .map(|lane| BoardLane {
                key: lane.key.to_string(),
                name: lane.name.to_string(),
                role: lane.role.into(),
                runs_allowed: lane.runs_allowed,
                cards: vec![],
            })
            .collect();
        for card in cards {
            let place = lanes.iter().position(|lane| lane.key == card.lane).unwrap_or_else(|| {
                // A lane may go while a card comes: the card is shown all the same, or it would be lost to people.
                lanes.push(BoardLane {
                    key: card.lane.clone(),
                    name: card.lane.clone(),
                    role: LaneRole::Other,
                    runs_allowed: false,
                    cards: vec![],
                });
                lanes.len() - 1
            });
            lanes[place].cards.push(Card(card));
        }
        Self { project: Project(project), lanes, cursor }
    }
}

/// Events that one read of the log takes.
const PAGE: i64 = 2_000;

/// A project's board as it was at a moment, folded from the log; `None` when the tenant had no such project then.
pub(super) async fn as_of(ctx: &Context<'_>, project: &ID, moment: Moment) -> Result<Option<Board>> {
    let (log, tenant) = (&ctx.data::<Reading>()?.log, ctx.data::<Viewer>()?.tenant);
    let upto = Moment::position(Some(moment), log, tenant).await.map_err(replay::no_moment)?;
    let Some(project) = named::<ProjectKind>(project) else { return Ok(None) };
    let (mut board, mut after) = (BoardAt::default(), 0);
    while after < upto {
        let page = log.read_tenant(tenant, after, PAGE).await.or_internal()?;
        let Some(last) = page.last() else { break };
        after = last.position;
        for event in page.iter().take_while(|event| event.position <= upto) {
            board.take(event).map_err(internal)?;
        }
    }
    let Some(row) = board.project(tenant.uuid(), project.uuid()) else { return Ok(None) };
    let cards = board.cards(tenant.uuid(), project.uuid()).into_iter().cloned().map(Arc::new).collect();
    let cursor = schemas::Cursor { partition: log.partition_of(tenant), position: upto };
    Ok(Some(Board::of(Arc::new(row.clone()), cards, Cursor(cursor))))
}
