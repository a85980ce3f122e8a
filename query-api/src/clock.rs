//! The one place of this crate that reads the clock.

use time::OffsetDateTime;

/// Now, UTC.
#[expect(clippy::disallowed_methods, reason = "the crate's room for the clock")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
