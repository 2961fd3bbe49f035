//! CommitLog files made ahead of time.

use std::sync::atomic::Ordering;

use super::*;
use crate::config::FlushDiskType;
use crate::doctor::StoreDir;

const LEN: u64 = 192;
/// So many numbered messages fill a file.
const PER_FILE: u32 = 42;

fn log_files(machine: &Machine) -> Vec<String> {
    let entries = machine.disk.list(&machine.root().join("commitlog")).unwrap();
    entries.into_iter().map(|entry| entry.name.trim_start_matches('0').to_owned()).collect()
}

#[tokio::test]
async fn the_next_file_is_there_once_the_last_one_is_half_full() {
    let machine = Machine::with(|config| config.flush_disk_type = FlushDiskType::SyncFlush);
    let store = machine.open().await;
    put_numbers(&store, 0..21).await;
    assert_eq!(21 * LEN, 4032, "below the middle");
    tokio::task::yield_now().await;
    assert_eq!(log_files(&machine), [""]);
    put_numbers(&store, 21..22).await;
    until(|| log_files(&machine).len() == 2).await;
    let next = machine.log_file(LOG_FILE as u64);
    let dir = machine.root().join("commitlog");
    until(|| machine.disk.sync_count(&dir) == 2).await;
    tokio::task::yield_now().await;
    // It is taken by the roll, whose first sync has nothing else to sync.
    put_numbers(&store, 22..PER_FILE + 1).await;
    assert_eq!(store.commit_log().min_offset(), 0);
    assert_eq!(store.commit_log().max_offset(), LOG_FILE as u64 + LEN);
    let synced = (machine.disk.sync_count(&next), machine.disk.sync_count(&dir));
    assert_eq!(synced, (1, 2), "the flush behind the roll trusts it");
    assert_eq!(log_files(&machine), ["", "8192"]);
    store.shutdown().await;
}

#[tokio::test]
async fn an_unused_file_goes_with_an_orderly_end() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..30).await;
    until(|| log_files(&machine).len() == 2).await;
    store.shutdown().await;
    assert_eq!(log_files(&machine), [""]);
    let store = machine.open().await;
    assert_eq!(store.recovery().dropped_bytes, 0);
    until(|| log_files(&machine).len() == 2).await;
}

