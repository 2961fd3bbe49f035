//! What stands on the disks at an acknowledgement, and at a fault.

use super::*;

#[test]
fn an_acknowledged_record_is_looked_for_on_the_masters_disk() {
    let stand = Stand::new();
    stand.write(&[M], 0);
    let fact = stand.acked(0);
    assert_eq!((fact.ack.held, fact.end_offset), (Held::PageCache, place(0).end));
    stand.sync(&[M]);
    assert_eq!(stand.acked(0).ack.held, Held::Platter);
    stand.write(&[M], 1);
    let fact = stand.acked(1);
    assert_eq!(fact.ack.held, Held::PageCache, "one sync is not the other's");
    let nowhere = stand.acked(3);
    assert_eq!(nowhere.ack.held, Held::Process, "nothing stands there");
    stand.stores[M].file.write(place(3).start as usize, &record_at(3, 3)[..200]);
    assert_eq!(stand.acked(3).ack.held, Held::Process, "a part of a record is none");
}

#[test]
fn what_the_device_damaged_is_no_fault_of_the_engines() {
    let stand = Stand::new();
    for number in 0..2 {
        stand.write(&[M, S], number);
    }
    stand.sync(&[M, S]);
    stand.damage(M, 0);
    let fact = stand.acked(0);
    assert!(fact.ack.held > Held::Process && fact.ack.copies[0].held.is_some(), "{fact:?}");
    stand.stores[M].file.write(place(1).start as usize + 100, b"bug");
    assert_eq!(stand.acked(1).ack.held, Held::Process, "damage elsewhere is no excuse");
}

#[test]
fn a_slaves_copy_counts_for_what_it_is() {
    let stand = Stand::new();
    stand.set(S, |slave| slave.acks.own = Held::Platter);
    stand.write(&[M, S], 0);
    stand.sync(&[M]);
    let [one, two] = stand.acked(0).ack.copies[..] else { panic!("two slaves") };
    assert_eq!((one.held, one.reports), (Some(Held::PageCache), Held::Platter));
    assert_eq!((two.held, two.reports), (None, Held::PageCache));
    stand.sync(&[S]);
    assert_eq!(stand.acked(0).ack.copies[0].held, Some(Held::Platter));
    assert_eq!((stand.owed_by(S), stand.owed_by(S2)), (vec![0], vec![]));
    // Another record at the same place is no copy.
    stand.write_at(&[S2], 0, 9);
    assert!(stand.acked(0).ack.copies[1].held.is_none());
    assert_eq!(stand.owed_by(S2), [] as [u32; 0]);
}

#[test]
fn a_report_may_be_under_way_for_two_seconds_and_for_what_the_slave_had() {
    let stand = Stand::new();
    for number in 0..2 {
        stand.write(&[M], number);
    }
    stand.write(&[S], 0);
    stand.at_ms(10_000);
    stand.ledger.slave_will_lose_pages(S, M, stand.trace.now_us());
    stand.stores[S].file.write(0, &[0; RECORD_BYTES as usize]);
    stand.at_ms(12_000);
    assert!(stand.acked(0).ack.copies[0].held.is_some());
    assert!(stand.acked(1).ack.copies[0].held.is_none(), "it never had that one");
    assert_eq!(stand.owed_by(S), [] as [u32; 0], "a report is no copy");
    stand.at_ms(12_001);
    assert!(stand.acked(0).ack.copies[0].held.is_none());
}

#[test]
fn a_sync_flush_slave_reports_no_more_than_it_has_synced() {
    let stand = Stand::new();
    for number in 0..2 {
        stand.write(&[M, S], number);
        if number == 0 {
            stand.sync(&[S]);
        }
    }
    stand.set(S, |slave| slave.acks.own = Held::Platter);
    stand.ledger.slave_will_lose_pages(S, M, 0);
    stand.stores[S].file.write(0, &[0; 2 * RECORD_BYTES as usize]);
    let reported = [0, 1].map(|place| stand.acked(place).ack.copies[0].held.is_some());
    assert_eq!(reported, [true, false]);
}

