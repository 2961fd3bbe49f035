//! What comes when: doctored histories.

use super::*;
use crate::history::{a_delivery, a_send};
use crate::timeline::{Node, Trouble};
use crate::watch::TenureStep;

const MS: u64 = 1_000;
const S: u64 = 1_000_000;

/// Message `number` of the only queue, acknowledged at `acked_us` and given at `given_us` to an instant listener.
type Message = (u32, u64, u64);

fn history(messages: &[Message]) -> History {
    let mut history = History::default();
    history.watch.steps.push(TenureStep {
        consumer: "c".into(),
        consumer_group: "g".into(),
        queue: a_delivery(0, 0).queue,
        has_it: true,
        at_us: S,
        ordinal: 1,
    });
    for (number, acked_us, given_us) in messages {
        let queue_offset = u64::from(*number);
        let ordinal = 10 * (queue_offset + 1);
        let mut given = a_delivery(*number, queue_offset);
        (given.ordinal, given.at_us) = (ordinal, *given_us);
        history.watch.listener_ends.insert(ordinal, *given_us);
        history.deliveries.push(given);
        history.sends.push(SendOp {
            started_us: acked_us.saturating_sub(5 * MS),
            ended_us: *acked_us,
            ordinal: 2,
            ..a_send(*number, queue_offset)
        });
    }
    history
}

struct Facts {
    history: History,
    timeline: Timeline,
    pace: Pace,
}

impl Facts {
    fn trouble(&mut self, what: What, who: &str, from_us: u64, until_us: u64) {
        let (sides, ordinal, topic) = (vec![vec![who.into()]], 0, None);
        let trouble = Trouble { what, sides, from_us, until_us, ordinal, topic };
        self.timeline.troubles.push(trouble);
    }

    /// An operator had a topic deleted.
    fn deletion(&mut self, topic: &str, from_us: u64, until_us: u64) {
        self.trouble(What::Deleted, "a", from_us, until_us);
        self.timeline.troubles.last_mut().unwrap().topic = Some(topic.into());
    }
}

fn found(messages: &[Message], doctor: impl FnOnce(&mut Facts)) -> Vec<String> {
    let node = |name: &str, role: Role| Node { name: name.into(), machine: name.into(), role };
    let nodes = vec![node("a", Role::Broker("a".into())), node("c", Role::Member("g".into()))];
    let pace = Pace {
        latency_us: MS,
        delays_us: vec![S, 5 * S, 10 * S, 30 * S],
        topics: [("T".into(), Some(None))].into(),
        ..Pace::default()
    };
    let timeline = Timeline { nodes, ..Timeline::default() };
    let mut facts = Facts { history: history(messages), timeline, pace };
    doctor(&mut facts);
    let found = check(&facts.history, &facts.timeline, &facts.pace);
    found.into_iter().map(|it| it.text).collect()
}

fn calm(_: &mut Facts) {}

const NOTHING: [&str; 0] = [];

#[test]
fn what_is_there_is_given_at_once() {
    assert_eq!(found(&[(0, 20 * S, 20 * S + 3 * MS), (1, 21 * S, 22 * S)], calm), NOTHING);
    // One pull after the other brings what has gathered.
    let gathered = [(0, 0, 2 * S), (1, 0, 3 * S), (2, 0, 4 * S)];
    assert_eq!(found(&gathered, calm), NOTHING);
}

