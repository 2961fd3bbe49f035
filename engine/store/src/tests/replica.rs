//! What replication does to a store: raw appends, comparison, copies, starting elsewhere.

use std::time::Duration;

use mq_protocol::message_codec::RecordFields;

use super::*;
use crate::CommitLog;
use crate::config::{BrokerRole, FlushDiskType};

const LEN: u64 = 192;

/// A master with a hundred messages in three files.
async fn master() -> (Machine, Arc<MessageStore>) {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..100).await;
    (machine, store)
}

fn slave() -> Machine {
    Machine::with(|config| config.broker_role = BrokerRole::Slave)
}

/// Copies `from` in pieces of `piece` bytes as replication would.
fn copy(from: &CommitLog, to: &CommitLog, piece: usize, end: u64) {
    while to.max_offset() < end {
        let at = to.max_offset();
        let data = from.data(at).unwrap().truncated(piece.min((end - at) as usize));
        to.append_raw(at, &data).unwrap();
    }
}

#[tokio::test]
async fn a_slave_copies_bytes_and_dispatches_whole_records() {
    let (_machine, master) = master().await;
    for piece in [1, 37, 5000] {
        let machine = slave();
        let store = machine.open().await;
        let log = store.commit_log();
        copy(master.commit_log(), log, piece, 10 * LEN + 50);
        until(|| store.dispatched_offset() == 10 * LEN).await;
        copy(master.commit_log(), log, piece, master.commit_log().max_offset());
        until_dispatched(&store).await;
        assert_eq!(read_numbers(&store), (0..100).collect::<Vec<_>>());
        let end = log.max_offset();
        assert_eq!(log.crc_of(100..end), master.commit_log().crc_of(100..end));
        assert_eq!(log.crc_of(100..end + 1), None);
    }
}

