//! A card's history as auditors ask for it.

use async_graphql::{Context, Error, ID, Result, SimpleObject};
use time::OffsetDateTime;

use super::page::{self, ForwardConnection};
use crate::error::{coded, cursor_invalid, internal, not_yet_visible, of_log};
use crate::replay::{Moment, NoMoment, Page, Step, Unanswered, walk};
use crate::scalar::{Cursor, named};
use crate::state::Reading;
use crate::viewer::Viewer;

/// Which part of a card's history.
pub(super) struct Wanted {
    pub(super) as_of: Option<Cursor>,
    pub(super) at: Option<OffsetDateTime>,
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
}

/// What the proofs of a page's steps lead to.
#[derive(SimpleObject)]
pub(super) struct Signed {
    /// The newest signed checkpoint of the tenant's log (a C2SP signed note), which the proofs of the steps lead to; null
    /// while there is none.
    checkpoint: Option<String>,
}

/// The moment that is meant; now when none is named.
///
/// # Errors
/// When two are named.
pub(super) fn moment(as_of: Option<Cursor>, at: Option<OffsetDateTime>) -> Result<Option<Moment>> {
    match (as_of, at) {
        (Some(_), Some(_)) => Err(coded("as_of_invalid", "name either `asOf` or `at`")),
        (Some(Cursor(cursor)), None) => Ok(Some(Moment::Cursor(cursor))),
        (None, at) => Ok(at.map(Moment::Time)),
    }
}

/// Why there is no such moment, as a client sees it.
pub(super) fn no_moment(why: NoMoment) -> Error {
    match why {
        NoMoment::Ahead => coded("as_of_invalid", NoMoment::Ahead.to_string()),
        NoMoment::Log(error) => of_log(error),
    }
}

/// A part of the card's history; `None` when there is no such card.
pub(super) async fn replay(
    ctx: &Context<'_>,
    card: &ID,
    wanted: Wanted,
) -> Result<Option<ForwardConnection<Step, Signed>>> {
    let (reading, viewer) = (ctx.data::<Reading>()?, ctx.data::<Viewer>()?);
    let after = wanted.after.map(|text| text.parse().map_err(|_| cursor_invalid())).transpose()?;
    let page = Page { after, as_of: moment(wanted.as_of, wanted.at)?, limit: page::size(wanted.first)? };
    let Some(card) = named(card) else { return Ok(None) };
    let Some(replay) = walk(reading, viewer.tenant, card, page).await.map_err(unanswered)? else { return Ok(None) };
    let signed = Signed { checkpoint: replay.checkpoint };
    let steps = replay.steps.into_iter().map(|step| (step.cursor.to_string(), step));
    Ok(Some(ForwardConnection::with(steps, after.is_some(), replay.next.is_some(), signed)))
}

fn unanswered(why: Unanswered) -> Error {
    match why {
        Unanswered::Moment(why) => no_moment(why),
        Unanswered::After => cursor_invalid(),
        Unanswered::NotYet(reached) => not_yet_visible(reached),
        Unanswered::Log(error) => of_log(error),
        Unanswered::Decode(error) => internal(error),
    }
}
