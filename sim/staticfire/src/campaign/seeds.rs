//! [`SeedRange`]: the seeds of a command, written `A..B`.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Seeds from `A` up to, not including, `B`; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedRange(Range<u64>);

impl SeedRange {
    /// The seeds from 0 on, `count` of them.
    #[must_use]
    pub fn first(count: std::num::NonZeroU64) -> SeedRange {
        SeedRange(0..count.get())
    }

    /// The seeds, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<> {
        self.0.clone()
    }

    /// How many seeds, at least 1.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.end - self.0.start
    }
}

impl fmt::Display for SeedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.0.start, self.0.end)
    }
}

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = || {
            let (start, end) = text.split_once("..")?;
            let range = start.parse().ok()?..end.parse().ok()?;
            (!range.is_empty()).then_some(SeedRange(range))
        };
        range().ok_or_else(|| "expected A..B with A less than B, such as 0..20".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open() {
        let range: SeedRange = "3..6".parse().expect("a range");
        assert_eq!(range.iter().collect::<Vec<_>>(), [3, 4, 5]);
        let five = std::num::NonZeroU64::new(5).expect("not 0");
        assert_eq!(SeedRange::first(five).to_string(), "0..5");
        assert_eq!((range.count(), range.to_string().as_str()), (3, "3..6"));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "3", "3..", "..3", "3..3", "6..3", "3..=6", "a..b", "-1..2", "1...3"] {
            assert!(text.parse::<SeedRange>().is_err(), "{text}");
        }
    }
}
