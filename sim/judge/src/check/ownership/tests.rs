//! Who has a queue when: doctored histories.

use super::*;
use crate::history::{SendOp, a_send};
use crate::timeline::{Node, Trouble, What};

const S: u64 = 1_000_000;

fn queue(queue_id: u32) -> QueueKey {
    QueueKey { group: "a".into(), topic: "T".into(), queue_id }
}

/// Member, second, and whether it has queue 0 from there on.
type Step = (&'static str, u64, bool);

/// A history in which queue 0 is written to at 20 s, and such steps.
fn history(steps: &[Step]) -> History {
    let mut history = History::default();
    history.subscriptions.insert("g".into(), vec!["T".into()]);
    let steps = (100..).zip(steps).map(|(ordinal, (consumer, at_s, has_it))| TenureStep {
        consumer: (*consumer).into(),
        consumer_group: "g".into(),
        queue: queue(0),
        has_it: *has_it,
        at_us: at_s * S,
        ordinal,
    });
    history.watch.steps = steps.collect();
    history.sends.push(SendOp { started_us: 20 * S, ended_us: 20 * S, ..a_send(1, 0) });
    history
}

fn trouble(what: What, who: &str, from_s: u64, until_s: u64) -> Trouble {
    let until_us = until_s.saturating_mul(S);
    let (sides, from_us) = (vec![vec![who.into()]], from_s * S);
    Trouble { what, sides, from_us, until_us, ordinal: 0, topic: None }
}

/// Two members that live from the first second on, judged up to the 1,000th.
fn facts() -> Facts {
    let node = |name: &str, role: Role| Node { name: name.into(), machine: name.into(), role };
    let member = || Role::Member("g".into());
    let nodes = vec![
        node("n", Role::NameServer),
        node("a", Role::Broker("a".into())),
        node("c", member()),
        node("d", member()),
    ];
    let life = || vec![Range { start: S, end: u64::MAX }];
    let came = |who| trouble(What::Came { first: true }, who, 1, 1);
    Facts {
        groups: [("g".into(), Group::default())].into(),
        timeline: Timeline {
            nodes,
            troubles: vec![came("c"), came("d")],
            lives: [("c".into(), life()), ("d".into(), life())].into(),
            ..Timeline::default()
        },
        made: BTreeMap::new(),
        latency_us: 1_000,
        until_us: 1_000 * S,
    }
}

fn found(steps: &[Step], doctor: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = facts();
    doctor(&mut facts);
    judge(&history(steps), &facts).violations.into_iter().map(|it| it.text).collect()
}

fn calm(_: &mut Facts) {}

const NOTHING: [&str; 0] = [];

#[test]
fn a_queue_with_one_owner_passes() {
    assert_eq!(found(&[("c", 2, true)], calm), NOTHING);
    let handed_over = [("c", 2, true), ("c", 10, false), ("d", 11, true)];
    assert_eq!(found(&handed_over, calm), NOTHING, "the group comes together");
}

#[test]
fn a_queue_that_nobody_has_is_found() {
    let never = &found(&[], calm)[0];
    assert!(never.contains("nobody of g has it since 20.000 s"), "{never}");
    let orphaned = [("c", 2, true), ("c", 100, false)];
    assert!(found(&orphaned, calm)[0].contains("since 100.000 s"));
    let soon = [orphaned[0], orphaned[1], ("d", 120, true)];
    assert_eq!(found(&soon, calm).len(), 1, "it went to another for no reason, but in time");
    let soon = [orphaned[0], orphaned[1], ("c", 120, true)];
    assert_eq!(found(&soon, calm), NOTHING);
    let late = [orphaned[0], orphaned[1], ("c", 123, true)];
    assert_eq!(found(&late, calm).len(), 1);
    // Nobody is left, or nobody has watched for long enough.
    let dead = |facts: &mut Facts| {
        facts.timeline.lives.values_mut().for_each(|lives| lives[0].end = 101 * S);
    };
    assert_eq!(found(&orphaned, dead), NOTHING);
    assert_eq!(found(&orphaned, |facts| facts.until_us = 121 * S), NOTHING);
    let mut early = facts();
    early.until_us = 110 * S;
    let open = judge(&history(&orphaned), &early).open_until_us.unwrap();
    assert!((120 * S..123 * S).contains(&open), "{open}");
}

#[test]
fn a_queue_that_two_have_is_found() {
    let both = [("c", 2, true), ("d", 100, true)];
    let text = &found(&both, calm)[1];
    assert!(text.contains("c and d of g have it at once since 100.000 s"), "{text}");
    let came = |facts: &mut Facts| {
        facts.timeline.troubles.push(trouble(What::Came { first: false }, "d", 99, 99));
    };
    assert_eq!(found(&[both[0], both[1], ("c", 119, false)], came), NOTHING);
    assert_eq!(found(&[both[0], both[1], ("c", 123, false)], came).len(), 1);
    // One that is paused has nothing, and is told late.
    let paused = |until_s: u64| {
        move |facts: &mut Facts| {
            facts.timeline.troubles.push(trouble(What::Paused, "c", 90, until_s));
            let lives = [1..90, until_s..u64::MAX / S];
            let lives = lives.map(|life| life.start * S..life.end.saturating_mul(S));
            facts.timeline.lives.insert("c".into(), lives.into());
        }
    };
    assert_eq!(found(&both, paused(2_000)), NOTHING);
    assert_eq!(found(&[both[0], both[1], ("c", 345, false)], paused(300)), NOTHING);
    assert_eq!(found(&[both[0], both[1], ("c", 359, false)], paused(300)).len(), 1);
}

#[test]
fn whoever_dies_has_nothing_more() {
    let dies = |what: What| {
        move |facts: &mut Facts| {
            facts.timeline.troubles.push(trouble(what, "c", 100, 100));
            facts.timeline.troubles.push(trouble(What::Came { first: false }, "c", 105, 105));
            facts.timeline.ends.insert("c".into(), vec![100 * S]);
            let lives = [Range { start: S, end: 100 * S }, Range { start: 105 * S, end: u64::MAX }];
            facts.timeline.lives.insert("c".into(), lives.into());
        }
    };
    let taken = |at_s| [("c", 2, true), ("d", at_s, true)];
    assert_eq!(found(&taken(121), dies(What::Left)), NOTHING);
    assert_eq!(
        found(&taken(128), dies(What::Left)).len(),
        2,
        "and by then the one that came back has all"
    );
    assert_eq!(found(&taken(240), dies(What::Vanished)), NOTHING, "nobody hears of it");
    assert_eq!(found(&taken(260), dies(What::Vanished)).len(), 2);
    // In order the lock has to run out as well.
    let in_order = |facts: &mut Facts| {
        dies(What::Left)(facts);
        facts.groups.get_mut("g").unwrap().orderly = true;
    };
    assert_eq!(found(&taken(180), in_order), NOTHING);
    assert_eq!(found(&taken(240), in_order).len(), 2);
}

#[test]
fn troubles_suspend_the_limit_and_no_longer_than_they_are_felt() {
    let orphaned = [("c", 2, true), ("c", 100, false), ("c", 400, true)];
    let link = |facts: &mut Facts, from_s, until_s| {
        let sides = vec![vec!["a".into()], vec!["d".into()]];
        let cut = Trouble { sides, ..trouble(What::Cut, "a", from_s, until_s) };
        facts.timeline.troubles.push(cut);
    };
    assert_eq!(found(&orphaned, |facts| link(facts, 95, 300)), NOTHING);
    assert_eq!(found(&orphaned, |facts| link(facts, 95, 200)).len(), 1);
    let strangers = |facts: &mut Facts| {
        facts.timeline.nodes.retain(|node| &*node.name != "d");
        link(facts, 95, 300);
    };
    assert_eq!(found(&orphaned, strangers).len(), 1, "nobody of the group is at that end");
    // A disk keeps a broker from answering, and its clients from staying connected.
    let disk = |who: &'static str| {
        move |facts: &mut Facts| {
            facts.timeline.troubles.push(trouble(What::Disk, who, 95, 350));
        }
    };
    assert_eq!(found(&orphaned, disk("a")), NOTHING);
    assert_eq!(found(&orphaned, disk("c")).len(), 1);
    // A broker that comes or goes: nobody knows whether there is one.
    let restart = |facts: &mut Facts| {
        facts.timeline.troubles.push(trouble(What::Left, "a", 50, 50));
        facts.timeline.troubles.push(trouble(What::Came { first: false }, "a", 60, 60));
    };
    assert_eq!(found(&orphaned, restart), NOTHING);
    let mut told = history(&orphaned);
    told.sends.push(SendOp { ended_us: 70 * S, ..told.sends[0].clone() });
    let mut facts = facts();
    restart(&mut facts);
    assert_eq!(judge(&told, &facts).violations.len(), 1, "somebody acknowledged a message since");
    facts.latency_us = 600_000;
    assert_eq!(judge(&told, &facts), Judged::default(), "requests time out by themselves");
}

