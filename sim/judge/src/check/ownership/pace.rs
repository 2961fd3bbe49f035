//! `Pace`: how long a rebalance takes, and how long until everybody knows again who is there.

use std::sync::Arc;

use super::Group;
use crate::calm::Span;
use crate::timeline::{Role, Timeline, What};

const SECOND_US: u64 = 1_000_000;

/// Members rebalance at the latest so long after the last time (`rocketmq.client.rebalance.waitInterval`).
const REBALANCE_US: u64 = 20 * SECOND_US;

/// Time between two heartbeats of a client (`heartbeatBrokerInterval`).
const HEARTBEAT_US: u64 = 30 * SECOND_US;

/// Time between two questions of a client for routes (`pollNameServerInterval`).
const ROUTE_POLL_US: u64 = 30 * SECOND_US;

/// Longest time between two registrations of a broker (`registerNameServerPeriod`).
const REGISTRATION_US: u64 = 60 * SECOND_US;

/// A broker forgets a member, and a name server a broker, that it has heard nothing of for two minutes, and looks
/// every ten seconds (`CHANNEL_EXPIRED_TIMEOUT`, `BROKER_CHANNEL_EXPIRED_TIME`).
const EXPIRY_US: u64 = 130 * SECOND_US;

/// A broker keeps the lock of a queue for so long after it was asked for last (`REBALANCE_LOCK_MAX_LIVE_TIME`).
const LOCK_US: u64 = 60 * SECOND_US;

/// So long a member that gives up a queue waits for a listener that consumes it in order.
const LISTENER_GRACE_US: u64 = SECOND_US;

/// A link on which a question and its answer take longer lets requests time out without any fault: those for
/// locks are given up after a second.
const ROUND_TRIP_MAX_US: u64 = SECOND_US;

/// Questions that a rebalance asks about a queue: its lock, its offset and what that rests on.
const QUESTIONS: u64 = 4;

/// Times in microseconds of one consumer group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A queue may be without an owner, or have two, for so long: until the next rebalance is through.
    pub(super) base_us: u64,
    /// So long after somebody came or went, and all were told, everybody has what is his.
    pub(super) seen_us: u64,
    /// So long after a broker came, clients may know an older route of it.
    pub(super) route_us: u64,
    /// As long as a lock may keep others away whose owner is dead.
    lock_us: u64,
}

impl Pace {
    /// Of a group that shares out `queues`; `None` where links are so slow that nothing is certain.
    pub(super) fn of(group: &Group, queues: u64, latency_us: u64) -> Option<Self> {
        let round_trip_us = 2 * latency_us;
        if round_trip_us >= ROUND_TRIP_MAX_US {
            return None;
        }
        let (grace_us, lock_us, listener_us) = match group.orderly {
            // What is at work is waited for, and given up by the rebalance after it.
            true => (LISTENER_GRACE_US, LOCK_US, group.listener_us.saturating_add(REBALANCE_US)),
            false => (0, 0, 0),
        };
        // For each topic, its own and that of retries, the members are asked for.
        let each_us = QUESTIONS * round_trip_us + grace_us;
        let work_us = SECOND_US + 2 * round_trip_us + queues.saturating_mul(each_us);
        let base_us = REBALANCE_US.saturating_add(work_us);
        let seen_us = base_us.saturating_add(listener_us);
        Some(Pace { base_us, seen_us, route_us: ROUTE_POLL_US + work_us, lock_us })
    }

    /// What is in the way of `group` when it shares out `topic`, and for how long.
    pub(super) fn spans(&self, timeline: &Timeline, group: &Arc<str>, topic: &str) -> Vec<Span> {
        let is_concerned = |name: &str| match timeline.role(name) {
            Some(Role::Member(of)) => of == group,
            Some(_) => true,
            None => false,
        };
        let troubles = timeline.troubles.iter().filter(|it| it.strikes(topic));
        let troubles = troubles.filter(|it| it.concerns(is_concerned));
        let spans = troubles.flat_map(|it| {
            let role = it.sides[0].iter().find_map(|name| timeline.role(name));
            let span = |from_us, until_us, recovery_us| Span { from_us, until_us, recovery_us };
            let (from, until) = (it.from_us, it.until_us);
            let is_member = matches!(role, Some(Role::Member(_)));
            match it.what {
                // Others do its work once it is forgotten, and it needs to be known again.
                What::Paused if is_member => vec![
                    span(from, from, EXPIRY_US + self.seen_us),
                    span(until, until, HEARTBEAT_US + self.seen_us),
                ],
                what => self
                    .recovery_us(what, is_member)
                    .map(|it| span(from, until, it))
                    .into_iter()
                    .collect(),
            }
        });
        spans.collect()
    }

    /// A queue that was first heard of at a time: members learn of it from its route, some of them earlier.
    pub(super) fn new_queue(&self, at_us: u64) -> Span {
        let recovery_us = ROUTE_POLL_US + self.seen_us;
        Span { from_us: at_us.saturating_sub(recovery_us), until_us: at_us, recovery_us }
    }

    /// How long a trouble is felt once it is over; `None`: it is not felt at all.
    fn recovery_us(&self, what: What, is_member: bool) -> Option<u64> {
        let known_us = REGISTRATION_US + ROUTE_POLL_US + HEARTBEAT_US + self.seen_us;
        Some(match what {
            What::Came { .. } if is_member => self.seen_us,
            // The first act waits for the servers.
            What::Came { first: true } => return None,
            What::Disk if is_member => return None,
            What::Left if is_member => self.lock_us + self.seen_us,
            What::Vanished if is_member => EXPIRY_US + self.seen_us,
            What::Left => ROUTE_POLL_US + self.seen_us,
            What::Vanished => EXPIRY_US + ROUTE_POLL_US + self.seen_us,
            // A topic that is there again is known with the next registration.
            What::Came { first: false } | What::Paused | What::Deleted | What::Leaderless => {
                known_us
            }
            // A client gives up the connection of a request that is not answered, and its broker takes it for gone.
            What::Slow | What::Disk => known_us,
            What::Cut | What::Clock => EXPIRY_US.max(known_us),
        })
    }
}
