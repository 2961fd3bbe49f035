//! A store whose role changes while it runs.

use futures::FutureExt as _;
use mq_protocol::message_codec::patch_queue_offset;

use super::*;
use crate::PutMessageStatus::*;
use crate::config::{BrokerRole, FlushDiskType};

/// A slave whose log is that of a master with messages `range`, but for `missing` bytes at its end.
async fn slave_of(machine: &Machine, range: Range<u32>, missing: usize) -> Arc<MessageStore> {
    let master = Machine::new();
    let store = master.open().await;
    put_numbers(&store, range).await;
    let slave = machine.open().await;
    let end = store.commit_log().max_offset() - missing as u64;
    while slave.commit_log().max_offset() < end {
        let at = slave.commit_log().max_offset();
        let data = store.commit_log().data(at).unwrap().truncated((end - at) as usize);
        slave.commit_log().append_raw(at, &data).unwrap();
    }
    slave
}

fn slave_machine() -> Machine {
    Machine::with(|config| config.broker_role = BrokerRole::Slave)
}

#[tokio::test]
async fn a_new_master_goes_on_where_its_log_ends() {
    for flush_disk_type in FlushDiskType::ALL {
        let mut machine = slave_machine();
        machine.config.flush_disk_type = flush_disk_type;
        // More than a file, of which the first ends with a blank.
        let store = slave_of(&machine, 0..60, 0).await;
        assert_eq!(put(&store, b"x").await.status, ServiceNotAvailable);
        store.change_role(BrokerRole::AsyncMaster).await.unwrap();
        assert_eq!(store.dispatch_behind_bytes(), 0);
        assert_eq!(store.commit_log().flushed_offset(), store.commit_log().max_offset());
        let stored = put(&store, &numbered(60)).await;
        assert_eq!((stored.status, stored.append.unwrap().queue_offset), (PutOk, 60));
        until_dispatched(&store).await;
        assert_eq!(read_numbers(&store), (0..61).collect::<Vec<_>>());
        store.change_role(BrokerRole::Slave).await.unwrap();
        assert_eq!(put(&store, b"x").await, PutMessageResult::refused(ServiceNotAvailable));
        assert_eq!(store.max_offset_in_queue("T", 0), 61);
        // What it did is what a start finds.
        store.shutdown().await;
        drop(store);
        assert_eq!(read_numbers(&*machine.open().await).len(), 61);
    }
}

#[tokio::test]
async fn a_new_master_cuts_the_record_of_which_it_has_a_part() {
    let machine = slave_machine();
    let store = slave_of(&machine, 0..5, 10).await;
    store.change_role(BrokerRole::AsyncMaster).await.unwrap();
    assert_eq!(store.commit_log().max_offset(), 4 * record_len(100));
    assert!(machine.saw("Truncated"));
    assert_eq!(put(&store, &numbered(9)).await.append.unwrap().queue_offset, 4);
    until_dispatched(&store).await;
    assert_eq!(read_numbers(&store), [0, 1, 2, 3, 9]);
}

#[tokio::test]
async fn a_new_master_cuts_the_blank_of_which_it_has_a_part() {
    let machine = slave_machine();
    let of_one_file = LOG_FILE as u64 / record_len(100);
    let end = of_one_file * record_len(100);
    // The blank's head alone.
    let missing = LOG_FILE as u64 - end - 8 + record_len(100);
    let store = slave_of(&machine, 0..of_one_file as u32 + 1, missing as usize).await;
    assert_eq!(store.commit_log().max_offset(), end + 8);
    store.change_role(BrokerRole::AsyncMaster).await.unwrap();
    assert_eq!(store.commit_log().max_offset(), end);
    let stored = put(&store, &numbered(7)).await.append.unwrap();
    assert_eq!((stored.phy_offset, stored.queue_offset), (LOG_FILE as u64, of_one_file));
}