#[test]
fn a_queue_goes_to_another_only_when_somebody_comes_or_goes() {
    let shuffled =
        [("c", 2, true), ("c", 100, false), ("d", 100, true), ("d", 120, false), ("c", 120, true)];
    let judged = judge(&history(&shuffled), &facts());
    assert_eq!((judged.moves, judged.needless_moves, judged.violations.len()), (2, 2, 1));
    let text = &judged.violations[0].text;
    assert!(text.contains("d of g took it from c at 100.000 s, though nobody"), "{text}");
    let mut facts = facts();
    facts.timeline.troubles.push(trouble(What::Came { first: false }, "d", 99, 99));
    let judged = judge(&history(&shuffled[..3]), &facts);
    assert_eq!((judged.moves, judged.needless_moves), (1, 0));
    // A queue that is heard of for the first time makes all of its topic move.
    let mut told = history(&shuffled[..3]);
    let mut other = told.watch.steps[0].clone();
    (other.queue, other.at_us) = (queue(1), 140 * S);
    told.watch.steps.push(other);
    facts.timeline.troubles.pop();
    assert_eq!(judge(&told, &facts).needless_moves, 0);
    told.watch.steps.last_mut().unwrap().queue.topic = "%RETRY%g".into();
    assert_eq!(judge(&told, &facts).needless_moves, 1);
}

