//! Doctored stories: what the verdict takes from the clients' history and from the ledger, and what it must
//! not take for an excuse.

use staticfire_judge::history::{
    Answered, Delivery, History, Outcome, Place, QueueKey, QueueReading, SendOp, message_key,
};
use staticfire_judge::ledger::custody::Moment;
use staticfire_judge::ledger::{Ledger, Turn};
use staticfire_world::clock::WorldTime;

use super::*;
use crate::run::{CutOff, GroupStory, settle::Absence, watching::Watched};

mod again;
mod brokers;
mod deletions;
mod kinds;
mod resets;
mod trail;

use brokers::{Nobody, owing};

const TOPIC: &str = "Orders";
const AUDIT: &str = "audit";
const GROUP: &str = "orders";

fn queue(queue_id: u32) -> QueueKey {
    QueueKey { group: "a".into(), topic: TOPIC.into(), queue_id }
}

fn delivery(consumer_group: &str, number: u32, queue_offset: u64) -> Delivery {
    Delivery {
        number: Some(number),
        key: message_key(number).into(),
        body_intact: true,
        consumer: "consumer-1".into(),
        consumer_group: consumer_group.into(),
        queue: queue(0),
        queue_offset,
        phy_offset: queue_offset * 100,
        at_us: 0,
        ordinal: 50,
    }
}

fn send(number: u32) -> SendOp {
    let queue_offset = u64::from(number);
    let place = Place { queue: queue(0), queue_offset, phy_offset: queue_offset * 100 };
    SendOp {
        number,
        topic: TOPIC.into(),
        started_us: 0,
        ended_us: u64::from(number) * 1_000,
        ordinal: 10 + u64::from(number),
        outcome: Outcome::Acked,
        status: "SEND_OK".into(),
        group: Some("a".into()),
        place: Some(place),
        attempts: Some(1),
        sharding_key: None,
    }
}

/// Three messages that are acknowledged, delivered to both groups, read back and stored.
fn story() -> Story {
    let mut history = History::default();
    let mut reading = QueueReading { min_offset: 0, max_offset: 3, messages: Vec::new() };
    for number in 0..3 {
        history.sends.push(send(number));
        for group in [GROUP, AUDIT] {
            history.deliveries.push(delivery(group, number, u64::from(number)));
        }
        reading.messages.push(delivery("fresh-group", number, u64::from(number)));
    }
    history.read_back.insert(queue(0), reading);
    for group in [GROUP, AUDIT] {
        history.subscriptions.insert(group.into(), vec![TOPIC.into()]);
    }
    let committed = [GROUP, AUDIT].map(|group| ((group.into(), queue(0)), 3));
    Story {
        ledger: Ledger::default(),
        history,
        committed: committed.into(),
        groups: vec![GroupStory {
            name: "a".to_owned(),
            faults: Vec::new(),
            stored: (0..3).collect(),
            deleted: DeletedInLog::default(),
            master_now: "a".to_owned(),
            master_then: "a".to_owned(),
            replicas: vec!["a-s".to_owned()],
            leaders: vec!["a".to_owned()],
            machines: Vec::new(),
            mode: "ASYNC_MASTER".to_owned(),
            no_second_copy: false,
            unread: None,
            nothing_is_due: None,
        }],
        cut_off: CutOff::new(),
        watched: Watched::default(),
        expectations: Vec::new(),
        violations: Vec::new(),
        shortfalls: Vec::new(),
        tenancies: Vec::new(),
        drawn_faults: BTreeSet::new(),
        first_fault_us: None,
        started: 3,
    }
}

/// What is found of the story once it is doctored, but that no broker of it gave an acknowledgement.
fn found(promise: &str, doctor: impl FnOnce(&mut Story)) -> (Verdict, Vec<String>) {
    found_with(promise, "", doctor)
}

