//! Dispatches, cuts and removals, judged by the disk at that instant.

use super::*;

const HOUR_US: u64 = 3_600_000_000;

fn dispatched(stand: &Stand, number: u32) {
    stand.tell(
        M,
        TraceEvent::Dispatched {
            phy_offset: place(number).start,
            topic: "T".into(),
            queue_id: 0,
            queue_offset: u64::from(number),
        },
    );
}

fn cut_to(stand: &Stand, end: u64) {
    stand.tell(M, TraceEvent::Truncated { from: end, to: end, reason: "cut".into() });
}

#[test]
fn under_sync_flush_what_is_dispatched_is_synced() {
    let stand = Stand::new();
    stand.write(&[M], 0);
    dispatched(&stand, 0);
    assert_eq!(stand.observed(), [] as [String; 0], "ASYNC_FLUSH shows at once");
    stand.set(M, |master| master.acks.own = Held::Platter);
    dispatched(&stand, 0);
    stand.sync(&[M]);
    dispatched(&stand, 0);
    let [found] = &stand.observed()[..] else { panic!("{:?}", stand.observed()) };
    assert!(found.contains("visible before the sync"), "{found}");
}

#[test]
fn what_waits_in_process_memory_is_not_dispatched() {
    let stand = Stand::new();
    stand.set(M, |master| master.uncommitted_ms_max = Some(200));
    dispatched(&stand, 0);
    stand.write(&[M], 0);
    dispatched(&stand, 0);
    let [found] = &stand.observed()[..] else { panic!("{:?}", stand.observed()) };
    assert!(found.contains("visible before the commit"), "{found}");
}

#[test]
fn behind_a_cut_there_is_nothing_left() {
    let stand = Stand::new();
    stand.write(&[M], 0);
    stand.sync(&[M]);
    cut_to(&stand, place(0).end);
    assert_eq!(stand.observed(), [] as [String; 0]);
    cut_to(&stand, 0);
    // Zeroed in the page cache alone: a power loss would bring the record back.
    stand.stores[M].file.write(0, &[0; RECORD_BYTES as usize]);
    cut_to(&stand, 0);
    stand.sync(&[M]);
    cut_to(&stand, 0);
    let found = stand.observed();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|it| it.contains("a cut that is not on the disk")), "{found:?}");
}

/// A log of two files, of which the first was written last at the first second.
fn two_files(reserved_us: u64, forcibly_above_percent: Option<u64>) -> Stand {
    let stand = Stand::new();
    stand.set(M, |master| {
        master.retention = Retention { reserved_us, forcibly_above_percent };
    });
    stand.at_ms(1_000);
    stand.write(&[M], 0);
    stand.appended(0);
    let master = &stand.stores[M];
    let _second = master.handle.map(&path(FILE_BYTES), FILE_BYTES as usize).unwrap();
    stand
}

fn removes(stand: &Stand, from: u64) -> Option<String> {
    let before = stand.observed().len();
    stand.stores[M].handle.remove(&path(from)).unwrap();
    let file = path(from).display().to_string();
    stand.tell(M, TraceEvent::Expired { file: file.as_str().into(), reason: "old".into() });
    stand.observed().get(before).cloned()
}

#[test]
fn a_file_goes_when_it_is_old_and_what_it_held_has_expired() {
    let stand = two_files(HOUR_US, None);
    assert_eq!(stand.ledger.expired_to(M), 0, "nothing has yet");
    stand.at_ms(1_000 + HOUR_US / 1_000);
    assert_eq!(removes(&stand, 0), None);
    assert_eq!(stand.ledger.expired_to(M), FILE_BYTES);
    assert_eq!(stand.ledger.expired_to(S), 0, "the slave has its own");
}

#[test]
fn a_file_that_goes_too_early_is_found_by_its_last_write() {
    let stand = two_files(HOUR_US, None);
    stand.at_ms(1_000 + HOUR_US / 1_000 - 1);
    let found = removes(&stand, 0).expect("it is a millisecond too young");
    assert!(found.contains("too early: it was written 3599 s before"), "{found}");
}

#[test]
fn the_clock_of_its_machine_says_how_old_a_file_is() {
    let hour_ms = HOUR_US / 1_000;
    let ahead = two_files(HOUR_US, None);
    ahead.stores[M].clock.jump(hour_ms as i64);
    assert_eq!(removes(&ahead, 0), None, "an hour has passed there");
    let back = || {
        let stand = two_files(HOUR_US, None);
        stand.stores[M].clock.jump(-1_000);
        stand
    };
    let written_before = back();
    written_before.at_ms(1_000 + hour_ms);
    let found = removes(&written_before, 0).expect("by its clock a second is missing");
    assert!(found.contains("too early: it was written 3599 s before"), "{found}");
    // What had not reached the disk got its time when it did.
    let dirty = back();
    dirty.ledger.clock_was_set(M, 1_000_000);
    dirty.at_ms(1_000 + hour_ms);
    assert_eq!(removes(&dirty, 0), None);
}

#[test]
fn what_a_slave_received_is_a_write_as_well() {
    let stand = two_files(HOUR_US, None);
    stand.at_ms(5_000);
    stand.tell(M, TraceEvent::HaReceived { from: 0, to: RECORD_BYTES });
    stand.at_ms(1_000 + HOUR_US / 1_000);
    let found = removes(&stand, 0).expect("it was written four seconds later");
    assert!(found.contains("too early: it was written 3596 s before"), "{found}");
}

#[test]
fn space_is_a_reason_only_where_the_disk_is_full() {
    // Of sixteen files that the disk has room for two are mapped; before, there was the one that went.
    let found = removes(&two_files(HOUR_US, Some(85)), 0).expect("there was space");
    assert!(found.contains("too early"), "{found}");
    assert_eq!(removes(&two_files(HOUR_US, Some(18)), 0), None, "19 % were used before it went");
    assert!(removes(&two_files(HOUR_US, Some(19)), 0).is_some());
}

#[test]
fn files_go_from_the_front() {
    let found = removes(&two_files(0, None), FILE_BYTES).expect("the second one went first");
    assert!(found.contains("the log begins at 0, before it"), "{found}");
    let stand = two_files(0, None);
    assert_eq!(removes(&stand, 0), None);
    assert!(removes(&stand, FILE_BYTES).expect("that was the last").contains("the last file went"));
}

#[test]
fn only_what_was_acknowledged_before_a_removal_has_expired_by_it() {
    let stand = two_files(0, None);
    let before = stand.acked(0);
    assert_eq!(removes(&stand, 0), None);
    // The disk is destroyed, and the log begins anew at offset 0.
    stand.turn(Turn::DiskDestroyed, M);
    assert_eq!(stand.ledger.expired_to(M), 0, "of the new log nothing has expired");
    let after = stand.acked(0);
    let has_expired =
        |process, fact: &AckFact, end| stand.ledger.has_expired(process, end, fact.ack.ordinal);
    assert!(has_expired(M, &before, RECORD_BYTES) && has_expired(M, &before, FILE_BYTES));
    assert!(!has_expired(M, &after, RECORD_BYTES), "it lies in a log that is whole");
    assert!(!has_expired(M, &before, FILE_BYTES + 1), "the next file was not removed");
    assert!(!has_expired(S, &before, RECORD_BYTES), "the slave removed nothing");
}
