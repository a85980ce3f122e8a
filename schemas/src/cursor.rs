//! Opaque cursors: the only form in which clients see positions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A place in the log. In text it is `p` followed by base-36 digits that mean nothing to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The part of the log.
    pub partition: i32,
    /// The position in it; 0 stands before the first event.
    pub position: i64,
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor that this API has given out")]
pub struct CursorError;

const RADIX: u32 = 36;

fn base36(mut value: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(value % u64::from(RADIX)).ok().and_then(|d| char::from_digit(d, RADIX));
        digits.extend(digit);
        value /= u64::from(RADIX);
        if value == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}z{}", base36(self.partition.unsigned_abs().into()), base36(self.position.unsigned_abs()))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        // `z` separates: partitions are few, so their digits never reach it.
        let (partition, position) = text.strip_prefix('p').and_then(|rest| rest.split_once('z')).ok_or(CursorError)?;
        let plain = |text: &str| !text.starts_with('+') && !text.starts_with('-');
        if !plain(partition) || !plain(position) {
            return Err(CursorError);
        }
        Ok(Self {
            partition: i32::from_str_radix(partition, RADIX).map_err(|_| CursorError)?,
            position: i64::from_str_radix(position, RADIX).map_err(|_| CursorError)?,
        })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for (partition, position) in [(0, 0), (0, 35), (7, 1_000_000), (34, i64::MAX)] {
            let cursor = Cursor { partition, position };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "p", "pz", "0z1", "p0", "p-1z2", "p0z+2", "p0z!", "p0zzzzzzzzzzzzzzzzzzz"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