#[test]
fn who_has_a_queue_and_reads_on_elsewhere_takes_it_from_nobody() {
    let shared = [("c", 2, true), ("d", 2, true), ("d", 3, false)];
    let moved = |step: Step| {
        let judged = judge(&history(&[&shared[..], &[step]].concat()), &facts());
        (judged.moves, judged.needless_moves)
    };
    assert_eq!(moved(("c", 100, true)), (1, 0), "it had it all the while");
    assert_eq!(moved(("d", 100, true)), (2, 1), "it had given it up");
    let gone = [("c", 2, true), ("d", 2, true), ("d", 3, false), ("c", 90, false)];
    let judged = judge(&history(&[&gone[..], &[("c", 100, true)]].concat()), &facts());
    assert_eq!(judged.moves, 1, "nobody else had it since");
}

#[test]
fn members_share_a_topic_evenly() {
    let owned = |owners: &[&'static str]| {
        let mut told = history(&[]);
        for (queue_id, owner) in (0..).zip(owners) {
            let step = TenureStep {
                consumer: (*owner).into(),
                consumer_group: "g".into(),
                queue: queue(queue_id),
                has_it: true,
                at_us: 2 * S,
                ordinal: 1,
            };
            told.watch.steps.push(step);
        }
        told
    };
    let found = |owners: &[&'static str], doctor: fn(&mut Facts)| {
        let mut facts = facts();
        doctor(&mut facts);
        let found = judge(&owned(owners), &facts).violations;
        found.into_iter().map(|it| it.text).collect::<Vec<_>>()
    };
    assert_eq!(found(&["c", "c", "d"], calm), NOTHING);
    assert_eq!(found(&["c"], calm), NOTHING);
    let text = &found(&["c", "c", "c", "d"], calm)[0];
    assert!(text.contains("T: the members of g do not share it evenly since 2.000 s"), "{text}");
    assert_eq!(found(&["c", "c"], calm).len(), 1);
    let alone = |facts: &mut Facts| {
        facts.timeline.lives.remove("d");
    };
    assert_eq!(found(&["c", "c"], alone), NOTHING);
    let later = |facts: &mut Facts| {
        facts.timeline.troubles.push(trouble(What::Came { first: false }, "d", 990, 990));
        facts.timeline.lives.insert("d".into(), vec![Range { start: 990 * S, end: u64::MAX }]);
    };
    assert_eq!(found(&["c", "c"], later), NOTHING, "not for long yet");
    // A queue that an operator made is somebody's, though nothing is written to it.
    let made = |facts: &mut Facts| {
        facts.made.insert(queue(7), 3 * S);
    };
    assert!(found(&["c", "d"], made)[0].contains("queue 7: nobody of g has it"));
}