#[tokio::test]
async fn a_slave_killed_within_a_record_drops_its_part() {
    let (_machine, master) = master().await;
    for flush_disk_type in [FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush] {
        let machine = Machine::with(|config| {
            config.broker_role = BrokerRole::Slave;
            config.flush_disk_type = flush_disk_type;
        });
        let store = machine.open().await;
        copy(master.commit_log(), store.commit_log(), 100, 10 * LEN + 100);
        if flush_disk_type == FlushDiskType::SyncFlush {
            let mut flushed = store.commit_log().watch_flushed_offset();
            flushed.wait_for(|flushed| flushed == 10 * LEN + 100).await;
        }
        until(|| store.dispatched_offset() == 10 * LEN).await;
        store.marks.write_watermark().await;
        assert!(store.durable_mark().log_end <= 10 * LEN, "never within a record");
        machine.kill(store).await;
        let store = machine.open().await;
        assert_eq!(store.commit_log().max_offset(), 10 * LEN);
        copy(master.commit_log(), store.commit_log(), 100, master.commit_log().max_offset());
        until_dispatched(&store).await;
        assert_eq!(read_numbers(&store), (0..100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn raw_bytes_have_to_join_the_log() {
    let machine = slave();
    let store = machine.open().await;
    let log = store.commit_log();
    log.append_raw(0, &[0; 100]).unwrap();
    assert!(matches!(log.append_raw(99, &[0]), Err(StoreError::Offset { .. })));
    assert!(matches!(log.append_raw(101, &[0]), Err(StoreError::Offset { .. })));
    assert!(matches!(log.append_raw(100, &[0; LOG_FILE]), Err(StoreError::Offset { .. })));
    assert_eq!(log.max_offset(), 100);
}

#[tokio::test]
async fn a_blank_slave_begins_where_its_master_does() {
    let (_machine, master) = master().await;
    let machine = slave();
    let store = machine.open().await;
    let min = LOG_FILE as u64;
    store.commit_log().append_raw(0, &[0; 10]).unwrap();
    let aside = machine.aside();
    assert!(store.reset_to(min + 1, &aside).await.is_err());
    store.reset_to(min, &aside).await.unwrap();
    assert_eq!(machine.disk.list(&aside).unwrap().len(), 1, "what it had is kept");
    assert_eq!((store.commit_log().min_offset(), store.commit_log().max_offset()), (min, min));
    copy(master.commit_log(), store.commit_log(), 1000, master.commit_log().max_offset());
    until_dispatched(&store).await;
    for _ in 0..2 {
        assert_eq!(store.min_offset_in_queue("T", 0), 42);
    }
    assert_eq!(read_numbers(&store), (42..100).collect::<Vec<_>>());
    store.shutdown().await;
    drop(store);
    let store = machine.open().await;
    assert_eq!(store.min_offset_in_queue("T", 0), 42);
    assert_eq!(read_numbers(&store), (42..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reset_slave_survives_a_kill_before_its_first_bytes() {
    let machine = slave();
    let store = machine.open().await;
    store.commit_log().append_raw(0, &[0; 10]).unwrap();
    store.reset_to(3 * LOG_FILE as u64, &machine.aside()).await.unwrap();
    machine.kill(store).await;
    let store = machine.open().await;
    assert_eq!(store.commit_log().max_offset(), 3 * LOG_FILE as u64);
}

#[tokio::test]
async fn record_boundaries_are_found() {
    let (_machine, store) = master().await;
    let log = store.commit_log();
    let boundary = |offset| log.record_boundary_at_or_below(offset);
    assert_eq!(boundary(0), Some(0));
    assert_eq!(boundary(LEN - 1), Some(0));
    assert_eq!(boundary(5 * LEN), Some(5 * LEN));
    assert_eq!(boundary(5 * LEN + 1), Some(5 * LEN));
    assert_eq!(boundary(LOG_FILE as u64 - 1), Some(42 * LEN), "within the blank");
    assert_eq!(boundary(LOG_FILE as u64), Some(LOG_FILE as u64));
    assert_eq!(boundary(log.max_offset()), Some(log.max_offset()));
    assert_eq!(boundary(log.max_offset() + 1), None);

    let machine = slave();
    let slave = machine.open().await;
    copy(log, slave.commit_log(), 1000, 3 * LEN + 7);
    assert_eq!(slave.commit_log().record_boundary_at_or_below(3 * LEN + 7), Some(3 * LEN));
}

#[tokio::test]
async fn a_tail_is_copied_aside_and_cut() {
    let (machine, store) = master().await;
    let from = LOG_FILE as u64 - 500;
    let end = store.commit_log().max_offset();
    let expected = store.commit_log().crc_of(from..end).unwrap();
    let dir = machine.root().join("quarantine/one");
    store.commit_log().copy_out(from..end, &dir).await.unwrap();
    let entries = machine.disk.list(&dir).unwrap();
    let copied: Vec<u8> = entries
        .iter()
        .flat_map(|entry| machine.disk.read(&dir.join(&entry.name)).unwrap())
        .collect();
    assert_eq!(crc32fast::hash(&copied), expected);
    assert_eq!(entries[0].name, format!("{from:020}"));
    assert!(store.commit_log().copy_out(from..end + 1, &dir).await.is_err());
}

#[tokio::test]
async fn a_cut_slave_goes_on_with_its_masters_bytes() {
    let (_machine, master) = master().await;
    let machine = slave();
    let store = machine.open().await;
    copy(master.commit_log(), store.commit_log(), 1000, 60 * LEN);
    until(|| store.dispatched_offset() >= LOG_FILE as u64).await;
    let boundary = 42 * LEN;
    store.truncate_to(boundary, "diverged").await.unwrap();
    assert_eq!(read_numbers(&store), (0..42).collect::<Vec<_>>());
    copy(master.commit_log(), store.commit_log(), 1000, master.commit_log().max_offset());
    until_dispatched(&store).await;
    assert_eq!(read_numbers(&store), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_promoted_slave_goes_on_counting() {
    let (_machine, master) = master().await;
    let mut machine = slave();
    let store = machine.open().await;
    copy(master.commit_log(), store.commit_log(), 1000, master.commit_log().max_offset());
    store.shutdown().await;
    drop(store);
    machine.config.broker_role = BrokerRole::AsyncMaster;
    let promoted = machine.open().await;
    assert_eq!(put(&promoted, b"x").await.append.unwrap().queue_offset, 100);
}

#[tokio::test(start_paused = true)]
async fn a_sync_flush_slave_syncs_what_it_receives_soon() {
    let (_machine, master) = master().await;
    let machine = Machine::with(|config| {
        config.broker_role = BrokerRole::Slave;
        config.flush_disk_type = FlushDiskType::SyncFlush;
    });
    let store = machine.open().await;
    copy(master.commit_log(), store.commit_log(), 1000, 20 * LEN + 10);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(store.commit_log().flushed_offset(), 20 * LEN + 10);
}

#[tokio::test]
async fn a_record_that_names_another_directory_gets_no_queue() {
    let machine = slave();
    let store = machine.open().await;
    let mut record = Vec::new();
    let fields = RecordFields::plain("../../outside", b"x", message(b"x").store_host, 1);
    fields.encode(&mut record).unwrap();
    store.commit_log().append_raw(0, &record).unwrap();
    until_dispatched(&store).await;
    assert!(store.consume_queues().all().is_empty());
    assert!(machine.disk.stat(&machine.dir.path().join("outside")).is_err());
}
