//! The transient store pool: what is appended is nobody's but the process's until it is committed.

use std::time::Duration;

use super::*;
use crate::PutMessageStatus::{CreateMappedFileFailed, PutOk};
use crate::config::{BrokerRole, FlushDiskType};

/// Length of the record of a numbered message.
const LEN: u64 = 192;
/// So many numbered messages fill a file.
const PER_FILE: u32 = 42;

fn pooled(change: impl FnOnce(&mut StoreConfig)) -> Machine {
    Machine::with(|config| {
        config.transient_store_pool_enable = true;
        change(config);
    })
}

async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[test]
fn the_pool_is_for_masters_with_async_flush() {
    for (flush, role, is_effective) in [
        (FlushDiskType::AsyncFlush, BrokerRole::AsyncMaster, true),
        (FlushDiskType::AsyncFlush, BrokerRole::SyncMaster, true),
        (FlushDiskType::AsyncFlush, BrokerRole::Slave, false),
        (FlushDiskType::SyncFlush, BrokerRole::AsyncMaster, false),
    ] {
        let mut config = StoreConfig::at("unused");
        (config.flush_disk_type, config.broker_role) = (flush, role);
        assert!(!config.is_transient_store_pool_enable());
        config.transient_store_pool_enable = true;
        assert_eq!(config.is_transient_store_pool_enable(), is_effective);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_reads_what_is_not_committed() {
    let machine = pooled(|_| {});
    let store = machine.open().await;
    let log = store.commit_log();
    let stored = put(&store, &numbered(0)).await;
    let stored = (stored.status, stored.append.unwrap().end_offset());
    assert_eq!(stored, (PutOk, LEN), "acknowledged, with its place");
    sleep_ms(199).await;
    assert_eq!((log.max_offset(), log.remain_how_many_data_to_commit()), (0, Some(LEN)));
    assert!(log.data(0).is_none() && log.message(0, 10).is_none());
    assert_eq!((store.dispatched_offset(), store.max_offset_in_queue("T", 0)), (0, 0));
    let file = machine.disk.read(&machine.log_file(0)).unwrap();
    assert!(file.iter().all(|byte| *byte == 0), "it is not in the file");
    assert_eq!(machine.disk.flush_count(LOG_FILE), 0);
    sleep_ms(2).await;
    until_dispatched(&store).await;
    assert_eq!((log.max_offset(), log.remain_how_many_data_to_commit()), (LEN, Some(0)));
    assert!(machine.saw("Committed { from: 0, to: 192 }"), "{:?}", machine.events());
    assert_eq!(read_numbers(&store), [0]);
    sleep_ms(20_000).await;
    assert_eq!(log.flushed_offset(), LEN);
}

#[tokio::test(start_paused = true)]
async fn enough_pages_are_committed_at_once() {
    let machine = pooled(|config| {
        config.mapped_file_size_commit_log = 64 << 10;
        config.commit_commit_log_least_pages = 2;
    });
    let store = machine.open().await;
    sleep_ms(1).await;
    put_numbers(&store, 0..42).await;
    sleep_ms(1).await;
    assert_eq!((42 * LEN / 4096, store.commit_log().max_offset()), (1, 0));
    put_numbers(&store, 42..43).await;
    sleep_ms(1).await;
    assert_eq!(store.commit_log().max_offset(), 43 * LEN);
}

#[tokio::test(start_paused = true)]
async fn an_idle_pool_arms_no_timer_and_a_rare_thorough_pass_is_waited_for() {
    let machine = pooled(|config| config.commit_commit_log_thorough_interval_ms = 1_000);
    let store = machine.open().await;
    sleep_ms(250).await;
    put_numbers(&store, 0..1).await;
    // The first wake-up was thorough; the next thorough one is the sixth.
    sleep_ms(949).await;
    assert_eq!(store.commit_log().max_offset(), 0);
    sleep_ms(2).await;
    assert_eq!(store.commit_log().max_offset(), LEN);
    assert!(store.config().uncommitted_ms_max() >= 949);
}

#[tokio::test(start_paused = true)]
async fn a_kill_takes_what_was_not_committed_and_nothing_else() {
    for committed in [0, 5, PER_FILE, PER_FILE + 5] {
        let machine = pooled(|_| {});
        let store = machine.open().await;
        put_numbers(&store, 0..committed).await;
        sleep_ms(202).await;
        put_numbers(&store, committed..committed + 3).await;
        machine.kill(store).await;
        let store = machine.open().await;
        assert_eq!(store.recovery().dropped_bytes, 0, "there is nothing torn");
        assert_eq!(read_numbers(&store), (0..committed).collect::<Vec<_>>());
        // The last file has no buffer now: what is put is in it at once, or in the next one.
        put_numbers(&store, committed..committed + 2).await;
        until_dispatched(&store).await;
        let readable = if committed == PER_FILE { committed } else { committed + 2 };
        assert_eq!(read_numbers(&store), (0..readable).collect::<Vec<_>>());
        put_numbers(&store, committed + 2..200).await;
        sleep_ms(202).await;
        until_dispatched(&store).await;
        assert_eq!(read_numbers(&store), (0..200).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn an_orderly_end_commits_and_syncs() {
    let machine = pooled(|_| {});
    let store = machine.open().await;
    put_numbers(&store, 0..50).await;
    store.shutdown().await;
    assert_eq!(store.commit_log().flushed_offset(), store.commit_log().max_offset());
    let without = Machine::new();
    let other = without.open().await;
    put_numbers(&other, 0..50).await;
    other.shutdown().await;
    for from in [0, LOG_FILE as u64] {
        let files = [&machine, &without].map(|it| it.disk.read(&it.log_file(from)).unwrap());
        assert_eq!(files[0], files[1], "the same bytes as without the pool");
    }
    assert!(machine.disk.stat(&machine.log_file(2 * LOG_FILE as u64)).is_err());
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_sync_master_answers_once_a_slave_has_what_was_committed() {
    let machine = pooled(|config| config.broker_role = BrokerRole::SyncMaster);
    let store = machine.open().await;
    let log = Arc::clone(store.commit_log());
    // A slave that has at once what can be read.
    store.set_replica_wait(Arc::new(move |end_offset| {
        let log = Arc::clone(&log);
        Box::pin(async move {
            let mut end = log.watch_max_offset();
            while log.max_offset() < end_offset {
                let _ = end.changed().await;
            }
            PutOk
        })
    }));
    let begun = tokio::time::Instant::now();
    assert_eq!(put(&store, &numbered(0)).await.status, PutOk);
    assert_eq!(begun.elapsed().as_millis(), 200);
    machine.kill(store).await;
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), [0], "acknowledged, so replicated, so committed");
}

#[tokio::test(start_paused = true)]
async fn a_full_file_gives_its_buffer_back_once_it_is_committed() {
    let machine = pooled(|config| config.transient_store_pool_size = 2);
    let store = machine.open().await;
    let log = store.commit_log();
    assert_eq!(log.remain_transient_store_buffer_numbs(), 2);
    put_numbers(&store, 0..1).await;
    assert_eq!(log.remain_transient_store_buffer_numbs(), 1);
    put_numbers(&store, 1..PER_FILE + 1).await;
    assert!(log.is_transient_store_pool_deficient());
    sleep_ms(1).await;
    assert!(!log.is_transient_store_pool_deficient(), "a full file is committed at once");
    assert_eq!(log.remain_transient_store_buffer_numbs(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_buffer_senders_wait_for_a_commit_or_fail_fast() {
    for fails_fast in [false, true] {
        let machine = pooled(|config| {
            config.transient_store_pool_size = 2;
            config.fast_fail_if_no_buffer_in_store_pool = fails_fast;
        });
        let store = machine.open().await;
        // Nobody gets a turn to commit.
        put_numbers(&store, 0..2 * PER_FILE).await;
        let status = put(&store, &numbered(2 * PER_FILE)).await.status;
        assert_eq!(status, if fails_fast { CreateMappedFileFailed } else { PutOk });
        sleep_ms(202).await;
        let from = 2 * PER_FILE + u32::from(!fails_fast);
        for number in from..200 {
            put_numbers(&store, number..number + 1).await;
            sleep_ms(10).await;
        }
        sleep_ms(202).await;
        until_dispatched(&store).await;
        assert_eq!(read_numbers(&store), (0..200).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_buffers_writes_into_its_files() {
    let machine = pooled(|config| config.transient_store_pool_size = 0);
    let store = machine.open().await;
    assert!(store.commit_log().is_transient_store_pool_deficient());
    put_numbers(&store, 0..100).await;
    until_dispatched(&store).await;
    assert_eq!(read_numbers(&store), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn whoever_knows_a_place_has_it_committed() {
    let machine = pooled(|_| {});
    let store = machine.open().await;
    put_numbers(&store, 0..2).await;
    assert!(store.look_message_by_offset(LEN).is_some());
    assert_eq!(store.commit_log().max_offset(), 2 * LEN);
    assert!(store.look_message_by_offset(2 * LEN).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_the_buffer() {
    let machine = pooled(|_| {});
    let store = machine.open().await;
    put_numbers(&store, 0..20).await;
    sleep_ms(202).await;
    put_numbers(&store, 20..25).await;
    store.truncate_to(5 * LEN, "test").await.unwrap();
    assert_eq!(store.commit_log().max_offset(), 5 * LEN);
    assert_eq!(store.commit_log().remain_transient_store_buffer_numbs(), 5);
    put_numbers(&store, 5..60).await;
    sleep_ms(202).await;
    until_dispatched(&store).await;
    assert_eq!(read_numbers(&store), (0..60).collect::<Vec<_>>());
    put_numbers(&store, 60..70).await;
    store.reset_to(0, &machine.aside()).await.unwrap();
    put_numbers(&store, 0..3).await;
    assert!(store.flush().await);
    until_dispatched(&store).await;
    assert_eq!(read_numbers(&store), [0, 1, 2]);
}
