//! Pages of lists: `first`/`after` forward, `last`/`before` backward.

use async_graphql::Result;

use crate::error::coded;

/// The largest page.
pub(super) const MOST: i32 = 200;
/// A page when nobody says how large.
const USUAL: i32 = 50;

/// What opening a snapshot counts in a request's complexity.
pub(super) const READ: usize = 300;

/// What a page of a list counts.
pub(super) fn cost(first: Option<i32>, last: Option<i32>, child: usize) -> usize {
    let rows = first.or(last).unwrap_or(USUAL).clamp(1, MOST);
    READ + usize::try_from(rows).unwrap_or(1) * child
}

/// How many rows a page has.
///
/// # Errors
/// `page_invalid`.
pub(super) fn size(asked: Option<i32>) -> Result<i64> {
    match asked.unwrap_or(USUAL) {
        rows if (1..=MOST).contains(&rows) => Ok(rows.into()),
        rows => Err(coded("page_invalid", format!("a page has 1 to {MOST} entries, not {rows}"))),
    }
}

/// Cuts what was read with one row more than the page has; whether there was one.
pub(super) fn cut<T>(rows: &mut Vec<T>, size: i64) -> bool {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    more
}
