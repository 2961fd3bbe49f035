//! The index: what queries find, and that every restart leaves what a rebuild would.

use std::time::Duration;

use mq_env::disk::DirEntry;
use mq_mapped_file::SelectedBuffer;

use super::*;
use crate::checkpoint::StoreCheckpoint;
use crate::durable_mark::DurableMark;

/// Messages with two keys each, of which one is shared by ten.
async fn put_keyed(store: &MessageStore, range: Range<u32>) {
    for number in range {
        let mut message = message(&numbered(number));
        if !number.is_multiple_of(7) {
            message.properties =
                format!("KEYS\u{1}k{number}  shared{}\u{2}UNIQ_KEY\u{1}u{number}", number / 10);
        }
        store.put_message(&message).await;
    }
    until_dispatched(store).await;
}

fn index_dir(machine: &Machine) -> PathBuf {
    machine.root().join("index")
}

fn index_files(machine: &Machine) -> Vec<Vec<u8>> {
    let names = machine.disk.list(&index_dir(machine)).unwrap_or_default();
    let read = |entry: &DirEntry| machine.disk.read(&index_dir(machine).join(&entry.name)).unwrap();
    names.iter().map(read).collect()
}

/// Opens the store and compares its index with one made from the log alone.
async fn check_against_rebuild(machine: &Machine, what: &str) {
    let store = machine.open().await;
    machine.kill(store).await;
    let found = index_files(machine);
    for entry in machine.disk.list(&index_dir(machine)).unwrap() {
        machine.disk.remove(&index_dir(machine).join(entry.name)).unwrap();
    }
    machine.disk.remove(&machine.root().join("durable")).unwrap();
    machine.disk.remove(&machine.root().join("checkpoint")).unwrap();
    let store = machine.open().await;
    machine.kill(store).await;
    let rebuilt = index_files(machine);
    assert!(!rebuilt.is_empty());
    assert_eq!(found.len(), rebuilt.len(), "{what}");
    for (index, (found, rebuilt)) in found.iter().zip(&rebuilt).enumerate() {
        let differs = found.iter().zip(rebuilt).position(|(found, rebuilt)| found != rebuilt);
        assert_eq!(differs, None, "{what}: file {index}");
    }
}

fn numbers_of(store: &MessageStore, key: &str, max_num: usize, times: Range<i64>) -> Vec<u32> {
    let found = store.query_message("T", key, max_num, times.start, times.end);
    let number = |record: &SelectedBuffer| {
        let body = decode_record(record).unwrap().body();
        u32::from_be_bytes(*body.first_chunk().unwrap())
    };
    found.messages.iter().map(number).collect()
}

#[tokio::test]
async fn messages_are_found_by_key_and_time() {
    let machine = Machine::new();
    let store = machine.open().await;
    let mut times = Vec::new();
    for number in 0..100 {
        put_keyed(&store, number..number + 1).await;
        times.push(machine.clock.now_millis() as i64);
        machine.clock.advance(1_000);
    }
    assert!(index_files(&machine).len() > 2);
    let all = 0..i64::MAX;
    for key in ["k45", "u45"] {
        assert_eq!(numbers_of(&store, key, 32, all.clone()), [45]);
    }
    assert!(numbers_of(&store, "k49", 32, all.clone()).is_empty());
    assert!(numbers_of(&store, "k100", 32, all.clone()).is_empty());
    let shared = [50, 51, 52, 53, 54, 55, 57, 58, 59];
    assert_eq!(numbers_of(&store, "shared5", 32, all.clone()), shared);
    assert_eq!(numbers_of(&store, "shared5", 3, all.clone()), shared[6..]);
    assert!(numbers_of(&store, "shared5", 0, all).is_empty());
    assert_eq!(numbers_of(&store, "shared5", 32, times[52]..times[55]), shared[2..6]);
    assert!(numbers_of(&store, "shared5", 32, times[60]..times[70]).is_empty());
    let found = store.query_offset("T", "k45", 32, 0, i64::MAX);
    let end = store.commit_log().max_offset();
    assert!((end - 1_000..end).contains(&(found.index_last_update_phy_offset as u64)));
    assert_eq!(found.index_last_update_timestamp, times[99]);
}

/// "Aa" and "BB" have one hash: whoever asks for one is shown both and has to look.
#[tokio::test]
async fn keys_of_one_hash_are_found_together() {
    let machine = Machine::new();
    let store = machine.open().await;
    for key in ["Aa", "BB", "Aa BB"] {
        let mut message = message(key.as_bytes());
        message.properties = format!("KEYS\u{1}{key}");
        store.put_message(&message).await;
    }
    until_dispatched(&store).await;
    let found = store.query_offset("T", "Aa", 32, 0, i64::MAX).phy_offsets;
    assert_eq!(found.len(), 4);
    assert_eq!(found[0], found[1]);
}