#[tokio::test]
async fn after_a_kill_it_is_dropped_or_taken_and_nothing_is_wrong() {
    for count in [30, PER_FILE + 30] {
        let machine = Machine::new();
        let store = machine.open().await;
        put_numbers(&store, 0..count).await;
        until_dispatched(&store).await;
        let files = count.div_ceil(PER_FILE) as usize + 1;
        until(|| log_files(&machine).len() == files).await;
        machine.kill(store).await;
        let doctor = StoreDir::open(Env::os().disk, &machine.root(), None).unwrap();
        let verdict = doctor.verify(&mut |_| {}).unwrap();
        assert!(verdict.is_sound(), "{verdict:?}");
        assert_eq!(verdict.max_phy_offset % LOG_FILE as u64, 30 * LEN);
        let mut listing = Vec::new();
        doctor.list(&mut listing, &mut |_| {}).unwrap();
        assert!(!String::from_utf8_lossy(&listing).contains("torn"));
        drop(doctor);
        let store = machine.open().await;
        let found = store.recovery();
        assert_eq!((found.dropped_bytes, found.dropped.len()), (0, 0), "{found:?}");
        assert_eq!(read_numbers(&store), (0..count).collect::<Vec<_>>());
        until(|| log_files(&machine).len() == files).await;
        put_numbers(&store, count..count + 60).await;
        until_dispatched(&store).await;
        assert_eq!(read_numbers(&store), (0..count + 60).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn no_room_ahead_of_time_is_nobodys_error() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..20).await;
    machine.disk.is_full.store(true, Ordering::Relaxed);
    put_numbers(&store, 20..30).await;
    until(|| machine.disk.refused.load(Ordering::Relaxed) > 0).await;
    assert_eq!(log_files(&machine), [""], "what could not be made is not left behind");
    put_numbers(&store, 30..31).await;
    until(|| machine.disk.refused.load(Ordering::Relaxed) > 1).await;
    machine.disk.is_full.store(false, Ordering::Relaxed);
    put_numbers(&store, 31..32).await;
    until(|| log_files(&machine).len() == 2).await;
    put_numbers(&store, 32..100).await;
    until_dispatched(&store).await;
    assert_eq!(read_numbers(&store), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cut_takes_it_away_where_it_lies_apart() {
    for (to, left) in [(10 * LEN, vec![""]), (LOG_FILE as u64 + 2 * LEN, vec!["", "8192", "16384"])]
    {
        let machine = Machine::new();
        let store = machine.open().await;
        put_numbers(&store, 0..PER_FILE + 30).await;
        until_dispatched(&store).await;
        until(|| log_files(&machine).len() == 3).await;
        store.truncate_to(to, "test").await.unwrap();
        assert_eq!(log_files(&machine), left);
        let kept = read_numbers(&store).len() as u32;
        put_numbers(&store, kept..200).await;
        until_dispatched(&store).await;
        assert_eq!(read_numbers(&store), (0..200).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn none_is_made_while_a_cut_is_not_settled() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..PER_FILE + 10).await;
    until_dispatched(&store).await;
    until(|| log_files(&machine).len() == 2).await;
    // The second file goes, and its name with it, but not at once.
    machine.disk.hold(LOG_FILE);
    let cut = store.truncate_to(30 * LEN, "test");
    let meanwhile = async {
        until(|| store.commit_log().max_offset() == 30 * LEN).await;
        store.log.ahead_trigger.fire();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        machine.disk.release();
    };
    let (cut, ()) = futures::future::join(cut, meanwhile).await;
    cut.unwrap();
    until(|| log_files(&machine).len() == 2).await;
    put_numbers(&store, 30..100).await;
    until_dispatched(&store).await;
    machine.kill(store).await;
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..100).collect::<Vec<_>>(), "in files that have names");
}

#[tokio::test]
async fn a_new_beginning_leaves_it_behind() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..30).await;
    until(|| log_files(&machine).len() == 2).await;
    let aside = machine.aside();
    store.reset_to(5 * LOG_FILE as u64, &aside).await.unwrap();
    assert_eq!(log_files(&machine), ["40960"]);
    let kept = machine.disk.list(&aside).unwrap();
    assert_eq!(kept.len(), 1, "a file of zeros is nothing to keep");
    put_numbers(&store, 0..30).await;
    until(|| log_files(&machine) == ["40960", "49152"]).await;
}

#[tokio::test]
async fn a_failed_sync_of_an_unused_file_costs_the_file() {
    let machine = Machine::new();
    let store = machine.open().await;
    let next = machine.log_file(LOG_FILE as u64);
    put_numbers(&store, 0..20).await;
    until_dispatched(&store).await;
    machine.disk.fail_next_sync(&next);
    put_numbers(&store, 20..30).await;
    until(|| machine.disk.sync_count(&next) > 0).await;
    until(|| log_files(&machine) == [""]).await;
    assert!(store.is_writeable());
    put_numbers(&store, 30..31).await;
    until(|| log_files(&machine).len() == 2).await;
}

#[tokio::test]
async fn a_failed_sync_of_a_file_that_was_taken_meanwhile_is_final() {
    let machine = Machine::new();
    let store = machine.open().await;
    let next = machine.log_file(LOG_FILE as u64);
    machine.disk.hold_sync(&next);
    put_numbers(&store, 0..30).await;
    until(|| machine.disk.sync_count(&next) > 0).await;
    put_numbers(&store, 30..PER_FILE + 1).await;
    machine.disk.fail_next_sync(&next);
    machine.disk.release();
    until(|| !store.is_writeable()).await;
    assert!(store.commit_log().is_poisoned());
}
