//! Lists that are read in pages from both ends and counted, many of them at once.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use async_graphql::dataloader::Loader;
use async_graphql::{OutputType, Result};
use domain::TenantId;
use outbox::LogError;
use projections::Page;
use sqlx::PgConnection;

use crate::loader::Named;

/// A list, named by whose it is and what is on it.
pub(crate) trait List: Debug + Clone + Eq + Hash + Send + Sync + 'static {
    /// A place in it, which a cursor stands for.
    type Place: Clone + Eq + Hash + Send + Sync + 'static;
    /// What the database has at a place.
    type Row: Clone + Send + Sync + 'static;
    /// What clients see of it.
    type Node: OutputType;

    /// The place that a cursor stands for.
    ///
    /// # Errors
    /// `cursor_invalid`.
    fn place(&self, cursor: &str) -> Result<Self::Place>;

    /// The cursor of a row's place.
    fn cursor(&self, row: &Self::Row) -> String;

    /// The row as clients see it.
    fn node(row: Self::Row) -> Self::Node;

    /// A part of each of these lists, each in its order.
    fn pages(
        conn: &mut PgConnection,
        tenant: TenantId,
        asked: &[(Self, Page<Self::Place>)],
    ) -> impl Future<Output = sqlx::Result<Vec<Vec<Self::Row>>>> + Send;

    /// How long each of these lists is.
    fn counts(
        conn: &mut PgConnection,
        tenant: TenantId,
        asked: &[Self],
    ) -> impl Future<Output = sqlx::Result<Vec<i64>>> + Send;
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PageOf<L: List>(pub(crate) L, pub(crate) Page<L::Place>);

/// How long a list is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LengthOf<L: List>(pub(crate) L);

impl<L: List> Loader<PageOf<L>> for Named {
    type Value = Vec<L::Row>;
    type Error = LogError;

    async fn load(&self, keys: &[PageOf<L>]) -> Result<HashMap<PageOf<L>, Vec<L::Row>>, LogError> {
        let asked: Vec<_> = keys.iter().map(|PageOf(list, page)| (list.clone(), page.clone())).collect();
        let pages = L::pages(self.reader.turn().await?.conn(), self.tenant, &asked).await?;
        Ok(keys.iter().cloned().zip(pages).collect())
    }
}

impl<L: List> Loader<LengthOf<L>> for Named {
    type Value = i64;
    type Error = LogError;

    async fn load(&self, keys: &[LengthOf<L>]) -> Result<HashMap<LengthOf<L>, i64>, LogError> {
        let asked: Vec<L> = keys.iter().map(|key| key.0.clone()).collect();
        let lengths = L::counts(self.reader.turn().await?.conn(), self.tenant, &asked).await?;
        Ok(keys.iter().cloned().zip(lengths).collect())
    }
}
