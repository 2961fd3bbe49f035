//! An acknowledged message is lost only where the mode permits it, and the clients' reading agrees
//! with the disks about what is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bound::{Bound, FaultPositions, Promise, Term};
use super::{Checker, Violation};

/// An acknowledged message and what is known of it at the end.
#[derive(Clone, Debug)]
pub struct AckedMessage {
    /// Its number.
    pub number: u32,
    /// End of its record in the log that acknowledged it.
    pub end_offset: u64,
    /// Simulated microseconds at which that log took it.
    pub appended_us: u64,
    /// Simulated microseconds at which the producer had the acknowledgement, which may have been under
    /// way while a fault struck.
    pub acked_us: u64,
    /// Whether a fresh consumer group got it over the network.
    pub read_back: bool,
    /// Whether the disk of the group's present master holds a sound record of it below the log's end.
    pub stored: bool,
    /// The consumer groups that subscribe to its topic and never got it.
    pub missed_by: Vec<Missed>,
    /// Whether its record lay in a file that a store of the group removed for its age or for space.
    pub expired: bool,
    /// Whether its record lay in its topic when an operator had that deleted.
    pub deleted: bool,
    /// Whether a device damaged its record on the disk of the group's present master.
    pub rotten: bool,
    /// Whether the group's present log owes it: no fault took it there and no operator passed it over
    /// ([`custody`](crate::ledger::custody)).
    pub owed: bool,
    /// What became of the copies that its acknowledgement rests on.
    pub custody: String,
    /// What the fresh group was told of the queue that it was put into.
    pub reading: String,
}

/// A consumer group that was never given a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The consumer group.
    pub group: Arc<str>,
    /// Whether it had been given a record at the message's place or behind it that is no longer there.
    pub stood_beyond: bool,
    /// How the group came past its place.
    pub how: String,
}

/// Facts of one broker group.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The acknowledged messages.
    pub acked: &'a [AckedMessage],
    /// What the mode promises.
    pub promise: Promise,
    /// The bound of a `may` promise.
    pub bound: &'a Bound,
    /// Where copies ended at each fault.
    pub faults: &'a [FaultPositions],
    /// Whether nobody could read the group's log, or not that of its master alone, as the story left them.
    pub unread: bool,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What was lost and skipped.
    pub losses: Losses,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// What cannot be, and says that the facts themselves are wrong.
    pub contradictions: Vec<String>,
    /// How many messages nothing took, and nobody could read: what becomes of them is not known.
    pub unseen: u32,
}

/// What was lost and skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Numbers of lost messages.
    pub lost: Vec<u32>,
    /// Numbers of messages that left by expiry.
    pub expired: Vec<u32>,
    /// Numbers of messages that were deleted with their topic.
    pub deleted: Vec<u32>,
    /// Numbers of messages that are stored but never reached a consumer group, once for each group.
    pub skipped: Vec<u32>,
    /// Age of the oldest lost message at the last fault before which it was acknowledged,
    /// in microseconds.
    pub rpo_us: u64,
}

impl Losses {
    /// Adds those of another broker group.
    pub fn add(&mut self, other: Losses) {
        self.lost.extend(other.lost);
        self.expired.extend(other.expired);
        self.deleted.extend(other.deleted);
        self.skipped.extend(other.skipped);
        self.rpo_us = self.rpo_us.max(other.rpo_us);
    }
}

/// Compares and judges.
#[must_use]
pub fn check(facts: &Facts<'_>) -> Judged {
    let Judged { mut losses, mut violations, mut contradictions, mut unseen } = Judged::default();
    let mut seen = BTreeSet::new();
    for message in facts.acked {
        if !seen.insert(message.number) {
            contradictions.push(format!("message {} was acknowledged twice", message.number));
        }
        if message.stored && !message.read_back && !message.rotten && !facts.unread {
            let text = format!(
                "message {}: the disk of the master holds it, and a fresh group did not get it: {}",
                message.number, message.reading
            );
            violations.push(Violation::new(Checker::Served, text).of(message.number));
        }
        if message.read_back && !message.stored && !message.rotten && !facts.unread {
            contradictions.push(format!(
                "message {}: a fresh group got it, and the disk of the master does not hold it",
                message.number
            ));
        }
        if !message.read_back && message.expired {
            losses.expired.push(message.number);
        } else if !message.read_back && message.deleted && !message.stored {
            losses.deleted.push(message.number);
        } else if !message.read_back && message.owed && facts.unread {
            unseen += 1;
        } else if !message.read_back {
            losses.lost.push(message.number);
            losses.rpo_us = losses.rpo_us.max(age_at_fault(message, facts.faults));
            violations.extend(judge_loss(message, facts));
        } else {
            losses.skipped.extend(message.missed_by.iter().map(|_| message.number));
            violations.extend(judge_skips(message));
        }
    }
    Judged { losses, violations, contradictions, unseen }
}