#[tokio::test]
async fn who_cannot_become_master_stays_a_slave() {
    let machine = slave_machine();
    let store = slave_of(&machine, 0..5, 0).await;
    machine.disk.fail_next_flush(LOG_FILE);
    assert!(store.change_role(BrokerRole::AsyncMaster).await.is_err());
    assert_eq!(store.role().get(), BrokerRole::Slave);
    assert_eq!(put(&store, b"x").await.status, ServiceNotAvailable);
}

#[tokio::test(start_paused = true)]
async fn puts_that_wait_for_a_sync_are_answered_before_the_store_is_a_slave() {
    let machine = Machine::with(|config| config.flush_disk_type = FlushDiskType::SyncFlush);
    let store = machine.open().await;
    machine.disk.hold(LOG_FILE);
    let waiting = store.put_message(&message(b"x"));
    let mut demoting = store.change_role(BrokerRole::Slave);
    assert!((&mut demoting).now_or_never().is_none(), "a sync is under way");
    assert_eq!(put(&store, b"y").await.status, ServiceNotAvailable, "refused at once");
    machine.disk.release();
    demoting.await.unwrap();
    assert_eq!(waiting.await.status, PutOk);
}

#[tokio::test]
async fn a_put_is_answered_as_the_master_that_took_it() {
    let machine = Machine::with(|config| config.broker_role = BrokerRole::SyncMaster);
    let store = machine.open().await;
    let change = store.role().begin_change();
    assert_eq!(put(&store, b"x").await.status, ServiceNotAvailable);
    change.settle(BrokerRole::SyncMaster);
    assert_eq!(put(&store, b"x").await.status, SlaveNotAvailable);
    store.change_role(BrokerRole::AsyncMaster).await.unwrap();
    assert_eq!(put(&store, b"x").await.status, PutOk);
}

#[tokio::test]
async fn a_new_slave_keeps_nothing_in_the_transient_store_pool() {
    let machine = Machine::with(|config| {
        config.transient_store_pool_enable = true;
        config.transient_store_pool_size = 2;
    });
    let store = machine.open().await;
    put_numbers(&store, 0..3).await;
    let log = store.commit_log();
    assert_eq!(log.remain_transient_store_buffer_numbs(), 1);
    store.change_role(BrokerRole::Slave).await.unwrap();
    assert_eq!(log.max_offset(), 3 * record_len(100));
    assert_eq!(log.remain_how_many_data_to_commit(), None);
    let record = log.data(0).unwrap().truncated(record_len(100) as usize);
    log.append_raw(log.max_offset(), &record).unwrap();
    assert_eq!(log.max_offset(), 4 * record_len(100), "readable at once");
    // A record that lies elsewhere than it says is no message.
    store.change_role(BrokerRole::AsyncMaster).await.unwrap();
    assert_eq!(log.remain_transient_store_buffer_numbs(), 2);
    put_numbers(&store, 3..80).await;
    assert!(
        log.remain_transient_store_buffer_numbs() < 2,
        "files that are begun have buffers again"
    );
}

#[tokio::test]
async fn a_record_without_a_queue_offset_leads_no_queue() {
    let master = Machine::new();
    let of_master = master.open().await;
    put_numbers(&of_master, 0..3).await;
    let mut bytes = of_master.commit_log().data(0).unwrap().to_vec();
    let len = record_len(100) as usize;
    patch_queue_offset(&mut bytes[len..2 * len], -1);
    let machine = slave_machine();
    let store = machine.open().await;
    store.commit_log().append_raw(0, &bytes).unwrap();
    until_dispatched(&store).await;
    store.truncate_to(2 * len as u64, "test").await.unwrap();
    store.change_role(BrokerRole::AsyncMaster).await.unwrap();
    // The filler that took its place stays.
    assert_eq!(put(&store, &numbered(9)).await.append.unwrap().queue_offset, 2);
    until_dispatched(&store).await;
    let ends = (store.min_offset_in_queue("T", 0), store.max_offset_in_queue("T", 0));
    assert_eq!(ends, (0, 3), "what stands before the filler can be read");
    let read = |offset| store.get_message("T", 0, offset, 1, &MessageFilter::All).messages.len();
    assert_eq!((read(0), read(2)), (1, 1));
}