#[test]
fn a_pull_that_is_not_woken_is_found() {
    let late = [(0, 20 * S, 20 * S + 3 * MS), (1, 21 * S, 24 * S)];
    let text = &found(&late, calm)[0];
    assert!(text.contains("c was given k000001 at 1 3000 ms after it was ready"), "{text}");
    assert_eq!(found(&[(0, 20 * S, 21 * S + 7 * MS)], calm), NOTHING);
    assert_eq!(found(&[(0, 20 * S, 21 * S + 9 * MS)], calm).len(), 1);
    // It had not taken the queue, or a member was given it before.
    let taken = |facts: &mut Facts| facts.history.watch.steps[0].at_us = 23 * S;
    assert_eq!(found(&late, taken), NOTHING);
    let other = |facts: &mut Facts| {
        let earlier =
            Delivery { consumer: "d".into(), ordinal: 11, ..facts.history.deliveries[1].clone() };
        facts.history.deliveries.insert(1, earlier);
    };
    assert_eq!(found(&late, other), NOTHING);
    // It lies elsewhere, or nobody knows since when.
    let unknown = |facts: &mut Facts| facts.history.sends[1].place = None;
    assert_eq!(found(&late, unknown), NOTHING);
    let transactions = |facts: &mut Facts| {
        facts.pace.topics.insert("T".into(), None);
    };
    assert_eq!(found(&late, transactions), NOTHING);
}

#[test]
fn troubles_excuse_for_as_long_as_they_are_felt() {
    let late = [(0, 200 * S, 205 * S)];
    for (what, who) in [(What::Paused, "c"), (What::Disk, "a"), (What::Came { first: false }, "a")]
    {
        let felt = |facts: &mut Facts| facts.trouble(what, who, 190 * S, 201 * S);
        assert_eq!(found(&late, felt), NOTHING, "{what:?}");
        let long_ago = |facts: &mut Facts| facts.trouble(what, who, 20 * S, 30 * S);
        assert_eq!(found(&late, long_ago).len(), 1, "{what:?}");
    }
    let strangers = |facts: &mut Facts| facts.trouble(What::Paused, "x", 190 * S, 201 * S);
    assert_eq!(found(&late, strangers).len(), 1);
    let first = |facts: &mut Facts| facts.trouble(What::Came { first: true }, "a", 0, S);
    assert_eq!(found(&late, first).len(), 1);
}

#[test]
fn a_deletion_is_felt_in_no_other_topic() {
    let late = [(0, 200 * S, 205 * S)];
    let deleted = |topic: &'static str, from_us: u64, until_us: u64| {
        found(&late, move |facts| facts.deletion(topic, from_us, until_us)).len()
    };
    assert_eq!(deleted("T", 190 * S, 191 * S), 0);
    for other in ["T2", "%RETRY%g"] {
        assert_eq!(deleted(other, 190 * S, 191 * S), 1);
        assert_eq!(deleted(other, 199 * S, 205 * S), 0, "the log is not dispatched meanwhile");
        assert_eq!(deleted(other, 199 * S, 201 * S), 1, "and is at once when that is over");
    }
    // What is delayed counts where it is to be had.
    let delayed = |topic: &'static str| {
        let doctor = move |facts: &mut Facts| {
            facts.pace.topics.insert("T".into(), Some(Some(2)));
            facts.deletion(topic, 190 * S, 191 * S);
        };
        found(&[(0, 200 * S, 209 * S)], doctor).len()
    };
    assert_eq!((delayed("T"), delayed("SCHEDULE_TOPIC_XXXX")), (0, 1));
}

#[test]
fn only_who_is_idle_is_late() {
    let late = [(0, 20 * S, 20 * S), (1, 21 * S, 24 * S)];
    let slow = |facts: &mut Facts| {
        facts.history.watch.listener_ends.insert(10, 24 * S);
    };
    assert_eq!(found(&late, slow).len(), 1, "it has other threads");
    let in_order = |facts: &mut Facts| {
        slow(facts);
        facts.pace.orderly.insert("g".into());
    };
    assert_eq!(found(&late, in_order), NOTHING);
    let all_at_work = |facts: &mut Facts| {
        slow(facts);
        for index in 0..19 {
            let mut other = facts.history.deliveries[0].clone();
            (other.ordinal, other.queue.queue_id) = (11 + index, 1);
            facts.history.watch.listener_ends.insert(other.ordinal, 24 * S);
            facts.history.deliveries.insert(1, other);
        }
    };
    assert_eq!(found(&late, all_at_work), NOTHING);
}

