//! A card's place in its lane.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A place in a lane: cards stand in the byte order of their ranks. Between any two ranks there is another one, so a
/// card is placed without touching its neighbours (fractional indexing). Digits are `0-9a-z`; none ends in `0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Rank(String);

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Base-36 digits that hold microseconds since 1970 until the year 5000.
const TIME_DIGITS: usize = 11;

fn digit(byte: Option<&u8>) -> usize {
    byte.and_then(|b| DIGITS.iter().position(|d| d == b)).unwrap_or(0)
}

impl Rank {
    /// The end of every lane as of `now`: later calls give later places.
    pub fn end(now: OffsetDateTime) -> Self {
        let mut micros = now.unix_timestamp_nanos().max(0) / 1_000;
        let mut text = vec![b'0'; TIME_DIGITS];
        for place in text.iter_mut().rev() {
            let low = usize::try_from(micros % 36).unwrap_or(0);
            *place = DIGITS[low];
            micros /= 36;
        }
        // A closing digit other than 0, so that there is always room before the next place.
        text.push(b'i');
        Self(text.into_iter().map(char::from).collect())
    }

    /// A place after `low` and before `high`; `None` when there is none because `low` does not stand before `high`.
    pub fn between(low: &Self, high: &Self) -> Option<Self> {
        if low < high { midpoint(low.0.as_bytes(), high.0.as_bytes()).map(Self) } else { None }
    }

    /// A place after this one and before every other that [`Rank::end`] gives out later. It knows of no neighbour: a
    /// card that was itself placed beside this one may stand closer; with both neighbours known, use [`Rank::between`].
    pub fn just_after(&self) -> Self {
        Self(format!("{}i", self.0))
    }

    /// A place before this one and after every other that [`Rank::end`] gave out earlier. It knows of no neighbour, as
    /// [`Rank::just_after`] says. A rank that is none of ours and has nothing before it is given back as it is.
    pub fn just_before(&self) -> Self {
        // Lower only at the last place, so that everything which differs earlier stays where it is.
        let bytes = self.0.as_bytes();
        let low = &bytes[..bytes.len().saturating_sub(1)];
        midpoint(low, bytes).map_or_else(|| self.clone(), Self)
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text strictly between `low` and `high`, read as fractions, that does not end in `0`; `None` when there is none,
/// which ranks of ours never are: only a stored text that breaks the rules can be equal as a fraction and not as a text.
fn midpoint(low: &[u8], high: &[u8]) -> Option<String> {
    let mut result = String::new();
    let mut high = Some(high);
    let mut place = 0;
    loop {
        if high.is_some_and(|high| place >= low.len().max(high.len())) {
            return None;
        }
        let a = digit(low.get(place));
        let b = high.map_or(DIGITS.len(), |high| digit(high.get(place)));
        if a == b {
            result.push(char::from(DIGITS[a]));
        } else if b > a + 1 {
            result.push(char::from(DIGITS[usize::midpoint(a, b)]));
            return Some(result);
        } else if b < a {
            return None;
        } else {
            // Neighbouring digits: keep the lower one and go on below it, where nothing bounds from above.
            result.push(char::from(DIGITS[a]));
            high = None;
        }
        place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn there_is_always_a_place_between() {
        let start = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let mut low = Rank::end(start);
        let mut high = Rank::end(start + Duration::microseconds(1));
        assert!(low < high);
        for i in 0..500 {
            let middle = Rank::between(&low, &high).unwrap();
            assert!(low < middle && middle < high, "{low} {middle} {high}");
            assert!(!middle.as_str().ends_with('0'));
            if i % 3 == 0 { low = middle } else { high = middle }
        }
        assert_eq!(Rank::between(&high, &low), None);
        assert_eq!(Rank::between(&low, &low), None);
    }

    #[test]
    fn just_before_and_after_stay_beside_the_card() {
        let at =
            |micros| Rank::end(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::microseconds(micros));
        let (a, b, c) = (at(1), at(2), at(3));
        assert!(a < b.just_before() && b.just_before() < b);
        assert!(b < b.just_after() && b.just_after() < c);
        let mut rank = b;
        for _ in 0..200 {
            let before = rank.just_before();
            assert!(a < before && before < rank);
            rank = before;
        }
    }
}
