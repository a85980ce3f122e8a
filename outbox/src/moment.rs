//! From a time to a position.

use time::OffsetDateTime;

use crate::{Log, LogError};

impl Log {
    /// The last position of a partition that was recorded at or before `at`; 0 when all came later.
    ///
    /// Found by halving, so it costs some twenty look-ups of one event, wherever it is kept. Positions are in commit order and times are the
    /// database's clock: where that was set back, any of the places where `at` passes may be answered.
    ///
    /// # Errors
    /// [`LogError::Database`]; [`LogError::Partition`] when there is no such partition.
    pub async fn position_at(&self, partition: i32, at: OffsetDateTime) -> Result<i64, LogError> {
        let (mut before, mut after) = (0, self.head(partition).await? + 1);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            let event = self.read(partition, middle - 1, 1).await?;
            let event =
                event.first().ok_or_else(|| LogError::Row(format!("there is no event at position {middle}")))?;
            if event.recorded_at <= at {
                before = middle;
            } else {
                after = middle;
            }
        }
        Ok(before)
    }
}
