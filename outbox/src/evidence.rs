//! Evidence: a Merkle log of each tenant's events, kept up by a consumer, and signed checkpoints of it.
//!
//! What the hashes, proofs and checkpoints are is said in [`schemas::evidence`]. Leaf `i` of a tenant's log is made of the
//! digest of its `i`-th event (from 0) in the order of positions. The *platform's* log has a leaf for each checkpoint of
//! any tenant: who keeps one checkpoint of it elsewhere can tell later that nothing was taken back anywhere.

mod notary;
mod proof;
mod publish;
mod tree;

use std::collections::BTreeMap;

use async_trait::async_trait;
pub use notary::{Notary, NotaryError, NotarySettings};
pub use proof::{Inclusion, checkpoint, checkpoints, consistency, inclusion, root, size, size_at};
use schemas::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::consumer::{ApplyError, Consumer, Touched};

/// The consumer's name.
pub const NAME: &str = "evidence";

/// Whose tree the platform's log is.
const PLATFORM: Uuid = Uuid::nil();

/// Adds each event to its tenant's Merkle log.
#[derive(Debug, Default)]
pub struct Evidence {
    notary: Option<notary::Wake>,
}

impl Evidence {
    /// One that tells a notary what there is to sign.
    pub fn telling(notary: &Notary) -> Self {
        Self { notary: Some(notary.wake()) }
    }
}

#[async_trait]
impl Consumer for Evidence {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn apply(&self, tx: &mut PgConnection, page: &[Recorded]) -> Result<Touched, ApplyError> {
        let mut new: BTreeMap<Uuid, Vec<tree::Leaf>> = BTreeMap::new();
        for event in page {
            let leaf = tree::Leaf { position: event.position, data: event.digest };
            new.entry(event.metadata.tenant.uuid()).or_default().push(leaf);
        }
        tree::append(tx, &new).await?;
        Ok(Touched::default())
    }

    async fn committed(&self, page: &[Recorded]) {
        if let Some(notary) = &self.notary {
            notary.moved(page.len());
        }
    }

    /// The trees only: a checkpoint was said and stays said. The trees that are built anew must fit it.
    async fn reset(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        for table in ["log.trees", "log.tree_tiles", "log.tree_ends"] {
            let delete = format!("DELETE FROM {table} WHERE tenant <> $1");
            sqlx::query(sqlx::AssertSqlSafe(delete)).bind(PLATFORM).execute(&mut *tx).await?;
        }
        Ok(())
    }
}