/// The same where brokers have `properties`, each a line of TOML.
fn found_with(
    promise: &str,
    properties: &str,
    doctor: impl FnOnce(&mut Story),
) -> (Verdict, Vec<String>) {
    let mut story = story();
    doctor(&mut story);
    let text = format!(
        "title = \"t\"\nholds = \"h\"\n[cluster]\nnamesrv = 1\n[cluster.properties]\n{properties}[[cluster.group]]\n\
         name = \"a\"\nrole = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\n[workload]\n[check]\npromise = \"{promise}\"\n"
    );
    let plan = Plan::parse(&text).unwrap();
    let trace = Trace::new(WorldTime::default());
    let stats = WorldStats::default();
    let outcome = judge(&plan, 1, "-", Ok(story), Vec::new(), &trace, stats, 0);
    let texts = outcome.report.findings.iter().map(ToString::to_string);
    let texts: Vec<String> = texts.filter(|it| !it.contains("that no broker gave")).collect();
    let verdict = if texts.is_empty() { Verdict::Kept } else { outcome.report.verdict };
    (verdict, texts)
}

fn complaint(promise: &str, doctor: impl FnOnce(&mut Story)) -> String {
    let (_, texts) = found(promise, doctor);
    texts.join("\n")
}

fn reading(story: &mut Story) -> &mut QueueReading {
    story.history.read_back.get_mut(&queue(0)).unwrap()
}

/// The last message is on no disk, and nobody was given it.
fn lose_the_last(story: &mut Story) {
    story.groups[0].stored.remove(&2);
    story.history.deliveries.retain(|it| it.number != Some(2));
    reading(story).messages.pop();
    reading(story).max_offset = 2;
    story.committed.values_mut().for_each(|offset| *offset = 2);
}

#[test]
fn what_the_groups_log_owes_is_not_lost_whatever_is_promised() {
    let lose = |story: &mut Story| {
        story.ledger = owing(&["a", "a-s"]);
        lose_the_last(story);
    };
    for promise in ["owed", "all", "never"] {
        let text = complaint(promise, lose);
        let wanted = "acknowledged message 2 is lost, and nothing took it: a holds it";
        assert!(text.contains(wanted), "{promise}: {text}");
    }
    // What another log owes does not bind the one that is the group's.
    let text = complaint("owed", |story| {
        lose(story);
        story.groups[0].master_now = "a-s".to_owned();
    });
    assert!(!text.contains("is lost"), "{text}");
    // Nor what a fault took.
    let text = complaint("owed", |story| {
        lose(story);
        let (at, disk) = (Moment { ordinal: 9, at_us: 9 }, ["a".to_owned()]);
        story.ledger.turn(Turn::DiskDestroyed, &disk, at, &Nobody);
    });
    assert!(!text.contains("is lost"), "{text}");
}

/// A half message is acknowledged when its broker says so, and not when its local transaction ends: what lies at its place
/// by then may be another one.
#[test]
fn a_half_message_is_owed_as_what_lay_there_when_it_was_answered() {
    let lose = |answered: Option<u64>| {
        complaint("owed", |story| {
            story.ledger = brokers::owing_another(20, 50);
            lose_the_last(story);
            story.history.sends[2].ordinal = 60;
            let answered = answered.map(|ordinal| (2, Answered { at_us: ordinal, ordinal }));
            story.history.halves_answered.extend(answered);
        })
    };
    let text = lose(Some(15));
    assert!(!text.contains("is lost"), "the disk took it: {text}");
    let wanted = "acknowledged message 2 is lost, and nothing took it: a holds it";
    for behind in [Some(55), None] {
        let text = lose(behind);
        assert!(text.contains(wanted), "it was answered at {behind:?}: {text}");
    }
}

#[test]
fn where_nothing_is_owed_and_nothing_else_is_asked_a_loss_is_permitted() {
    assert_eq!(complaint("owed", lose_the_last), "");
}