#[test]
fn a_record_is_as_old_as_its_append_and_belongs_to_the_last_acknowledgement() {
    let stand = Stand::new();
    stand.write(&[M], 0);
    stand.at_ms(5);
    stand.appended(0);
    stand.at_ms(9);
    let first = stand.acked(0);
    assert_eq!(first.appended_us, 5_000);
    // The place is used again after a cut.
    stand.write_at(&[M], 0, 7);
    stand.at_ms(20);
    stand.appended(0);
    let second = stand.acked(0);
    assert_eq!(second.appended_us, 20_000);
    let at = |ordinal| stand.ledger.ack_fact("a", 0, ordinal).map(|fact| fact.appended_us);
    assert_eq!(at(second.ack.ordinal + 1), Some(20_000));
    assert_eq!(at(second.ack.ordinal), Some(5_000));
    assert_eq!(at(first.ack.ordinal), None, "before it was given");
    let numbers = [first, second].map(|it| {
        stand.ledger.owed("a", 0, it.ack.ordinal + 1).and_then(|owed| owed.record.number)
    });
    assert_eq!(numbers, [Some(0), Some(7)]);
}

#[test]
fn only_put_ok_is_an_acknowledgement() {
    let stand = Stand::new();
    stand.write(&[M], 0);
    for status in ["FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE", "FLUSH_DISK_TIMEOUT"] {
        let (phy_offset, end_offset) = (Some(0), Some(RECORD_BYTES));
        stand.tell(M, TraceEvent::PutDone { phy_offset, end_offset, status: status.into() });
    }
    assert!(stand.ledger.ack_fact("a", 0, u64::MAX).is_none());
    assert!(stand.ledger.owed("a", 0, u64::MAX).is_none());
}

#[test]
fn what_waits_in_process_memory_is_nowhere() {
    let stand = Stand::new();
    stand.set(M, |master| master.uncommitted_ms_max = Some(200));
    stand.appended(0);
    let fact = stand.acked(0);
    assert_eq!(fact.ack.held, Held::Process);
    assert!(fact.ack.copies[0].held.is_none(), "blank beside blank is no copy");
    assert_eq!((stand.owed_by(M), stand.owed_by(S)), (vec![0], vec![]));
    let owed = stand.ledger.owed("a", 0, u64::MAX).unwrap();
    assert_eq!(owed.record.number, None);
}

#[test]
fn positions_are_where_the_disks_say() {
    let stand = Stand::new();
    for number in 0..4 {
        stand.write(&[M], number);
        if number == 1 {
            stand.sync(&[M]);
        }
    }
    for number in 0..3 {
        stand.write(&[S], number);
        if number == 0 {
            stand.sync(&[S]);
        }
    }
    // Of a page the first byte that differs counts: records begin alike, with their size.
    let within = |at: Option<u64>, number: u32| {
        let at = at.unwrap();
        assert!(place(number).contains(&at) && at < place(number).start + 32, "{at} in {number}");
    };
    let seen = stand.ledger.positions(M, Some(S));
    within(seen.master_synced_to, 2);
    within(seen.slave_received_to, 3);
    within(seen.slave_synced_to, 1);
    assert_eq!((seen.master_committed_to, seen.uncommitted_us_max), (None, 0));
    let alone = stand.ledger.positions(M, None);
    assert_eq!((alone.slave_received_to, alone.slave_synced_to), (None, None));
    stand.sync(&[M, S]);
    let seen = stand.ledger.positions(M, Some(S));
    assert_eq!(
        (seen.master_synced_to, seen.slave_synced_to),
        (Some(place(4).start), seen.slave_received_to)
    );
    stand.set(M, |master| master.uncommitted_ms_max = Some(200));
    let pooled = stand.ledger.positions(M, None);
    assert_eq!(
        (pooled.master_committed_to, pooled.uncommitted_us_max),
        (Some(place(4).start), 200_000)
    );
}

