//! A DLedger group has one leader in a term, and an old one that was cut off does not believe for long that it still leads.
//!
//! Brokers say when they become masters and cease to be: nobody else knows what they believe. That an old leader
//! acknowledges nothing is asked of the disks ([`ack_predicate`](super::ack_predicate)).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Checker, Violation};
use crate::duration::seconds;

/// For so long a leader may go on while another one leads, as far as its process is scheduled: it ceases after three
/// heartbeats, of two seconds each, that no quorum answered; it waits as long for answers, and for what it was about.
pub const OVERLAP_MAX_US: u64 = 15_000_000;

/// A broker served as the master of a DLedger group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// `brokerName`.
    pub group: Arc<str>,
    /// Its process.
    pub process: Arc<str>,
    /// The term in which its node led.
    pub term: u64,
    /// Simulated microseconds; `u64::MAX` at the end of one that lasts.
    pub time_us: Range<u64>,
    /// Ordinal of the trace event at which it began.
    pub ordinal: u64,
}

/// Judges the masters of all groups, in the order in which they came. `lives` are the times at which processes ran and
/// were scheduled; `until_us` is when the story ended.
#[must_use]
pub fn check(
    tenancies: &[Tenancy],
    lives: &BTreeMap<Arc<str>, Vec<Range<u64>>>,
    until_us: u64,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, later) in tenancies.iter().enumerate() {
        for earlier in tenancies[..index].iter().filter(|it| it.group == later.group) {
            if earlier.process == later.process {
                continue;
            }
            let (one, other, group) = (&earlier.process, &later.process, &later.group);
            if earlier.term == later.term {
                let text = format!("{one} and {other} both led {group} in term {}", later.term);
                violations.push(Violation::new(Checker::Leadership, text).at(later.ordinal));
                continue;
            }
            // Whose term is smaller is the one that has to cease.
            let (old, new) =
                if earlier.term < later.term { (earlier, later) } else { (later, earlier) };
            let overlap_us = overlap_us(old, new, lives, until_us);
            if overlap_us > OVERLAP_MAX_US {
                let text = format!(
                    "{} served {group} as its master for {} while {} led in a larger term",
                    old.process,
                    seconds(overlap_us),
                    new.process
                );
                violations.push(Violation::new(Checker::Leadership, text).at(new.ordinal));
            }
        }
    }
    violations
}

/// For how long both served, while the old one's process was scheduled.
fn overlap_us(
    old: &Tenancy,
    new: &Tenancy,
    lives: &BTreeMap<Arc<str>, Vec<Range<u64>>>,
    until_us: u64,
) -> u64 {
    let from = old.time_us.start.max(new.time_us.start);
    // That the new one has ceased as well excuses nobody who goes on.
    let to = old.time_us.end.min(until_us);
    let lives = lives.get(&old.process).into_iter().flatten();
    lives.map(|life| life.end.min(to).saturating_sub(life.start.max(from))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    fn led(process: &str, term: u64, seconds: Range<u64>) -> Tenancy {
        let time_us = seconds.start * SECOND_US..seconds.end.saturating_mul(SECOND_US);
        let ordinal = term * 10;
        Tenancy { group: "a".into(), process: process.into(), term, time_us, ordinal }
    }

    fn texts(tenancies: &[Tenancy], lives: &[(&str, Range<u64>)]) -> Vec<String> {
        let mut all: BTreeMap<Arc<str>, Vec<Range<u64>>> = BTreeMap::new();
        for (name, life) in lives {
            all.entry((*name).into())
                .or_default()
                .push(life.start * SECOND_US..life.end * SECOND_US);
        }
        check(tenancies, &all, 100 * SECOND_US).into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn leaders_one_after_another_pass() {
        let lives = [("a", 0..100), ("a-s", 0..100)];
        let one_after_another =
            [led("a", 1, 1..20), led("a-s", 2, 20..40), led("a", 5, 45..u64::MAX)];
        assert_eq!(texts(&one_after_another, &lives), [""; 0]);
        let cut_off = [led("a", 1, 1..32), led("a-s", 2, 20..u64::MAX)];
        assert_eq!(texts(&cut_off, &lives), [""; 0], "it heard of nothing for a while");
        let paused = [led("a", 1, 1..81), led("a-s", 2, 20..u64::MAX)];
        assert_eq!(texts(&paused, &[("a", 0..12), ("a", 80..100)]), [""; 0]);
        let again = [led("a", 1, 1..20), led("a", 1, 21..30)];
        assert_eq!(texts(&again, &lives), [""; 0], "the same one");
    }

    #[test]
    fn two_leaders_of_a_term_are_two_too_many() {
        let both = [led("a", 3, 1..20), led("a-s", 3, 50..60)];
        assert_eq!(texts(&both, &[]), ["a and a-s both led a in term 3"]);
        let mut elsewhere = both.clone();
        elsewhere[1].group = "b".into();
        assert_eq!(texts(&elsewhere, &[]), [""; 0]);
    }

    #[test]
    fn whoever_goes_on_beside_a_newer_leader_is_named() {
        let lives = [("a", 0..100), ("a-s", 0..100)];
        let deaf = [led("a", 1, 1..40), led("a-s", 2, 20..22)];
        let text = "a served a as its master for 20.000 s while a-s led in a larger term";
        assert_eq!(texts(&deaf, &lives), [text]);
        // Whatever came first.
        let late = [led("a-s", 2, 10..60), led("a", 1, 20..u64::MAX)];
        assert_eq!(texts(&late, &lives).len(), 1);
    }
}
