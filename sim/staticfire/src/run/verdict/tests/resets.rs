//! Doctored stories of groups that an operator had go on elsewhere.

use staticfire_judge::history::{GroupOffset, OffsetReset, OffsetStep, PullOffset};

use super::*;

/// An operator had `group` go on behind everything when it stood at `from`.
fn reset(story: &mut Story, group: &str, from: u64) {
    let (queue, to, at_us, ordinal) = (queue(0), 3, 10_000, 60);
    let consumer_group = group.into();
    let reset = OffsetReset { consumer_group, queue, from, to, at_us, ordinal };
    story.history.offset_resets.push(reset);
}

/// And somebody went there.
fn follow(story: &mut Story, group: &str) {
    let step = OffsetStep::Committed;
    let offset = GroupOffset { step, queue_offset: 3, at_us: 11_000, ordinal: 61 };
    story.history.note_group_offset((group.into(), queue(0)), offset);
}

/// A group was never given a message.
fn withhold(story: &mut Story, group: &str, number: u32) {
    story.ledger = owing(&["a", "a-s"]);
    let is_it = |it: &Delivery| &*it.consumer_group == group && it.number == Some(number);
    story.history.deliveries.retain(|it| !is_it(it));
}

fn told(doctor: impl FnOnce(&mut Story)) -> String {
    let (_, texts) = found("never", doctor);
    let texts = texts.into_iter().filter(|it| !it.contains("without the record in the log"));
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_a_reset_passes_over_is_counted_and_broken_for_nobody() {
    let text = told(|story| {
        withhold(story, GROUP, 1);
        reset(story, GROUP, 1);
        follow(story, GROUP);
    });
    assert_eq!(text, "shown: messages passed over by resets of orders: 1");
    let text = told(|story| {
        reset(story, GROUP, 1);
        follow(story, GROUP);
    });
    assert_eq!(text, "", "the group had it all");
}

#[test]
fn a_reset_excuses_nothing_else() {
    let never_came = |text: &str, group: &str| {
        assert!(text.contains(&format!("message 1 never reached {group}")), "{text}");
    };
    let of_another = told(|story| {
        withhold(story, AUDIT, 1);
        reset(story, GROUP, 1);
        follow(story, GROUP);
    });
    never_came(&of_another, AUDIT);
    let passed_before = told(|story| {
        withhold(story, GROUP, 1);
        reset(story, GROUP, 2);
        follow(story, GROUP);
    });
    never_came(&passed_before, GROUP);
    let lies_elsewhere_too = told(|story| {
        withhold(story, GROUP, 1);
        reset(story, GROUP, 1);
        follow(story, GROUP);
        let mut again = delivery("fresh-group", 1, 0);
        again.queue = queue(1);
        let reading = QueueReading { min_offset: 0, max_offset: 1, messages: vec![again] };
        story.history.read_back.insert(queue(1), reading);
    });
    never_came(&lies_elsewhere_too, GROUP);
}

/// In order a message comes again where it lies; whoever goes on elsewhere before that does not get it.
#[test]
fn what_a_reset_passes_over_is_not_given_again() {
    let given_back = |delivered_us: u64, behind: bool| {
        told(|story| {
            story.ledger = owing(&["a", "a-s"]);
            story.history.given_back.push(super::again::failure(1));
            let mut deliveries = story.history.deliveries.iter_mut();
            let failed = deliveries.find(|it| &*it.consumer_group == GROUP && it.number == Some(1));
            failed.unwrap().at_us = delivered_us;
            reset(story, GROUP, if behind { 2 } else { 1 });
            follow(story, GROUP);
        })
    };
    assert_eq!(given_back(9_000, false), "");
    let never_came = "message 1, given back by orders, never came again: no broker stored it";
    for text in [given_back(10_020_000, false), given_back(9_000, true)] {
        assert!(text.contains(never_came), "{text}");
    }
}

#[test]
fn a_reset_that_nobody_followed_shows_nothing() {
    let idle = "vacuous: reset_offset orders (Orders) had no effect: nobody went there";
    assert_eq!(told(|story| reset(story, GROUP, 1)), idle);
    let taken = |ordinal: u64| {
        told(|story| {
            reset(story, GROUP, 1);
            story.history.pull_offsets.push(PullOffset {
                consumer: "consumer-1".into(),
                consumer_group: GROUP.into(),
                queue: queue(0),
                queue_offset: 3,
                ordinal,
            });
        })
    };
    assert_eq!(taken(61), "");
    assert_eq!(taken(59), idle, "before the reset");
}