#[test]
fn what_is_delayed_comes_when_it_is_due() {
    let level = |level: usize| {
        move |facts: &mut Facts| {
            facts.pace.topics.insert("T".into(), Some(Some(level)));
        }
    };
    let given = |after_us: u64| [(0, 20 * S, 20 * S + after_us)];
    assert_eq!(found(&given(5 * S), level(2)), NOTHING);
    assert_eq!(found(&given(7 * S), level(2)), NOTHING);
    assert!(found(&given(8 * S), level(2))[0].contains("after it was ready"));
    assert_eq!(found(&given(4_995 * MS), level(2)), NOTHING, "from when it was sent");
    let early = &found(&given(4_990 * MS), level(2))[0];
    assert!(early.contains("g was given k000000 5 ms before it was due"), "{early}");
    let clock = |facts: &mut Facts| {
        level(2)(facts);
        facts.trouble(What::Clock, "a", 0, S);
    };
    assert_eq!(found(&given(S), clock), NOTHING);
    // One after the other.
    let gathered = [(0, 20 * S, 26 * S), (1, 20 * S, 28 * S), (2, 20 * S, 29 * S)];
    assert_eq!(found(&gathered, level(2)), NOTHING);
}

#[test]
fn what_is_given_back_comes_after_its_delay() {
    let again = |after_us: u64, failures: u32| {
        move |facts: &mut Facts| {
            let mut given = a_delivery(0, 0);
            given.queue.topic = "%RETRY%g".into();
            (given.ordinal, given.at_us) = (50, 20 * S + after_us);
            let step = &facts.history.watch.steps[0];
            let step = TenureStep { queue: given.queue.clone(), ..step.clone() };
            facts.history.watch.steps.push(step);
            facts.history.deliveries.push(given);
            facts.history.watch.reconsume_times.insert(50, 1);
            for index in 0..u64::from(failures) {
                facts.history.given_back.push(GivenBack {
                    number: 0,
                    consumer: "c".into(),
                    consumer_group: "g".into(),
                    group: "a".into(),
                    delivered: 10,
                    is_last: false,
                    ordinal: 11 + index,
                });
            }
        }
    };
    let first = [(0, 20 * S, 20 * S)];
    assert_eq!(found(&first, again(10 * S, 1)), NOTHING);
    assert_eq!(found(&first, again(12 * S, 1)), NOTHING);
    assert!(found(&first, again(13 * S, 1))[0].contains("after it was ready"));
    assert_eq!(found(&first, again(13 * S, 2)), NOTHING, "it could not be sent back at once");
    assert!(found(&first, again(9 * S, 1))[0].contains("1000 ms before it was due"));
    assert_eq!(found(&first, again(S, 0)), NOTHING, "others complain that nobody asked for it");
    let by_copy = |facts: &mut Facts| {
        again(13 * S, 1)(facts);
        facts.history.given_back[0].group = "b".into();
    };
    assert_eq!(found(&first, by_copy), NOTHING, "another broker was given a copy");
    let once_more = |queue_offset: u64| {
        move |facts: &mut Facts| {
            again(10 * S, 1)(facts);
            let history = &mut facts.history;
            let failed = GivenBack { delivered: 50, ordinal: 51, ..history.given_back[0].clone() };
            history.given_back.push(failed);
            history.watch.listener_ends.insert(50, 30 * S);
            let mut given = history.deliveries[1].clone();
            (given.queue_offset, given.ordinal, given.at_us) = (queue_offset, 60, 35 * S);
            history.deliveries.push(given);
            history.watch.reconsume_times.insert(60, 2);
        }
    };
    assert_eq!(
        found(&first, once_more(0)),
        NOTHING,
        "the client kept it, and no broker delayed it"
    );
    let early = found(&first, once_more(1));
    assert!(early[0].contains("25000 ms before it was due"), "another record: {early:?}");
}
