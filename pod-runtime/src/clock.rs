//! The one place where the pod looks at the calendar. Durations are measured with `Instant`.

use time::OffsetDateTime;

/// Now, in UTC.
#[expect(clippy::disallowed_methods, reason = "the pod's one look at the calendar, for the times in the context")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
