//! Pages of lists: `first`/`after` forward, `last`/`before` backward.

use std::borrow::Cow;

use async_graphql::connection::{EmptyFields, PageInfo};
use async_graphql::{Context, Object, ObjectType, OutputType, Result, TypeName};
use projections::Page;

use crate::error::coded;
use crate::list::{LengthOf, List, PageOf};
use crate::loader::named;
use crate::scalar::int;

/// The largest page.
pub(super) const MOST: i32 = 200;
/// A page when nobody says how large.
const USUAL: i32 = 50;

/// What a statement for one thing counts in a request's complexity.
pub(super) const READ: usize = 300;
/// What a list of one thing among others counts: it is read together with those of the others, by an index.
const AMONG: usize = 20;

fn rows(first: Option<i32>, last: Option<i32>, child: usize) -> usize {
    usize::try_from(first.or(last).unwrap_or(USUAL).clamp(1, MOST)).unwrap_or(1) * child
}

/// What a page of a list counts.
pub(super) fn cost(first: Option<i32>, last: Option<i32>, child: usize) -> usize {
    READ + rows(first, last, child)
}

/// What a page counts of a list that each of several things has.
pub(super) fn cost_among(first: Option<i32>, last: Option<i32>, child: usize) -> usize {
    AMONG + rows(first, last, child)
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
    fn size(&self) -> Result<(i64, bool)> {
        if self.first.is_some() && self.last.is_some() {
            return Err(coded("page_invalid", "name either `first` or `last`"));
        }
        Ok((size(self.first.or(self.last))?, self.last.is_some()))
    }

    /// Cuts what was read, in order, with one row more than the page has; whether there is something before the page and
    /// after it.
    fn cut<T>(&self, rows: &mut Vec<T>, size: i64) -> (bool, bool) {
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

/// An entry of a list, and its place.
pub(super) struct Edge<N> {
    cursor: String,
    node: N,
}

/// An entry of a list, and its place.
#[Object(name_type)]
impl<N: OutputType> Edge<N> {
    /// The entry.
    async fn node(&self) -> &N {
        &self.node
    }

    /// Its place, opaque: give it as `after` or `before` to go on from here. It is of this list in this order alone.
    async fn cursor(&self) -> &str {
        &self.cursor
    }
}

impl<N: OutputType> TypeName for Edge<N> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", N::type_name()).into()
    }
}

/// The entries of a page and what is around it.
struct Entries<N> {
    edges: Vec<Edge<N>>,
    back: bool,
    on: bool,
}

impl<N> Entries<N> {
    fn info(&self) -> PageInfo {
        let cursor = |edge: Option<&Edge<N>>| edge.map(|edge| edge.cursor.clone());
        PageInfo {
            has_previous_page: self.back,
            has_next_page: self.on,
            start_cursor: cursor(self.edges.first()),
            end_cursor: cursor(self.edges.last()),
        }
    }

    fn nodes(&self) -> Vec<&N> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }
}

/// A page of a list that is read from both ends.
pub(super) struct Connection<L: List> {
    /// None when there is no such list.
    list: Option<L>,
    entries: Entries<L::Node>,
}

impl<L: List> Connection<L> {
    /// The wanted page of a list; of one that there is not, nothing.
    ///
    /// # Errors
    /// `page_invalid`, `cursor_invalid`, `internal`.
    pub(super) async fn of(ctx: &Context<'_>, list: L, wanted: Wanted) -> Result<Self> {
        let place = |cursor: &Option<String>| cursor.as_deref().map(|cursor| list.place(cursor)).transpose();
        let (after, before) = (place(&wanted.after)?, place(&wanted.before)?);
        let (size, last) = wanted.size()?;
        let page = Page { after, before, last, limit: size + 1 };
        let mut rows = named(ctx, PageOf(list.clone(), page)).await?.unwrap_or_default();
        let (back, on) = wanted.cut(&mut rows, size);
        let edge = |row: L::Row| Edge { cursor: list.cursor(&row), node: L::node(row) };
        let edges = rows.into_iter().map(edge).collect();
        Ok(Self { list: Some(list), entries: Entries { edges, back, on } })
    }

    /// The page of a list that there is not.
    ///
    /// # Errors
    /// `page_invalid`.
    pub(super) fn none(wanted: &Wanted) -> Result<Self> {
        let (size, _) = wanted.size()?;
        let (back, on) = wanted.cut(&mut Vec::<()>::new(), size);
        Ok(Self { list: None, entries: Entries { edges: vec![], back, on } })
    }

    /// How long the list is.
    async fn length(&self, ctx: &Context<'_>) -> Result<i64> {
        let Some(list) = &self.list else { return Ok(0) };
        Ok(named(ctx, LengthOf(list.clone())).await?.unwrap_or(0))
    }

    /// Whether the list, and not only the page, has nothing.
    pub(super) async fn is_of_nothing(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(self.entries.edges.is_empty() && self.length(ctx).await? == 0)
    }
}

/// A page of a list, which can be read from both ends.
#[Object(name_type)]
impl<L: List> Connection<L> {
    /// What is around the page.
    async fn page_info(&self) -> PageInfo {
        self.entries.info()
    }

    /// The entries of the page with their places, in the list's order.
    async fn edges(&self) -> &[Edge<L::Node>] {
        &self.entries.edges
    }

    /// The entries of the page, in the list's order.
    async fn nodes(&self) -> Vec<&L::Node> {
        self.entries.nodes()
    }

    /// How many there are in all, on every page.
    #[graphql(complexity = 20)]
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        Ok(int(self.length(ctx).await?))
    }
}

impl<L: List> TypeName for Connection<L> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", L::Node::type_name()).into()
    }
}

/// A page of a list that is read forward alone.
pub(super) struct ForwardConnection<N, F = EmptyFields> {
    entries: Entries<N>,
    fields: F,
}

impl<N> ForwardConnection<N> {
    /// A page with these entries by their cursors; whether there is something before it and after it.
    pub(super) fn new(entries: impl IntoIterator<Item = (String, N)>, back: bool, on: bool) -> Self {
        Self::with(entries, back, on, EmptyFields)
    }
}

impl<N, F> ForwardConnection<N, F> {
    /// As [`ForwardConnection::new`], with what else is to be said of the page.
    pub(super) fn with(entries: impl IntoIterator<Item = (String, N)>, back: bool, on: bool, fields: F) -> Self {
        let edges = entries.into_iter().map(|(cursor, node)| Edge { cursor, node }).collect();
        Self { entries: Entries { edges, back, on }, fields }
    }
}

/// A page of a list, which is read forward alone and is not counted: it is made from the log itself, which would have to be
/// read to its end.
#[Object(name_type)]
impl<N: OutputType, F: ObjectType> ForwardConnection<N, F> {
    /// What is around the page.
    async fn page_info(&self) -> PageInfo {
        self.entries.info()
    }

    /// The entries of the page with their places, in the list's order.
    async fn edges(&self) -> &[Edge<N>] {
        &self.entries.edges
    }

    /// The entries of the page, in the list's order.
    async fn nodes(&self) -> Vec<&N> {
        self.entries.nodes()
    }

    #[graphql(flatten)]
    async fn fields(&self) -> &F {
        &self.fields
    }
}

impl<N: OutputType, F: ObjectType> TypeName for ForwardConnection<N, F> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", N::type_name()).into()
    }
}