#[test]
fn what_is_broadcast_reaches_every_member() {
    // By broadcasting each member is a reader of its own.
    let broadcast = |story: &mut Story| {
        story.committed.clear();
        let history = &mut story.history;
        history.subscriptions.clear();
        for member in ["hall-1", "hall-2"] {
            history.subscriptions.insert(member.into(), vec![TOPIC.into()]);
        }
        for it in &mut history.deliveries {
            let member = if *it.consumer_group == *GROUP { "hall-1" } else { "hall-2" };
            (it.consumer, it.consumer_group) = (member.into(), member.into());
        }
    };
    assert_eq!(complaint("never", broadcast), "");
    let one_misses_it = |story: &mut Story| {
        broadcast(story);
        let is_missed = |it: &Delivery| &*it.consumer == "hall-2" && it.number == Some(1);
        story.history.deliveries.retain(|it| !is_missed(it));
    };
    let text = complaint("never", one_misses_it);
    assert!(text.contains("message 1 never reached hall-2"), "{text}");
    let text = complaint("never", |story| {
        one_misses_it(story);
        story.history.sends[1].outcome = Outcome::Unknown("FLUSH_SLAVE_TIMEOUT".into());
    });
    assert!(text.contains("hall-2 was never given message 1"), "{text}");
}

/// What the brokers and the members of the groups say of each other.
fn watched(story: &mut Story, groups: &[&str]) {
    use staticfire_judge::check::ownership::Group;
    use staticfire_judge::timeline::{Node, Role};
    let facts = &mut story.watched.ownership;
    facts.until_us = 200_000_000;
    for group in groups {
        facts.groups.insert((*group).into(), Group::default());
        let name: std::sync::Arc<str> = format!("{group}-1").into();
        let role = Role::Member((*group).into());
        facts.timeline.nodes.push(Node { machine: name.clone(), name: name.clone(), role });
        facts.timeline.lives.insert(name, vec![std::ops::Range { start: 0, end: u64::MAX }]);
    }
}

#[test]
fn owners_delays_and_commits_are_asked_for() {
    let text = complaint("never", |story| watched(story, &[GROUP]));
    assert!(text.contains("a Orders queue 0: nobody of orders has it"), "{text}");
    let step = |at_us| staticfire_judge::watch::TenureStep {
        consumer: "orders-1".into(),
        consumer_group: GROUP.into(),
        queue: queue(0),
        has_it: true,
        at_us,
        ordinal: 1,
    };
    let owned = |story: &mut Story| {
        watched(story, &[GROUP]);
        story.history.watch.steps.push(step(1));
    };
    assert_eq!(complaint("never", owned), "");
    let text = complaint("never", |story| {
        owned(story);
        story.watched.pace.topics.insert(TOPIC.into(), Some(None));
        let given = &mut story.history.deliveries[4];
        (given.consumer, given.at_us, given.ordinal) = ("orders-1".into(), 60_000_000, 70);
    });
    assert!(text.contains("orders-1 was given k000002 at 2"), "{text}");
    let text = complaint("never", |story| {
        let raise = staticfire_judge::watch::Raise { queue_offset: 3, at_us: 9, ordinal: 99 };
        story.history.watch.note_committed((GROUP.into(), queue(0)), raise);
    });
    assert!(text.contains("orders committed 3 before a listener had ended"), "{text}");
}

#[test]
fn a_clean_story_is_kept() {
    assert_eq!(found("never", |_| {}), (Verdict::Kept, vec![]));
}

#[test]
fn an_acknowledgement_is_one_that_a_broker_gave() {
    let plan = "title = \"t\"\nholds = \"h\"\n[cluster]\nnamesrv = 1\n[[cluster.group]]\nname = \"a\"\n\
                role = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\n[workload]\n[check]\npromise = \"never\"\n";
    let plan = Plan::parse(plan).unwrap();
    let trace = Trace::new(WorldTime::default());
    let stats = WorldStats::default();
    let outcome = judge(&plan, 1, "-", Ok(story()), Vec::new(), &trace, stats, 0);
    assert_eq!(outcome.report.verdict, Verdict::Broken);
    assert!(outcome.report.findings[0].text.contains("SEND_OK that no broker gave: message 0"));
}

