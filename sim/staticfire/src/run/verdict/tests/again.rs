//! Doctored stories of messages that came again, or did not.

use staticfire_judge::history::{GivenBack, Subscribed};

use super::*;

pub(super) fn failure(number: u32) -> GivenBack {
    GivenBack {
        number,
        consumer: "consumer-1".into(),
        consumer_group: GROUP.into(),
        group: "a".into(),
        delivered: 50,
        is_last: false,
        ordinal: 60,
    }
}

/// Message 1 was given back and never came again; its own record is where it was.
fn give_back(story: &mut Story) {
    story.ledger = owing(&["a", "a-s"]);
    story.history.given_back.push(failure(1));
}

/// What is found, but that the empty disks of the ledger hold no record.
fn complaint(promise: &str, doctor: impl FnOnce(&mut Story)) -> String {
    let (_, texts) = found(promise, doctor);
    let texts = texts.into_iter().filter(|it| !it.contains("without the record in the log"));
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_was_given_back_comes_again() {
    let text = complaint("owed", give_back);
    let wanted = "message 1, given back by orders, never came again: no broker stored it";
    assert!(text.contains(wanted), "{text}");
    let text = complaint("owed", |story| {
        give_back(story);
        let mut again = delivery(GROUP, 1, 0);
        (again.queue.topic, again.ordinal) = ("%RETRY%orders".into(), 70);
        story.history.deliveries.push(again);
    });
    assert_eq!(text, "");
}

/// Brokers ask expressions of retries if they are told to: what a group does not want any more does not come again then.
#[test]
fn what_a_group_has_given_back_and_does_not_want_any_more_may_be_kept_back() {
    let text = |properties: &str, until_us: Option<u64>, by_properties: bool, refused: u32| {
        let (_, texts) = found_with("owed", properties, |story| {
            give_back(story);
            story.history.watch.listener_ends.insert(failure(1).delivered, 100);
            let refused = [refused].into();
            let since = Subscribed { from_us: 90, until_us, refused, by_properties };
            story.history.changed_filters.insert(GROUP.into(), vec![Subscribed::default(), since]);
        });
        let is_told = texts.iter().any(|it| it.contains("given back by orders, never came again"));
        is_told.then(|| texts.join("\n"))
    };
    let filtering = "filterSupportRetry = \"true\"\n";
    assert_eq!(text(filtering, None, true, 1), None);
    assert_eq!(text(filtering, Some(100), true, 1), None, "it was under way");
    assert!(text("", None, true, 1).is_some(), "brokers ask nothing of retries");
    assert!(text(filtering, Some(99), true, 1).is_some(), "it was over before");
    assert!(text(filtering, None, false, 1).is_some(), "nobody asks tags of retries");
    assert!(text(filtering, None, true, 2).is_some(), "it lets this one pass");
}

#[test]
fn what_the_story_left_behind_is_no_redelivery_that_failed() {
    let place = || (GROUP.into(), "a".into());
    let text = complaint("owed", |story| {
        give_back(story);
        story.cut_off.insert(place(), Absence::Unreached("cut off".to_owned()));
    });
    assert_eq!(text, "undecided: messages given back to a wait for orders (1): cut off");
    let text = complaint("owed", |story| {
        give_back(story);
        story.cut_off.insert(place(), Absence::NobodyLeft("killed".to_owned()));
    });
    assert!(text.contains("nobody of it is left: killed"), "{text}");
    // Nor of one that nobody acknowledged, and that is gone.
    let text = complaint("owed", |story| {
        give_back(story);
        story.history.sends[1].outcome = Outcome::Unknown("SLAVE_NOT_AVAILABLE".into());
        reading(story).messages.remove(1);
        story.groups[0].stored.remove(&1);
    });
    assert!(!text.contains("given back"), "{text}");
    // Of a message that is lost itself nothing can come again.
    let text = complaint("owed", |story| {
        lose_the_last(story);
        story.history.given_back.push(failure(2));
    });
    assert_eq!(text, "");
}

#[test]
fn a_message_comes_twice_only_with_a_cause() {
    let twice = |story: &mut Story| {
        let again = Delivery { ordinal: 70, ..delivery(GROUP, 1, 1) };
        story.history.deliveries.push(again);
    };
    let text = complaint("owed", twice);
    assert!(text.contains("orders got k000001 twice without a cause"), "{text}");
    let text = complaint("owed", |story| {
        twice(story);
        story.history.pull_offsets.push(staticfire_judge::history::PullOffset {
            consumer: "consumer-1".into(),
            consumer_group: GROUP.into(),
            queue: queue(0),
            queue_offset: 1,
            ordinal: 65,
        });
    });
    assert_eq!(text, "");
}