#[test]
fn rot_is_of_the_record_that_it_hit_and_of_the_time_before() {
    let stand = Stand::new();
    for number in 0..3 {
        stand.write(&[M], number);
    }
    stand.sync(&[M]);
    assert!(!stand.ledger.has_damage(M));
    stand.at_ms(10);
    stand.damage(M, 1);
    let is_rotten = |process, number, at_us| stand.ledger.is_rotten(process, &place(number), at_us);
    assert!(stand.ledger.has_damage(M) && is_rotten(M, 1, 10_000));
    assert!(!is_rotten(M, 0, 0) && !is_rotten(M, 2, 0), "its neighbours are sound");
    assert!(!is_rotten(M, 1, 10_001), "what was appended there later is sound");
    assert!(!stand.ledger.has_damage(S) && !is_rotten(S, 1, 0), "it was the master's disk");
}

#[test]
fn a_trigger_waits_for_what_no_slave_holds() {
    let stand = Stand::new();
    stand.write(&[M, S], 0);
    stand.write(&[M], 1);
    let unreplicated = |place: u32| {
        let at = self::place(place);
        let (phy_offset, end_offset, status) = (Some(at.start), Some(at.end), "PUT_OK".into());
        stand.tell(M, TraceEvent::PutDone { phy_offset, end_offset, status });
        stand.trace.read(|records| {
            stand.ledger.is_unreplicated_ack("a", records.last().expect("it was told"))
        })
    };
    assert_eq!([unreplicated(0), unreplicated(1)], [false, true]);
}

#[test]
fn copies_are_compared_but_for_the_bytes_that_a_device_damaged() {
    let stand = Stand::new();
    stand.write(&[M, S], 0);
    stand.sync(&[M, S]);
    stand.damage(M, 0);
    let (master, slave) = (stand.ledger.view(M), stand.ledger.view(S));
    let damaged = master.damaged_either(&slave);
    let bytes = [&master, &slave].map(|view| view.read_without(&damaged, place(0)));
    assert_eq!(bytes[0], bytes[1]);
    let sound = record_at(0, 0);
    let blanked = bytes[1].iter().zip(&sound).filter(|(one, other)| one != other).count();
    assert_eq!(blanked as u64, damaged.iter().map(|it| it.end - it.start).sum::<u64>());
    assert!(blanked > 0 && master.same_sound_bytes(&slave, place(0)));
    stand.write_at(&[S], 0, 9);
    assert!(!master.same_sound_bytes(&slave, place(0)), "that is another message");
}

#[test]
fn a_log_ends_where_nothing_was_written() {
    let stand = Stand::new();
    stand.write(&[M], 0);
    let view = stand.ledger.view(M);
    assert!(view.ends_at(place(0).end) && !view.ends_at(0));
    assert_eq!((view.walk().end, view.walk().records.len()), (place(0).end, 1));
}

#[test]
fn each_record_of_a_batch_is_looked_for_by_itself() {
    let stand = Stand::new();
    stand.set(S, |slave| slave.acks.own = Held::Platter);
    // Offsets that were used before a cut, at which nothing begins any more.
    stand.appended(7);
    for number in 0..3 {
        stand.write(&[M], number);
        stand.appended(number);
    }
    stand.write(&[S], 0);
    stand.sync(&[M, S]);
    let range = place(0).start..place(2).end;
    let (phy_offset, end_offset) = (Some(range.start), Some(range.end));
    let done = TraceEvent::PutDone { phy_offset, end_offset, status: "PUT_OK".into() };
    let ordinal = stand.tell(M, done);
    let fact = |number| stand.ledger.ack_fact("a", place(number).start, ordinal + 1).unwrap();
    for number in 0..3 {
        let fact = fact(number);
        assert_eq!((fact.ack.held, fact.end_offset), (Held::Platter, place(number).end));
        assert_eq!(fact.ack.copies[0].held.is_some(), number == 0, "the slave has the first");
    }
    assert_eq!((stand.owed_by(M), stand.owed_by(S)), (vec![0, 1, 2], vec![0]));
}