/// A group may miss what lies where it had been before, and what the device damaged.
fn judge_skips(message: &AckedMessage) -> impl Iterator<Item = Violation> + '_ {
    let missed = message.missed_by.iter().filter(|it| !it.stood_beyond && !message.rotten);
    missed.map(|Missed { group, how, .. }| {
        let text = format!("message {} never reached {group}: {how}", message.number);
        Violation::new(Checker::AckedDurable, text).of(message.number)
    })
}

fn judge_loss(message: &AckedMessage, facts: &Facts<'_>) -> Option<Violation> {
    if message.owed {
        let text = format!(
            "acknowledged message {} is lost, and nothing took it: {}",
            message.number, message.custody
        );
        return Some(Violation::new(Checker::AckedDurable, text).of(message.number));
    }
    let text = match facts.promise {
        Promise::All | Promise::Owed => return None,
        Promise::May
            if facts.bound.permits(message.appended_us, message.end_offset, facts.faults)
                || (facts.bound.has(Term::Rotten) && message.rotten) =>
        {
            return None;
        }
        Promise::May => format!(
            "message {} is lost outside the bound {}: its record ended at {}; {}",
            message.number, facts.bound, message.end_offset, message.custody
        ),
        Promise::Never => {
            format!("acknowledged message {} is lost: {}", message.number, message.custody)
        }
    };
    Some(Violation::new(Checker::AckedDurable, text).of(message.number))
}

