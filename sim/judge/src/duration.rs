//! [`Millis`]: a duration in whole simulated milliseconds, written `250ms`, `3s` or `2m`; and times as people
//! read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in milliseconds. Whole ones, because the runtime's timers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// As a [`Duration`].
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms > 0 && ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms > 0 && ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            _ => return Err(format!("{text:?} is no duration: write 250ms, 3s or 2m")),
        };
        let count: u64 = digits
            .parse()
            .map_err(|_| format!("{text:?} is no duration: write 250ms, 3s or 2m"))?;
        count.checked_mul(factor).map(Millis).ok_or_else(|| format!("{text:?} is too long"))
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A time of a run, in simulated microseconds, as findings and chains tell it: `12.345 s`.
#[must_use]
pub fn seconds(at_us: u64) -> String {
    format!("{:.3} s", at_us as f64 / 1_000_000.0)
}

/// Serde for an optional deadline: a duration, or `never`.
pub mod or_never {
    use super::Millis;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const NEVER: &str = "never";

    /// Writes the duration or `never`.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<S: Serializer>(
        deadline: &Option<Millis>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match deadline {
            Some(deadline) => deadline.serialize(serializer),
            None => serializer.serialize_str(NEVER),
        }
    }

    /// Reads a duration or `never`.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Millis>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == NEVER {
            Ok(None)
        } else {
            text.parse().map(Some).map_err(serde::de::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, ms) in [("250ms", 250), ("3s", 3_000), ("2m", 120_000), ("0ms", 0)] {
            assert_eq!(text.parse(), Ok(Millis(ms)));
            assert_eq!(Millis(ms).to_string(), text);
        }
        for bad in ["", "3", "s", "3h", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(bad.parse::<Millis>().is_err(), "{bad}");
        }
    }
}
