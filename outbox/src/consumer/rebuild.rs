//! Applies the whole log anew.

use super::{ApplyError, Consumer, page, register};
use crate::Log;

/// Events that one page takes.
const PAGE: i64 = 500;

/// Deletes what the consumer has written and applies the whole log anew, up to what it holds at the start. A harness of
/// the same consumer that runs at the same time is harmless: each page is applied by one of them.
///
/// # Errors
/// [`ApplyError`] of the first event that cannot be applied; what was applied before stays.
pub async fn rebuild(log: &Log, consumer: &dyn Consumer) -> Result<(), ApplyError> {
    let name = consumer.name();
    let mut tx = log.worker_pool().begin().await?;
    for partition in 0..log.partitions() {
        register(&mut tx, name, partition).await?;
    }
    // First the positions: their locks keep a harness from writing in between.
    sqlx::query("UPDATE log.consumers SET position = 0, parked = 0 WHERE name = $1")
        .bind(name)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM log.parked WHERE consumer = $1").bind(name).execute(&mut *tx).await?;
    consumer.reset(&mut tx).await?;
    tx.commit().await?;
    for partition in 0..log.partitions() {
        catch_up(log, consumer, partition, log.head(partition).await?).await?;
    }
    Ok(())
}

/// Applies what a partition has up to a position. A harness of the same consumer that runs at the same time is harmless:
/// each page is applied by one of them.
///
/// # Errors
/// [`ApplyError`] of the first event that cannot be applied; what was applied before stays.
pub async fn catch_up(log: &Log, consumer: &dyn Consumer, partition: i32, to: i64) -> Result<(), ApplyError> {
    let mut position = register(&mut *log.worker_pool().acquire().await?, consumer.name(), partition).await?;
    while position < to {
        let page = log.read(partition, position, PAGE).await?;
        let Some(last) = page.last() else { break };
        match page::apply(log, consumer, &page).await? {
            Some(applied) => {
                position = last.position;
                consumer.committed(&applied.kept).await;
            }
            None => {
                let mut connection = log.worker_pool().acquire().await?;
                position = super::position(&mut connection, consumer.name(), partition).await?;
            }
        }
    }
    Ok(())
}
