//! What is said of a message that did not come: every word of it is a fact of the history.

use staticfire_judge::history::{GroupOffset, LocalTransaction, OffsetStep, PullOffset};
use staticfire_world::trace::Name;

use super::super::trail;
use super::*;

/// How the group came past offset 1 of queue 0.
fn past(doctor: impl FnOnce(&mut History)) -> String {
    let mut history = History::default();
    doctor(&mut history);
    let text = trail::past(&history, &GROUP.into(), &queue(0), 1);
    let told = text.strip_prefix("a Orders queue 0 has it at 1, and ");
    told.unwrap_or_else(|| panic!("{text}")).to_owned()
}

fn reads(history: &mut History, consumer_group: &str, queue_offset: u64, ordinal: u64) {
    history.pull_offsets.push(PullOffset {
        consumer: "consumer-1".into(),
        consumer_group: consumer_group.into(),
        queue: queue(0),
        queue_offset,
        ordinal,
    });
}

fn offset(history: &mut History, step: OffsetStep, queue_offset: u64, ordinal: u64) {
    let offset = GroupOffset { step, queue_offset, at_us: ordinal * 1_000, ordinal };
    history.note_group_offset((GROUP.into(), queue(0)), offset);
}

#[test]
fn whoever_came_first_past_a_place_is_named() {
    let read = |history: &mut History| reads(history, GROUP, 2, 30);
    assert_eq!(past(read), "consumer-1 read that queue from 2 on (#30)");
    let both = |ordinal| {
        move |history: &mut History| {
            read(history);
            offset(history, OffsetStep::Committed, 5, ordinal);
        }
    };
    assert_eq!(past(both(40)), "consumer-1 read that queue from 2 on (#30)");
    assert_eq!(past(both(20)), "orders committed 5 (#20): nobody had read it");
    let owner = |history: &mut History| {
        reads(history, GROUP, 0, 10);
        reads(history, GROUP, 1, 15);
        offset(history, OffsetStep::Committed, 1, 16);
        offset(history, OffsetStep::Told, 7, 17);
        offset(history, OffsetStep::Committed, 5, 20);
        reads(history, GROUP, 0, 25);
    };
    assert_eq!(past(owner), "orders committed 5 (#20): consumer-1 had read it from 1 on");
}

#[test]
fn whoever_never_came_past_a_place_is_told_of_as_far_as_he_came() {
    assert_eq!(past(|_| ()), "nobody of orders took that queue");
    assert_eq!(past(|history| reads(history, AUDIT, 2, 30)), "nobody of orders took that queue");
    let nothing = |history: &mut History| {
        reads(history, GROUP, 0, 10);
        history.deliveries.push(delivery(AUDIT, 0, 0));
    };
    let read = "consumer-1 read from 0 on (#10); orders";
    assert_eq!(past(nothing), format!("{read} was given nothing there"));
    let something = |history: &mut History| {
        nothing(history);
        history.deliveries.push(delivery(GROUP, 0, 0));
    };
    assert_eq!(past(something), format!("{read} was given 0 last there (#50)"));
}

#[test]
fn a_record_that_was_to_be_appended_again_says_so() {
    let ledger = owing(&["a"]);
    let mut history = History::default();
    let sent = send(1);
    let owed = ledger.owed("a", 100, 11);
    let told = |history: &History, again: &[&str]| {
        trail::custody(history, &sent, owed.as_ref(), &again.iter().copied().collect())
    };
    assert_eq!(
        trail::custody(&history, &sent, None, &BTreeSet::new()),
        "no broker gave that SEND_OK"
    );
    let plain = told(&history, &["Payments"]);
    assert_eq!(told(&history, &[TOPIC]), format!("{plain}; no queue of Orders got it from there"));
    history.transactions.insert(1, LocalTransaction::RolledBack);
    assert_eq!(told(&history, &[TOPIC]), plain);
    history.transactions.insert(1, LocalTransaction::Committed { ordinal: 77 });
    let committed = "its local transaction was committed (#77), and no queue of Orders has it";
    assert_eq!(told(&history, &[TOPIC]), format!("{plain}; {committed}"));
}

#[test]
fn what_was_read_and_what_was_refused_is_quoted() {
    let mut history = story().history;
    let place = |queue_id| Place { queue: queue(queue_id), queue_offset: 9, phy_offset: 900 };
    assert_eq!(trail::reading(&history, &place(1)), "a Orders queue 1 was not read");
    let read = "a Orders queue 0, where it was put at 9, was read from 0 to 3";
    assert_eq!(trail::reading(&history, &place(0)), read);

    assert_eq!(trail::refused(&history, 0), "");
    for (number, ended_us) in [(4, 4_000_000), (5, 6_000_000)] {
        let status: Name = "SERVICE_NOT_AVAILABLE".into();
        let outcome = Outcome::Rejected(Name::clone(&status));
        history.sends.push(SendOp { outcome, status, ended_us, ..send(number) });
    }
    let last = "; message 5 got SERVICE_NOT_AVAILABLE at 6.000 s (#15)";
    assert_eq!(trail::refused(&history, 4_500_000), last);
    assert_eq!(trail::refused(&history, 6_000_000), "", "before the heal");
}
