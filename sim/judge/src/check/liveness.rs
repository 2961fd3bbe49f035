//! After the last heal life goes on in time: sends are acknowledged, replicas are equal, lag is zero.

use super::{Checker, Violation};
use crate::duration::Millis;

/// One thing that must happen, and when it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// What, as the rest of "… did not happen".
    pub what: String,
    /// Time allowed after the last heal; `None` if it need not happen.
    pub within: Option<Millis>,
    /// Simulated microseconds of the last heal, restart or promotion.
    pub healed_us: u64,
    /// When it happened first after that; `None` if it did not.
    pub happened_us: Option<u64>,
}

/// Judges one expectation.
#[must_use]
pub fn check(expectation: &Expectation) -> Option<Violation> {
    let within = expectation.within?;
    let deadline_us = expectation.healed_us + within.0 * 1_000;
    let text = match expectation.happened_us {
        Some(at) if at <= deadline_us => return None,
        Some(at) => format!(
            "{}: {} ms after the last heal, {within} were allowed",
            expectation.what,
            (at - expectation.healed_us) / 1_000
        ),
        None => format!("{}: not within {within} of the last heal", expectation.what),
    };
    Some(Violation::new(Checker::Liveness, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_due_and_late_is_a_violation() {
        let judge = |within: Option<u64>, happened_us: Option<u64>| {
            let within = within.map(Millis);
            check(&Expectation {
                what: "sends".to_owned(),
                within,
                healed_us: 1_000_000,
                happened_us,
            })
        };
        assert_eq!(judge(Some(5_000), Some(6_000_000)), None);
        assert_eq!(judge(None, None), None);
        assert!(judge(Some(5_000), Some(6_001_000)).unwrap().text.contains("5001 ms"));
        assert!(judge(Some(5_000), None).unwrap().text.contains("not within 5s"));
    }
}