/// What a promoted slave does not know of is in no route, whatever a member took that had not heard of it yet.
#[test]
fn a_queue_that_is_taken_by_an_old_route_is_not_waited_for() {
    let found = |taken_s: u64, sent_s: Option<u64>| {
        let mut history = history(&[("c", taken_s, true), ("c", taken_s + 4, false)]);
        match sent_s {
            Some(sent_s) => history.sends[0].ended_us = sent_s * S,
            None => history.sends.clear(),
        }
        let mut facts = facts();
        facts.timeline.troubles.push(trouble(What::Came { first: false }, "a", 100, 100));
        judge(&history, &facts).violations.len()
    };
    assert_eq!((found(105, None), found(129, None)), (0, 0));
    assert_eq!(found(140, None), 1, "by then everybody has asked again");
    assert_eq!(found(105, Some(110)), 1, "a broker took what was sent to it");
}

/// What is found where an operator had a topic deleted, and somebody sent to `T` once more.
fn found_beside_deletion(
    topic: &str,
    deleted_s: u64,
    steps: &[Step],
    acked_s: Option<u64>,
) -> Judged {
    let (mut history, mut facts) = (history(steps), facts());
    history.deletions.push(TopicDeletion {
        topic: topic.into(),
        group: "a".into(),
        asked: 1,
        is_confirmed: true,
        at_us: deleted_s * S,
        ordinal: 0,
        ended_us: deleted_s * S,
        ended: 0,
    });
    facts.timeline.add_deletions(&history.deletions);
    let at_us = acked_s.map(|it| it * S);
    history.sends.extend(at_us.map(|ended_us| SendOp { ended_us, ..a_send(2, 1) }));
    judge(&history, &facts)
}

#[test]
fn a_topic_that_was_deleted_is_nobodys_until_it_is_there_again() {
    let steps = [("c", 1, true), ("c", 100, false)];
    let found = |steps: &[Step], deleted_s: u64, acked_s: Option<u64>| {
        found_beside_deletion("T", deleted_s, steps, acked_s).violations.len()
    };
    assert_eq!(found(&steps, 90, None), 0);
    assert_eq!(found(&steps, 90, Some(600)), 1, "it is there again");
    assert_eq!(found(&steps, 901, None), 1, "it had been there for long");
    // Who takes a queue meanwhile goes by an old route.
    assert_eq!(found(&[("c", 1, true), ("c", 300, true), ("c", 310, false)], 90, None), 0);
}

#[test]
fn a_deletion_is_felt_in_no_other_topic() {
    let given_up = [("c", 2, true), ("c", 100, false)];
    let found = |topic: &str, steps: &[Step]| found_beside_deletion(topic, 90, steps, None);
    for other in ["T2", "%RETRY%g"] {
        let text = &found(other, &given_up).violations[0].text;
        assert!(text.contains("nobody of g has it since 100.000 s, and at 121."), "{text}");
    }
    // A route that a member goes by is as old as before.
    let mut steps = history(&[("c", 95, true), ("c", 100, false)]);
    steps.sends.clear();
    let mut facts = facts();
    for (topic, count) in [("T2", 1), ("T", 0)] {
        facts.timeline.troubles.truncate(2);
        let deletion = trouble(What::Deleted, "a", 90, 90);
        facts.timeline.troubles.push(Trouble { topic: Some(topic.into()), ..deletion });
        assert_eq!(judge(&steps, &facts).violations.len(), count, "{topic}");
    }
    // Nor does anybody take a queue from another for that.
    let moved = [("c", 2, true), ("c", 100, false), ("d", 100, true)];
    assert_eq!(found("T2", &moved).needless_moves, 1);
    assert_eq!(found("T", &moved).needless_moves, 0);
}