#[test]
fn what_is_neither_stored_nor_read_is_lost() {
    let text = complaint("never", lose_the_last);
    assert!(text.contains("acknowledged message 2 is lost"), "{text}");
}

#[test]
fn what_comes_back_with_another_body_did_not_come_back() {
    let text = complaint("never", |story| reading(story).messages[1].body_intact = false);
    assert!(
        text.contains("delivered k000001 from a Orders queue 0 offset 1 with another body"),
        "{text}"
    );
    assert!(text.contains("message 1: the disk of the master holds it"), "{text}");
    let text = complaint("never", |story| story.history.deliveries[2].body_intact = false);
    assert!(text.contains("with another body"), "{text}");
    assert!(text.contains("message 1 never reached orders"), "{text}");
}

#[test]
fn what_is_stored_is_served_and_what_is_served_is_stored() {
    let text = complaint("never", |story| {
        reading(story).messages.remove(1);
    });
    assert!(text.contains("message 1: the disk of the master holds it"), "{text}");
    let (verdict, texts) = found("never", |story| {
        story.groups[0].stored.remove(&1);
    });
    assert_eq!(verdict, Verdict::OwnFault);
    assert!(texts[0].contains("the disk of the master does not hold it"), "{texts:?}");
}

#[test]
fn a_group_that_subscribes_and_never_got_a_message_was_denied_it() {
    let deny = |story: &mut Story| {
        story
            .history
            .deliveries
            .retain(|it| !(&*it.consumer_group == AUDIT && it.number == Some(1)));
    };
    let text = complaint("owed", deny);
    assert!(text.contains("message 1 never reached audit"), "{text}");
    assert!(text.contains("audit committed 3 without being given message 1"), "{text}");
    assert!(!text.contains("never reached orders"), "{text}");
    // Whoever subscribes to something else is owed nothing of it.
    let text = complaint("owed", |story| {
        deny(story);
        story.history.subscriptions.insert(AUDIT.into(), vec!["Payments".into()]);
        story.committed.remove(&(AUDIT.into(), queue(0)));
    });
    assert_eq!(text, "");
}

#[test]
fn what_waits_for_a_group_that_is_cut_off_was_not_denied_it() {
    let deny = |absence: Absence| {
        |story: &mut Story| {
            let is_denied = |it: &Delivery| &*it.consumer_group == AUDIT && it.number == Some(2);
            story.history.deliveries.retain(|it| !is_denied(it));
            story.committed.insert((AUDIT.into(), queue(0)), 2);
            story.cut_off.insert((AUDIT.into(), "a".into()), absence);
        }
    };
    let text = complaint("never", deny(Absence::NobodyLeft("audit-1 does not run".into())));
    let waits = "messages of a wait for audit (1): nobody of it is left: audit-1 does not run";
    assert_eq!(text, format!("shown: {waits}"));
    let unreached = deny(Absence::Unreached("audit-1 and a are partitioned".into()));
    let text = complaint("never", unreached);
    assert_eq!(text, "undecided: messages of a wait for audit (1): audit-1 and a are partitioned");
    // A committed offset lets nothing wait, and another group is another.
    let text = complaint("never", |story| {
        deny(Absence::NobodyLeft("audit-1 does not run".into()))(story);
        story.committed.insert((AUDIT.into(), queue(0)), 3);
    });
    assert!(text.contains("audit committed 3 without being given message 2"), "{text}");
    let text = complaint("never", |story| {
        deny(Absence::NobodyLeft("audit-1 does not run".into()))(story);
        story.history.deliveries.retain(|it| it.number != Some(1));
    });
    assert!(text.contains("message 1 never reached orders"), "{text}");
    assert!(!text.contains("never reached audit"), "{text}");
}