/// Time between the acknowledgement and the first fault that followed it.
fn age_at_fault(message: &AckedMessage, faults: &[FaultPositions]) -> u64 {
    faults.iter().find_map(|fault| fault.at_us.checked_sub(message.acked_us)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32, end_offset: u64, alive: bool) -> AckedMessage {
        AckedMessage {
            number,
            end_offset,
            appended_us: u64::from(number) * 1_000 - 500,
            acked_us: u64::from(number) * 1_000,
            read_back: alive,
            stored: alive,
            missed_by: Vec::new(),
            expired: false,
            deleted: false,
            rotten: false,
            owed: false,
            custody: String::new(),
            reading: String::new(),
        }
    }

    fn missed(group: &str, stood_beyond: bool) -> Missed {
        Missed { group: group.into(), stood_beyond, how: String::new() }
    }

    fn run(acked: &[AckedMessage], promise: Promise, bound: &str) -> (Losses, Vec<Violation>) {
        let faults = [FaultPositions {
            at_us: 10_000,
            master_synced_to: Some(500),
            ..FaultPositions::default()
        }];
        let bound = bound.parse().unwrap();
        let judged =
            check(&Facts { acked, promise, bound: &bound, faults: &faults, unread: false });
        assert_eq!(judged.contradictions, [] as [&str; 0]);
        (judged.losses, judged.violations)
    }

    #[test]
    fn clean_histories_pass() {
        let acked = [message(1, 400, true), message(2, 600, true)];
        assert_eq!(run(&acked, Promise::Never, ""), (Losses::default(), vec![]));
        let acked = [message(1, 400, true), message(2, 600, false)];
        let (losses, violations) = run(&acked, Promise::May, "master_unflushed");
        assert_eq!((losses.lost, losses.rpo_us, violations), (vec![2], 8_000, vec![]));
        let (losses, violations) = run(&[message(1, 400, false)], Promise::All, "");
        assert_eq!((losses.lost, violations), (vec![1], vec![]));
    }

    #[test]
    fn an_acknowledgement_may_be_under_way_while_its_copy_is_lost() {
        let mut late = message(9, 600, false);
        late.acked_us = 10_001;
        let (losses, violations) = run(&[late.clone()], Promise::May, "master_unflushed");
        assert_eq!((losses.lost, losses.rpo_us, violations), (vec![9], 0, vec![]));
        late.appended_us = 10_001;
        assert_eq!(run(&[late], Promise::May, "master_unflushed").1.len(), 1, "no fault took it");
    }

    #[test]
    fn doctored_histories_fail() {
        let lost = [message(1, 400, false)];
        assert_eq!(run(&lost, Promise::Never, "").1.len(), 1);
        assert_eq!(run(&lost, Promise::May, "master_unflushed").1.len(), 1, "below the sync's end");
        assert_eq!(run(&lost, Promise::May, "lag").1.len(), 1, "no slave was touched");

        let mut hidden = message(1, 400, true);
        hidden.read_back = false;
        let checkers: Vec<_> =
            run(&[hidden], Promise::All, "").1.iter().map(|it| it.checker).collect();
        assert_eq!(checkers, [Checker::Served]);
    }

    #[test]
    fn facts_that_contradict_each_other_accuse_nobody() {
        let bound = Bound::default();
        let judge = |acked: &[AckedMessage]| {
            check(&Facts {
                acked,
                promise: Promise::Never,
                bound: &bound,
                faults: &[],
                unread: false,
            })
        };
        let mut liar = message(1, 400, true);
        liar.stored = false;
        for acked in [vec![liar], vec![message(1, 400, true), message(1, 500, true)]] {
            let judged = judge(&acked);
            assert_eq!((judged.violations, judged.contradictions.len()), (vec![], 1));
        }
    }

    #[test]
    fn rot_excuses_only_what_it_hit_and_only_where_it_may() {
        let mut hit = message(1, 400, false);
        hit.rotten = true;
        assert_eq!(run(&[hit.clone()], Promise::May, "rotten").1, vec![]);
        assert_eq!(run(&[hit.clone()], Promise::May, "lag").1.len(), 1);
        assert_eq!(run(&[hit], Promise::Never, "").1.len(), 1);
        assert_eq!(run(&[message(1, 400, false)], Promise::May, "rotten").1.len(), 1);
    }

    #[test]
    fn what_was_deleted_is_not_lost_and_what_lay_elsewhere_is() {
        let (mut gone, mut other) = (message(1, 400, false), message(2, 600, false));
        (gone.deleted, gone.owed, other.owed) = (true, true, true);
        let (losses, violations) = run(&[gone.clone(), other], Promise::Never, "");
        assert_eq!((losses.deleted, losses.lost), (vec![1], vec![2]));
        assert_eq!(violations.len(), 1);
        // The disk holds it behind the deletion: it is to be read.
        gone.stored = true;
        let (losses, violations) = run(&[gone], Promise::Never, "");
        assert_eq!((losses.lost, violations.len()), (vec![1], 2));
    }

    #[test]
    fn what_expired_is_not_lost_and_what_lay_above_it_is() {
        let mut gone = message(1, 400, false);
        gone.expired = true;
        let (losses, violations) = run(&[gone, message(2, 600, false)], Promise::Never, "");
        assert_eq!((losses.expired, losses.lost), (vec![1], vec![2]));
        assert_eq!(violations.len(), 1);
        let mut there = message(3, 500, true);
        there.expired = true;
        assert_eq!(
            run(&[there], Promise::Never, ""),
            (Losses::default(), vec![]),
            "a slave has it"
        );
    }

    #[test]
    fn a_skip_is_excused_only_where_the_group_had_been_before() {
        let mut skipped = message(1, 400, true);
        for (stood_beyond, complaints) in [(true, 0), (false, 1)] {
            skipped.missed_by = vec![missed("g", stood_beyond)];
            let (losses, violations) = run(&[skipped.clone()], Promise::Never, "");
            assert_eq!((losses.skipped.len(), violations.len()), (1, complaints));
        }
        skipped.missed_by.push(missed("h", true));
        let (losses, violations) = run(&[skipped], Promise::Never, "");
        assert_eq!((losses.skipped.len(), violations.len()), (2, 1), "each group by itself");
    }

    #[test]
    fn what_nobody_could_read_is_neither_lost_nor_kept_unless_something_took_it() {
        let mut there = message(1, 400, true);
        (there.read_back, there.owed) = (false, true);
        let mut unread = Facts {
            acked: &[there, message(2, 600, false)],
            promise: Promise::Never,
            bound: &Bound::default(),
            faults: &[],
            unread: true,
        };
        let judged = check(&unread);
        assert_eq!((judged.unseen, judged.losses.lost), (1, vec![2]));
        assert_eq!(judged.violations.len(), 1, "a fault took it: {:?}", judged.violations);
        // Of two masters a group may read the one that the disks are not compared with.
        let (mut elsewhere, acked) = (message(3, 700, true), unread.acked);
        elsewhere.stored = false;
        unread.acked = std::slice::from_ref(&elsewhere);
        assert_eq!(check(&unread).contradictions, [] as [&str; 0]);
        (unread.acked, unread.unread) = (acked, false);
        let judged = check(&unread);
        assert_eq!((judged.unseen, judged.losses.lost), (0, vec![1, 2]));
        assert_eq!(judged.violations.len(), 3, "{:?}", judged.violations);
    }

    #[test]
    fn no_promise_excuses_the_loss_of_what_the_log_owes() {
        let mut owed = message(1, 600, false);
        owed.owed = true;
        owed.custody = "a holds it".to_owned();
        for (promise, bound) in
            [(Promise::May, "master_unflushed"), (Promise::All, ""), (Promise::Owed, "")]
        {
            let violations = run(&[owed.clone()], promise, bound).1;
            assert!(violations[0].text.contains("nothing took it: a holds it"), "{violations:?}");
        }
    }

    #[test]
    fn where_nothing_is_asked_but_what_is_owed_the_rest_may_go() {
        let (losses, violations) = run(&[message(1, 400, false)], Promise::Owed, "");
        assert_eq!((losses.lost, violations), (vec![1], vec![]));
    }
}
