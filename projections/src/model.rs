//! What a read model is made of, and how it follows the log.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::DecodeError;
use outbox::consumer::{ApplyError, Consumer, Touched};
use schemas::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::fact::{Fact, What, facts};
use crate::generations;
use crate::table::Write;

/// A read model.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// What it is called, by people and in its schemas' names.
    pub name: &'static str,
    /// The version of its code: of its tables and of what stands in them. Every change of either raises it.
    pub code: i32,
    /// The consumer that feeds what serves. Another one for each version (`board-2`): while a release rolls out, the old
    /// program goes on with what it has.
    pub consumer: &'static str,
    /// The aggregates whose events change it.
    pub(crate) aggregates: &'static [&'static str],
    /// The DDL of a generation's tables, in names without a schema.
    pub(crate) tables: &'static str,
    /// The DDL of the indexes that only readers need, made once a new generation has its rows.
    pub(crate) indexes: &'static str,
    /// Its rows in memory, none yet; told whether its tables have none either.
    pub(crate) fold: fn(whole: bool) -> Box<dyn Fold>,
}

/// What the consumer of a version of a model's code is called.
pub(crate) fn consumer_of(model: &str, code: i32) -> String {
    if code == 1 { model.to_owned() } else { format!("{model}-{code}") }
}

/// A model's rows in memory, which events change: what is done with the events, wherever they are kept.
#[async_trait]
pub(crate) trait Fold: Send {
    /// Fetches the rows that the events are about and that are not here.
    async fn load(&mut self, conn: &mut PgConnection, facts: &[Fact<'_>]) -> Result<(), sqlx::Error>;

    /// Takes in one event. Adds the topics that it touches.
    fn take(&mut self, fact: &Fact<'_>, topics: &mut BTreeSet<Uuid>) -> Result<(), DecodeError>;

    /// Hands out what changed since it was last handed out, to be written in this order.
    fn drain(&mut self) -> Result<Vec<Write>, sqlx::Error>;

    /// How many rows are in memory.
    fn len(&self) -> usize;
}

#[async_trait]
impl Consumer for Model {
    #[expect(clippy::misnamed_getters, reason = "as a consumer it is called so")]
    fn name(&self) -> &'static str {
        self.consumer
    }

    async fn apply(&self, conn: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        let facts = facts(page, self.aggregates)?;
        if facts.iter().all(|fact| matches!(fact.what, What::Other)) {
            return Ok(touched(BTreeSet::new()));
        }
        // Only now, as the harness holds the consumer's position, which a switch has to hold too.
        generations::enter_serving(conn, self).await?;
        let mut fold = (self.fold)(false);
        fold.load(conn, &facts).await?;
        let mut topics = BTreeSet::new();
        for fact in &facts {
            fold.take(fact, &mut topics)?;
        }
        for write in fold.drain()? {
            write.run(conn).await?;
        }
        // Where somebody was erased, any row may have changed.
        let anywhere = facts.iter().any(|fact| fact.erased().is_some());
        Ok(if anywhere { Touched::default() } else { touched(topics) })
    }

    async fn reset(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        generations::enter_serving(conn, self).await?;
        for table in generations::tables(conn).await? {
            sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut *conn).await?;
        }
        Ok(())
    }
}

/// What a page touched. For the harness no topics mean that nobody knows; a page that touched nothing names the topic
/// that is nobody's, so that it wakes nobody.
fn touched(mut topics: BTreeSet<Uuid>) -> Touched {
    if topics.is_empty() {
        topics.insert(Uuid::nil());
    }
    Touched(topics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MODELS;

    #[test]
    fn each_version_of_a_models_code_has_a_consumer_of_its_own() {
        for model in &MODELS {
            assert_eq!(model.consumer, consumer_of(model.name, model.code));
        }
    }
}
