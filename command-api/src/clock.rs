//! The one room of this crate with a clock and with chance in it. Everything else is handed time and ids.
#![expect(clippy::disallowed_methods, reason = "this is the room where time and ids of this crate come from")]

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

/// Now, UTC, to the microsecond: what Postgres keeps.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.microsecond() * 1_000).unwrap_or(now)
}

/// A new id that sorts by its time.
pub(crate) fn id() -> Uuid {
    Uuid::now_v7()
}

/// How long to wait before try number `attempt` (from 1): short, growing, and different for everybody.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let most = 1_u64 << attempt.min(6);
    Duration::from_micros(rand::random_range(0..=most * 1_000))
}
