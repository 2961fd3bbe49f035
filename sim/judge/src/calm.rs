//! [`Calm`]: the times at which nothing was in the way of somebody, and nothing of it was left.
//!
//! A trouble lasts, and leaves something behind that takes its time to heal: routes are forgotten, members are taken for
//! living. What strikes while an earlier trouble heals may undo what had healed: both heal from then on, for as long as
//! the slower one takes.

use std::ops::Range;

/// A trouble, and how long what it leaves behind takes to heal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Simulated microseconds of its beginning.
    pub from_us: u64,
    /// Of its end; `u64::MAX` if it lasts.
    pub until_us: u64,
    /// Microseconds.
    pub recovery_us: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calm {
    /// Times without calm, in order, apart from each other; simulated microseconds.
    troubled: Vec<Range<u64>>,
}

impl Calm {
    /// What is left beside `troubles`.
    #[must_use]
    pub fn beside(mut troubles: Vec<Span>) -> Self {
        troubles.sort_by_key(|it| (it.from_us, it.until_us));
        let mut merged: Vec<Span> = Vec::new();
        for it in troubles {
            match merged.last_mut().filter(|last| it.from_us <= healed_us(last)) {
                Some(last) => {
                    last.until_us = last.until_us.max(it.until_us);
                    last.recovery_us = last.recovery_us.max(it.recovery_us);
                }
                None => merged.push(it),
            }
        }
        let troubled = merged.iter().map(|it| it.from_us..healed_us(it));
        Calm { troubled: troubled.collect() }
    }

    /// The calm in which nothing else counts but what lies outside of `others`.
    #[must_use]
    pub fn outside(&self, others: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut all: Vec<Range<u64>> = self.troubled.iter().cloned().chain(others).collect();
        all.sort_by_key(|it| (it.start, it.end));
        let mut troubled: Vec<Range<u64>> = Vec::new();
        for it in all.into_iter().filter(|it| !it.is_empty()) {
            match troubled.last_mut().filter(|last| it.start <= last.end) {
                Some(last) => last.end = last.end.max(it.end),
                None => troubled.push(it),
            }
        }
        Calm { troubled }
    }

    /// Whether there was calm at a time.
    #[must_use]
    pub fn is_at(&self, at_us: u64) -> bool {
        !self.troubled.iter().any(|it| it.contains(&at_us))
    }

    /// The first time of calm within `range`.
    #[must_use]
    pub fn first_in(&self, range: Range<u64>) -> Option<u64> {
        let mut at_us = range.start;
        for it in self.troubled.iter().filter(|it| it.end > range.start) {
            if at_us < it.start {
                break;
            }
            at_us = at_us.max(it.end);
        }
        (at_us < range.end).then_some(at_us)
    }

    /// When the calm within `range` had lasted for `length_us` without a break.
    #[must_use]
    pub fn lasting(&self, range: Range<u64>, length_us: u64) -> Option<u64> {
        let mut from_us = range.start;
        while let Some(calm_us) = self.first_in(from_us..range.end) {
            let next = self.troubled.iter().find(|it| it.start > calm_us);
            let end_us = next.map_or(range.end, |it| it.start.min(range.end));
            if end_us - calm_us > length_us {
                return Some(calm_us + length_us);
            }
            from_us = end_us;
        }
        None
    }
}

fn healed_us(span: &Span) -> u64 {
    span.until_us.saturating_add(span.recovery_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from_us: u64, until_us: u64, recovery_us: u64) -> Span {
        Span { from_us, until_us, recovery_us }
    }

    #[test]
    fn what_strikes_while_another_heals_heals_as_slowly() {
        let calm = Calm::beside(vec![span(20, 21, 2), span(0, 10, 15), span(60, 60, 5)]);
        assert_eq!(calm.troubled, [0..36, 60..65]);
        assert!(calm.is_at(36) && !calm.is_at(35) && !calm.is_at(64) && calm.is_at(65));
        let lasts = Calm::beside(vec![span(5, u64::MAX, 7)]);
        assert_eq!((lasts.first_in(0..9), lasts.first_in(5..u64::MAX)), (Some(0), None));
    }

    #[test]
    fn only_calm_counts_and_only_without_a_break() {
        let calm = Calm::beside(vec![span(10, 20, 0), span(25, 30, 0)]);
        assert_eq!(calm.first_in(12..40), Some(20));
        assert_eq!(calm.first_in(12..20), None);
        assert_eq!(calm.lasting(0..40, 9), Some(9));
        assert_eq!(calm.lasting(12..40, 4), Some(24));
        assert_eq!(calm.lasting(12..40, 5), Some(35));
        assert_eq!(calm.lasting(12..35, 5), None);
        let less = calm.outside([18..27, 33..33]);
        let only = 10..30;
        assert_eq!(less.troubled, std::slice::from_ref(&only));
    }
}
