//! The only place of this crate that looks at the clock. Leases and deadlines of jobs go by the database's clock instead,
//! which all workers share.

use time::OffsetDateTime;

/// The present time, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the room for it: a pod's token says when it was minted")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