#[test]
fn a_skip_is_excused_to_the_group_that_had_been_there() {
    // The group was given another message at the place, which is gone.
    let had_been = |group: &'static str| {
        move |story: &mut Story| {
            for it in &mut story.history.deliveries {
                if &*it.consumer_group == group && it.number == Some(1) {
                    it.number = Some(7);
                }
            }
        }
    };
    assert_eq!(complaint("owed", had_been(AUDIT)), "");
    let text = complaint("owed", |story| {
        had_been(AUDIT)(story);
        story
            .history
            .deliveries
            .retain(|it| !(&*it.consumer_group == GROUP && it.number == Some(1)));
    });
    assert!(text.contains("message 1 never reached orders"), "{text}");
    assert!(!text.contains("never reached audit"), "{text}");
    // And not for what lies behind that place.
    let text = complaint("owed", |story| {
        had_been(AUDIT)(story);
        story
            .history
            .deliveries
            .retain(|it| !(&*it.consumer_group == AUDIT && it.number == Some(2)));
    });
    assert!(text.contains("message 2 never reached audit"), "{text}");
    // In another queue it had been nowhere.
    let text = complaint("owed", |story| {
        had_been(AUDIT)(story);
        for it in &mut story.history.deliveries {
            if it.number == Some(7) {
                it.queue = queue(3);
            }
        }
    });
    assert!(text.contains("message 1 never reached audit"), "{text}");
}

#[test]
fn two_acknowledgements_of_one_place_are_one_too_many_even_where_a_queue_was_damaged_elsewhere() {
    let (verdict, texts) = found("owed", |story| {
        let mut twice = send(1);
        twice.ordinal = 90;
        story.history.sends.push(twice);
    });
    assert_eq!(verdict, Verdict::OwnFault, "{texts:?}");
    assert!(texts[0].contains("message 1 was acknowledged twice"), "{texts:?}");
}

#[test]
fn a_queue_with_a_hole_or_another_end_is_found() {
    let text = complaint("owed", |story| {
        reading(story).messages.remove(1);
        story.groups[0].stored.remove(&1);
    });
    assert!(text.contains("offset 2 follows 1"), "{text}");
    let text = complaint("owed", |story| reading(story).max_offset = 4);
    assert!(text.contains("read up to 3, the broker says it ends at 4"), "{text}");
    let text = complaint("owed", |story| {
        story.committed.insert((GROUP.into(), queue(0)), 9);
    });
    assert!(text.contains("the offset 9 of orders is beyond the end 3"), "{text}");
}

#[test]
fn a_run_without_acknowledgements_shows_nothing_unless_there_was_no_second_copy() {
    let silence = |story: &mut Story| {
        for send in &mut story.history.sends {
            send.outcome = Outcome::Unknown("SLAVE_NOT_AVAILABLE".into());
        }
    };
    let (verdict, texts) = found("never", silence);
    assert_eq!(verdict, Verdict::Vacuous);
    assert!(texts[0].contains("nothing was acknowledged"), "{texts:?}");
    let alone = found("never", |story| {
        silence(story);
        story.groups[0].no_second_copy = true;
    });
    assert_eq!(alone, (Verdict::Kept, vec![]));
}

#[test]
fn two_messages_that_are_owed_at_one_place_are_found() {
    let same_place = |story: &mut Story| {
        story.history.sends[2].place = story.history.sends[1].place.clone();
    };
    let text = complaint("owed", |story| {
        story.ledger = owing(&["a"]);
        same_place(story);
    });
    let both = "messages 1 and 2 were both acknowledged at a Orders queue 0 offset 1";
    assert!(text.contains(both), "{text}");
    // What the log does not owe was cut, and its place used again.
    assert_eq!(complaint("owed", same_place), "");
}
