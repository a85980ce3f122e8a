//! The moment as of which something is asked.

use domain::TenantId;
use outbox::{Log, LogError};
use schemas::Cursor;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment: a place in the log, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// As of an event, by a cursor that the API has given out.
    Cursor(Cursor),
    /// As of a position in the tenant's partition.
    Position(i64),
    /// As of a time: everything that was recorded until then.
    Time(OffsetDateTime),
}

/// Why there is no such moment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoMoment {
    /// The cursor or position is of another log, or ahead of this one.
    #[error("`asOf` names a place that the log has not reached, or one in another log")]
    Ahead,
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Moment {
    /// A cursor (`p0z1a`), a position (`42`) or an RFC 3339 time (`2026-11-20T12:00:00Z`).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            return text.parse().ok().map(Self::Position);
        }
        let cursor = text.parse().ok().map(Self::Cursor);
        cursor.or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok().map(Self::Time))
    }

    /// The position in the tenant's partition that stands for this moment; the present one when none is named.
    ///
    /// # Errors
    /// When the log has not reached it.
    pub(crate) async fn position(this: Option<Self>, log: &Log, tenant: TenantId) -> Result<i64, NoMoment> {
        let partition = log.partition_of(tenant);
        let head = log.head(partition).await?;
        let position = match this {
            None => head,
            Some(Self::Cursor(cursor)) if cursor.partition != partition => return Err(NoMoment::Ahead),
            Some(Self::Cursor(Cursor { position, .. }) | Self::Position(position)) => position,
            Some(Self::Time(at)) => log.position_at(partition, at).await?,
        };
        if position > head { Err(NoMoment::Ahead) } else { Ok(position) }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_moment_is_a_cursor_a_position_or_a_time() {
        let cursor = Cursor { partition: 0, position: 46 };
        assert_eq!(Moment::parse(&cursor.to_string()), Some(Moment::Cursor(cursor)));
        assert_eq!(Moment::parse("46"), Some(Moment::Position(46)));
        assert_eq!(Moment::parse("2026-11-20T12:00:00+02:00"), Some(Moment::Time(datetime!(2026-11-20 10:00 UTC))));
        for text in ["", "-1", "yesterday", "2026-11-20", "99999999999999999999"] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
