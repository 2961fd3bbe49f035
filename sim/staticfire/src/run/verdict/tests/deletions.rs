//! Doctored stories of topics that an operator had deleted.

use staticfire_judge::check::replicas::{IndexedRecord, Unit};
use staticfire_judge::history::{DELETION_NUMBER, TopicDeletion};
use staticfire_judge::ledger::FoundRecord;

use super::brokers::owing_again;
use super::*;

fn record(phy_offset: u64, number: u32) -> FoundRecord {
    let unit = Unit { phy_offset, size_bytes: 100, tags_code: 0 };
    let indexed = IndexedRecord { topic: TOPIC.into(), queue_id: 0, queue_offset: 0, unit };
    FoundRecord { indexed, number: Some(number) }
}

/// The operator had the topic deleted, and the log says so at `phy_offset`.
fn delete(story: &mut Story, phy_offset: u64) {
    let (topic, group) = (TOPIC.into(), "a".into());
    let (at_us, ordinal, ended_us, ended) = (10_000, 60, 20_000, 70);
    story.history.deletions.push(TopicDeletion {
        topic,
        group,
        asked: 1,
        is_confirmed: true,
        at_us,
        ordinal,
        ended_us,
        ended,
    });
    say(story, phy_offset);
}

/// The log says at `phy_offset` that the topic was deleted.
fn say(story: &mut Story, phy_offset: u64) {
    let below = (0..3).map(|number| (u64::from(number) * 100, number));
    let below = below.filter(|(at, _)| *at < phy_offset);
    let group = &mut story.groups[0];
    group.deleted.records = below.map(|(at, number)| record(at, number)).collect();
    group.deleted.deletions = vec![record(phy_offset, DELETION_NUMBER)];
    for gone in &group.deleted.records {
        group.stored.retain(|number| Some(*number) != gone.number);
    }
}

/// Nobody finds a message any more.
fn lose(story: &mut Story, numbers: std::ops::Range<u32>) {
    story.ledger = owing(&["a", "a-s"]);
    story.groups[0].stored.retain(|number| !numbers.contains(number));
    let reading = story.history.read_back.get_mut(&queue(0)).unwrap();
    reading.messages.retain(|it| it.number.is_none_or(|number| !numbers.contains(&number)));
    (reading.min_offset, reading.max_offset) = (0, 0);
    if reading.messages.is_empty() {
        story.history.read_back.clear();
    }
}

fn told(doctor: impl FnOnce(&mut Story)) -> String {
    let (_, texts) = found("never", doctor);
    let texts = texts.into_iter().filter(|it| !it.contains("without the record in the log"));
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_lay_in_a_deleted_topic_is_counted_and_lost_to_nobody() {
    let text = told(|story| {
        lose(story, 0..3);
        delete(story, 300);
    });
    assert_eq!(text, "shown: messages of a deleted with their topic: 3");
}

#[test]
fn what_lay_behind_a_deletion_is_lost() {
    let text = told(|story| {
        lose(story, 0..3);
        delete(story, 150);
    });
    assert!(text.contains("acknowledged message 2 is lost"), "{text}");
    assert!(!text.contains("message 1 is lost"), "{text}");
    assert!(text.contains("messages of a deleted with their topic: 2"), "{text}");
}

#[test]
fn a_deletion_that_nobody_asked_for_excuses_nothing() {
    let text = told(|story| {
        lose(story, 0..3);
        say(story, 300);
    });
    assert!(text.contains("which nobody had asked for"), "{text}");
    assert!(text.contains("acknowledged message 0 is lost"), "{text}");
    let of_another_topic = told(|story| {
        lose(story, 0..3);
        delete(story, 300);
        story.groups[0].deleted.deletions[0].indexed.topic = "Payments".into();
    });
    assert!(of_another_topic.contains("acknowledged message 0 is lost"), "{of_another_topic}");
}

#[test]
fn what_was_deleted_and_is_there_again_is_found() {
    let text = told(|story| {
        story.ledger = owing(&["a", "a-s"]);
        delete(story, 0);
        story.groups[0].deleted = DeletedInLog::default();
    });
    assert!(text.contains("3 of 3 messages are there again"), "{text}");
}

/// What consumers gave back lies in other topics, and stays.
#[test]
fn a_redelivery_outlives_the_topic_of_its_message() {
    let text = |ledger: fn() -> Ledger, again: Option<u64>| {
        told(|story| {
            lose(story, 0..3);
            story.ledger = ledger();
            delete(story, 300);
            story.history.given_back.push(super::again::failure(1));
            story.history.deliveries.extend(again.map(|ordinal| {
                let mut again = Delivery { ordinal, ..delivery(GROUP, 1, 0) };
                again.queue.topic = "%RETRY%orders".into();
                again
            }));
        })
    };
    let deleted = "shown: messages of a deleted with their topic: 3";
    assert_eq!(text(|| owing(&["a"]), None), deleted, "it went before it was stored again");
    let stored_again = || owing_again(1, GROUP);
    let lost = text(stored_again, None);
    let wanted = "message 1, given back by orders, never came again, and nothing took it";
    assert!(lost.contains(wanted), "{lost}");
    assert_eq!(text(stored_again, Some(200)), deleted);
    // What was stored of another message, or for another group, is none of it.
    assert_eq!(text(|| owing_again(2, GROUP), None), deleted);
    assert_eq!(text(|| owing_again(1, AUDIT), None), deleted);
}
