//! A cut log ends on the disk, too: behind the end that a recovery or a truncation found there is
//! nothing that a later recovery could take for records.

use super::{Checker, Violation};

/// The end of a log right after it was recovered or cut.
#[derive(Clone, Debug)]
pub struct Ending {
    /// First byte behind the last record.
    pub end_offset: u64,
    /// Ordinal of the trace event.
    pub ordinal: u64,
    /// Process that keeps the log.
    pub broker: String,
    /// First byte behind the end that is not durably zero.
    pub leftover: Option<u64>,
}

/// Judges one ending.
#[must_use]
pub fn check(ending: &Ending) -> Option<Violation> {
    let leftover = ending.leftover?;
    let text = format!(
        "a cut that is not on the disk: the log of {} ends at {}, and old bytes stand at {leftover}",
        ending.broker, ending.end_offset
    );
    Some(Violation::new(Checker::Truncation, text).at(ending.ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(leftover: Option<u64>) -> Ending {
        Ending { end_offset: 100, ordinal: 7, broker: "a".to_owned(), leftover }
    }

    #[test]
    fn a_clean_end_passes_and_a_doctored_one_does_not() {
        assert_eq!(check(&ending(None)), None);
        let violation = check(&ending(Some(104))).unwrap();
        assert_eq!((violation.checker, violation.ordinal), (Checker::Truncation, Some(7)));
        assert!(violation.text.contains("stand at 104"), "{violation}");
    }
}