#[tokio::test]
async fn a_killed_store_has_the_index_of_a_rebuild() {
    for is_safe in [false, true] {
        let machine = Machine::with(|config| {
            config.message_index_safe = is_safe;
            config.flush_consume_queue_thorough_interval_ms = 10;
            config.flush_interval_consume_queue_ms = 5;
        });
        for round in 0..4 {
            let store = machine.open().await;
            put_keyed(&store, round * 50..round * 50 + 30).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            put_keyed(&store, round * 50 + 30..(round + 1) * 50).await;
            machine.kill(store).await;
        }
        let mark = DurableMark::open(
            Arc::clone(&machine.disk) as Arc<dyn Disk>,
            &machine.root().join("durable"),
        );
        assert!(mark.unwrap().1.unwrap().index.entries > 0);
        check_against_rebuild(&machine, &format!("safe {is_safe}")).await;
    }
}

#[tokio::test]
async fn a_closed_store_keeps_its_index() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_keyed(&store, 0..120).await;
    store.shutdown().await;
    drop(store);
    let closed = index_files(&machine);
    let checkpoint = StoreCheckpoint::open(
        Arc::clone(&machine.disk) as Arc<dyn Disk>,
        &machine.root().join("checkpoint"),
    );
    assert_eq!(checkpoint.unwrap().index_msg_timestamp_ms(), 1_700_000_000_000);
    let store = machine.open().await;
    assert_eq!(index_files(&machine), closed);
    put_keyed(&store, 120..130).await;
    store.shutdown().await;
    drop(store);
    check_against_rebuild(&machine, "two lives").await;
}

#[tokio::test]
async fn a_truncated_log_truncates_its_index() {
    for kept in [3, 40, 77] {
        let machine = Machine::new();
        let store = machine.open().await;
        put_keyed(&store, 0..80).await;
        store.marks.flush_all_queues().await;
        let at = store.consume_queues().find("T", 0).unwrap().unit(kept).unwrap().phy_offset as u64;
        store.truncate_to(at, "test").await.unwrap();
        assert!(store.durable_mark().index.end <= at);
        assert!(numbers_of(&store, "k78", 32, 0..i64::MAX).is_empty());
        put_keyed(&store, 100..100 + kept as u32).await;
        machine.kill(store).await;
        check_against_rebuild(&machine, &format!("{kept} kept")).await;
    }
}

#[tokio::test]
async fn an_index_of_other_sizes_is_made_again() {
    let mut machine = Machine::new();
    let store = machine.open().await;
    put_keyed(&store, 0..80).await;
    store.shutdown().await;
    drop(store);
    (machine.config.max_hash_slot_num, machine.config.max_index_num) = (30, 20);
    check_against_rebuild(&machine, "smaller files").await;
}

#[tokio::test]
async fn without_an_index_nothing_is_found_until_there_is_one() {
    let mut machine = Machine::with(|config| config.message_index_enable = false);
    let store = machine.open().await;
    put_keyed(&store, 0..50).await;
    assert!(numbers_of(&store, "k45", 32, 0..i64::MAX).is_empty());
    assert!(index_files(&machine).is_empty());
    store.shutdown().await;
    drop(store);
    machine.config.message_index_enable = true;
    let store = machine.open().await;
    assert_eq!(numbers_of(&store, "k45", 32, 0..i64::MAX), [45]);
    // What was indexed stays; what is added meanwhile is added later.
    put_keyed(&store, 50..60).await;
    store.shutdown().await;
    drop(store);
    machine.config.message_index_enable = false;
    let store = machine.open().await;
    put_keyed(&store, 60..70).await;
    let at = store.consume_queues().find("T", 0).unwrap().unit(62).unwrap().phy_offset as u64;
    store.truncate_to(at, "test").await.unwrap();
    put_keyed(&store, 80..90).await;
    store.shutdown().await;
    drop(store);
    machine.config.message_index_enable = true;
    check_against_rebuild(&machine, "on again").await;
}

#[tokio::test]
async fn a_failed_index_sync_freezes_its_mark() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_keyed(&store, 0..20).await;
    store.marks.flush_all_queues().await;
    let before = store.durable_mark().index;
    assert!(before.end > 0);
    machine.disk.fail_next_flush(machine.config.index_layout().file_bytes());
    put_keyed(&store, 20..25).await;
    store.marks.flush_all_queues().await;
    put_keyed(&store, 25..28).await;
    store.marks.flush_all_queues().await;
    assert_eq!(store.durable_mark().index, before);
    assert_eq!(store.durable_mark().logics_end, store.commit_log().max_offset());
    store.shutdown().await;
    drop(store);
    assert!(machine.disk.stat(&machine.root().join("abort")).is_ok());
    check_against_rebuild(&machine, "after a failed sync").await;
}

/// A full file is synced when the next one begins, and only then the checkpoint names it.
#[tokio::test]
async fn a_full_file_is_synced_and_noted() {
    let machine = Machine::new();
    let len = machine.config.index_layout().file_bytes();
    let store = machine.open().await;
    put_keyed(&store, 0..30).await;
    assert_eq!(machine.disk.flush_count(len), 0);
    machine.clock.advance(5_000);
    put_keyed(&store, 30..60).await;
    until(|| machine.disk.flush_count(len) == 1 && store.durable_mark().index.entries == 99).await;
    until(|| store.marks.checkpoint.index_msg_timestamp_ms() >= 1_700_000_000_000).await;
    machine.kill(store).await;
    check_against_rebuild(&machine, "rolled").await;
}
