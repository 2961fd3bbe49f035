//! [`Ownership`]: for how long queues had two owners or none, from what the members of a group said of
//! themselves.

use std::collections::BTreeSet;

use mq_tests::peers::{Peer, Said};

/// What a member said of the queues that it owned.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) name: String,
    /// When it was ready, in ms.
    ready_ms: u64,
    /// When it began to leave, or was killed.
    ended_ms: u64,
    /// From when on it owned which queues.
    owned: Vec<(u64, BTreeSet<i32>)>,
}

impl Life {
    /// The life of a peer that is gone, which was killed at `killed_ms`, if it was.
    pub(crate) fn of(peer: &Peer, killed_ms: Option<u64>) -> Life {
        let at = |word| peer.said_of(word).first().map(|said| said.at_ms);
        let ended_ms = killed_ms.or_else(|| at("left")).unwrap();
        let mut owned: Vec<_> = peer.said_of("owns").iter().map(queues).collect();
        owned.retain(|(at_ms, _)| *at_ms <= ended_ms);
        owned.push((ended_ms, BTreeSet::new()));
        Life { name: peer.name.clone(), ready_ms: at("ready").unwrap(), ended_ms, owned }
    }
}

/// `owns` and when, with the queues as `brokerName/queueId,…`.
fn queues(said: &Said) -> (u64, BTreeSet<i32>) {
    let ids = said.fields[0].split(',').filter(|queue| !queue.is_empty());
    let id = |queue: &str| queue.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap();
    (said.at_ms, ids.map(id).collect())
}

/// The longest times, in ms, with the queue and when they began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// For how long a queue had two owners.
    pub(crate) twice_ms: u64,
    /// For how long a queue had none while there were members.
    pub(crate) nobody_ms: u64,
    twice_at: (i32, u64),
    nobody_at: (i32, u64),
}

/// What becomes of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    MemberIsHere,
    Taken,
    GivenUp,
    MemberIsGone,
}

impl Ownership {
    /// Of the queues 0 to `queues` - 1, up to `until_ms`.
    pub(crate) fn of<'a>(
        lives: impl Iterator<Item = &'a Life> + Clone,
        queues: i32,
        until_ms: u64,
    ) -> Ownership {
        let mut ownership = Ownership::default();
        for queue in 0..queues {
            ownership.look_at(queue, changes(lives.clone(), queue), until_ms);
        }
        ownership
    }

    fn look_at(&mut self, queue: i32, changes: Vec<(u64, Change)>, until_ms: u64) {
        let (mut members, mut owners) = (0, 0);
        let (mut twice_since, mut nobody_since) = (None, None);
        for (at_ms, change) in changes {
            if at_ms > until_ms {
                break;
            }
            match change {
                Change::MemberIsHere => members += 1,
                Change::Taken => owners += 1,
                Change::GivenUp => owners -= 1,
                Change::MemberIsGone => members -= 1,
            }
            let span = (&mut self.twice_ms, &mut self.twice_at);
            follow(owners > 1, (queue, at_ms), &mut twice_since, span);
            let span = (&mut self.nobody_ms, &mut self.nobody_at);
            follow(owners == 0 && members > 0, (queue, at_ms), &mut nobody_since, span);
        }
        let span = (&mut self.nobody_ms, &mut self.nobody_at);
        follow(false, (queue, until_ms), &mut nobody_since, span);
        let span = (&mut self.twice_ms, &mut self.twice_at);
        follow(false, (queue, until_ms), &mut twice_since, span);
    }
}

/// Begins or ends a span; keeps the longest one.
fn follow(
    is: bool,
    (queue, at_ms): (i32, u64),
    since: &mut Option<u64>,
    (longest_ms, longest_at): (&mut u64, &mut (i32, u64)),
) {
    match (*since, is) {
        (None, true) => *since = Some(at_ms),
        (Some(begin), false) => {
            if at_ms - begin > *longest_ms {
                (*longest_ms, *longest_at) = (at_ms - begin, (queue, begin));
            }
            *since = None;
        }
        _ => {}
    }
}

/// What became of one queue, in the order of time.
fn changes<'a>(lives: impl Iterator<Item = &'a Life>, queue: i32) -> Vec<(u64, Change)> {
    let mut changes = Vec::new();
    for life in lives {
        changes.push((life.ready_ms, Change::MemberIsHere));
        changes.push((life.ended_ms, Change::MemberIsGone));
        let mut owned = false;
        for (at_ms, queues) in &life.owned {
            let now = queues.contains(&queue);
            if now != owned {
                changes.push((*at_ms, if now { Change::Taken } else { Change::GivenUp }));
                owned = now;
            }
        }
    }
    changes.sort();
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(ready_ms: u64, owned: &[(u64, &[i32])], ended_ms: u64) -> Life {
        let mut owned: Vec<_> =
            owned.iter().map(|(at_ms, ids)| (*at_ms, ids.iter().copied().collect())).collect();
        owned.push((ended_ms, BTreeSet::new()));
        Life { name: String::new(), ready_ms, ended_ms, owned }
    }

    fn of(lives: &[Life], until_ms: u64) -> (u64, u64) {
        let ownership = Ownership::of(lives.iter(), 2, until_ms);
        (ownership.twice_ms, ownership.nobody_ms)
    }

    #[test]
    fn a_queue_that_changes_hands_is_nobodys_between() {
        let one = life(0, &[(5, &[0, 1]), (20, &[0])], 100);
        let other = life(10, &[(27, &[1])], 100);
        assert_eq!(of(&[one, other], 100), (0, 7));
    }

    #[test]
    fn a_queue_of_two_is_owned_twice() {
        let one = life(0, &[(0, &[0, 1])], 100);
        let other = life(10, &[(30, &[1]), (42, &[])], 100);
        assert_eq!(of(&[one, other], 100), (12, 0));
    }

    #[test]
    fn what_nobody_takes_is_counted_to_the_end_and_without_members_not() {
        let one = life(0, &[(0, &[0, 1])], 50);
        let other = life(40, &[], 70);
        assert_eq!(of(&[one.clone(), other.clone()], 100), (0, 20));
        assert_eq!(of(&[one, other], 60), (0, 10));
    }

    #[test]
    fn two_owners_to_the_end_are_counted() {
        let one = life(0, &[(0, &[0, 1])], 200);
        let other = life(10, &[(30, &[1])], 200);
        assert_eq!(of(&[one, other], 100), (70, 0));
    }
}
