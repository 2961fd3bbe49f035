//! What faults and acts take from custody, by what the disks show just before.

use super::*;

/// Three records that are acknowledged: the first is synced at all, the second at the master and received
/// by the first slave, the third written at the master alone.
fn three_records() -> Stand {
    let stand = Stand::new();
    stand.write(&[M, S, S2], 0);
    stand.sync(&[M, S, S2]);
    stand.write(&[M, S], 1);
    stand.sync(&[M]);
    stand.write(&[M], 2);
    for place in 0..3 {
        stand.appended(place);
        stand.acked(place);
    }
    stand
}

#[test]
fn a_power_loss_takes_what_no_sync_covered_and_nothing_else() {
    let stand = three_records();
    stand.turn(Turn::PowerLoss, M);
    assert_eq!(stand.owed_by(M), [0, 1]);
    assert_eq!((stand.owed_by(S), stand.owed_by(S2)), (vec![0, 1], vec![0]), "others are not hit");
    stand.turn(Turn::PowerLoss, S);
    assert_eq!(stand.owed_by(S), [0]);
}

#[test]
fn a_kill_takes_nothing_that_is_in_the_file() {
    let stand = three_records();
    stand.turn(Turn::Kill, M);
    assert_eq!(stand.owed_by(M), [0, 1, 2]);
}

#[test]
fn a_destroyed_disk_takes_everything_of_that_copy() {
    let stand = three_records();
    stand.turn(Turn::DiskDestroyed, M);
    assert_eq!((stand.owed_by(M), stand.owed_by(S)), (vec![], vec![0, 1]));
}

#[test]
fn a_promotion_passes_over_only_what_the_promoted_one_does_not_owe() {
    let stand = three_records();
    stand.turn(Turn::Leads, S);
    assert_eq!((stand.owed_by(S), stand.owed_by(M)), (vec![0, 1], vec![0, 1]));
    stand.turn(Turn::Leads, S2);
    assert_eq!((stand.owed_by(S2), stand.owed_by(S)), (vec![0], vec![0]));
}

#[test]
fn a_copy_owes_what_it_got_after_the_acknowledgement_while_it_runs() {
    let mut stand = three_records();
    stand.write(&[S2], 1);
    stand.turn(Turn::Kill, M);
    assert_eq!(stand.owed_by(S2), [0, 1]);
    stand.running.remove(S2);
    stand.write(&[S2], 2);
    stand.turn(Turn::Kill, M);
    assert_eq!(stand.owed_by(S2), [0, 1], "no process works on that one");
}

#[test]
fn another_message_at_the_place_is_no_copy() {
    let stand = three_records();
    stand.write_at(&[S2], 1, 9);
    stand.turn(Turn::Kill, M);
    assert_eq!(stand.owed_by(S2), [0]);
}

#[test]
fn a_slave_that_drops_what_its_master_owes_owes_it_still() {
    let stand = three_records();
    stand.stores[S].file.write(place(1).start as usize, &[0; RECORD_BYTES as usize]);
    stand.turn(Turn::Kill, S);
    assert_eq!(stand.owed_by(S), [0, 1]);
    stand.turn(Turn::PowerLoss, M);
    stand.stores[M].file.write(place(2).start as usize, &[0; RECORD_BYTES as usize]);
    stand.turn(Turn::Leads, M);
    // Of what the master no longer owes it may be rid.
    stand.write(&[S], 1);
    stand.write(&[S], 2);
    stand.turn(Turn::Kill, S);
    assert_eq!(stand.owed_by(S), [0, 1, 2]);
    stand.stores[S].file.write(place(2).start as usize, &[0; RECORD_BYTES as usize]);
    stand.turn(Turn::Kill, S);
    assert_eq!(stand.owed_by(S), [0, 1]);
}

/// A record that only the process of a master with a transient store pool has, for 200 ms at most.
fn in_memory(paused_us: u64) -> Stand {
    let mut stand = Stand::new();
    stand.paused_us = paused_us;
    stand.set(M, |master| master.uncommitted_ms_max = Some(200));
    stand.at_ms(1_000);
    stand.appended(0);
    stand.acked(0);
    stand
}

#[test]
fn a_kill_takes_what_may_still_wait_in_memory() {
    for turn in [Turn::Kill, Turn::PowerLoss] {
        let owed_after = |ms: u64, paused_us: u64| {
            let stand = in_memory(paused_us);
            stand.at_ms(1_000 + ms);
            stand.turn(turn, M);
            stand.owed_by(M)
        };
        assert_eq!(owed_after(200, 0), [] as [u32; 0], "{turn:?}");
        assert_eq!(owed_after(201, 0), [0], "{turn:?}: by then it should have been committed");
        assert_eq!(owed_after(201, 1_000), [] as [u32; 0], "{turn:?}: the process stood still");
    }
}

#[test]
fn without_a_pool_nothing_waits_in_memory() {
    let stand = Stand::new();
    stand.appended(0);
    stand.acked(0);
    stand.turn(Turn::Kill, M);
    assert_eq!(stand.owed_by(M), [0], "a record that is nowhere was not taken by the kill");
}

#[test]
fn damage_takes_the_records_that_it_hit_from_that_copy() {
    let stand = three_records();
    stand.sync(&[S]);
    stand.at_ms(7);
    stand.damage(M, 1);
    assert_eq!((stand.owed_by(M), stand.owed_by(S)), (vec![0, 2], vec![0, 1]));
    // What came to stand there afterwards is as good as any.
    stand.at_ms(8);
    stand.write(&[M], 1);
    stand.appended(1);
    stand.acked(1);
    stand.damage(M, 0);
    assert_eq!(stand.owed_by(M), [1, 2]);
}
