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

/// Which part of a list that can be read from both ends.
pub(super) struct Wanted {
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) last: Option<i32>,
    pub(super) before: Option<String>,
}

impl Wanted {
    /// How many rows, and whether they are the last ones of the range.
    ///
    /// # Errors
    /// `page_invalid`.
    pub(super) fn size(&self) -> Result<(i64, bool)> {
        if self.first.is_some() && self.last.is_some() {
            return Err(coded("page_invalid", "name either `first` or `last`"));
        }
        Ok((size(self.first.or(self.last))?, self.last.is_some()))
    }

    /// Cuts what was read, in order, with one row more than the page has; whether there is something before the page and
    /// after it.
    pub(super) fn cut<T>(&self, rows: &mut Vec<T>, size: i64) -> (bool, bool) {
        if self.last.is_none() {
            return (self.after.is_some(), cut(rows, size));
        }
        // The one too many stands at the far end.
        rows.reverse();
        let more = cut(rows, size);
        rows.reverse();
        (more, self.before.is_some())
    }
}
