//! When bytes are synced, what waits for it, and what a failed sync means.

use std::time::Duration;

use super::*;
use crate::PutMessageStatus::{FlushDiskTimeout, PutOk, ServiceNotAvailable};
use crate::config::{FlushDiskType, UpstreamSwitch};

fn sync_flush() -> Machine {
    Machine::with(|config| config.flush_disk_type = FlushDiskType::SyncFlush)
}

#[tokio::test]
async fn sync_flush_acknowledges_and_shows_only_what_is_synced() {
    let machine = sync_flush();
    let store = machine.open().await;
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&arrivals);
    store.set_message_arriving_listener(Arc::new(move |topic, queue_id, offset, tags_code, _| {
        lock(&noted).push((topic.to_owned(), queue_id, offset, tags_code));
    }));
    machine.disk.hold(LOG_FILE);
    let mut tagged = message(b"x");
    tagged.properties = "TAGS\u{1}a".to_owned();
    let waiting = store.put_message(&tagged);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.commit_log().flushed_offset(), 0);
    assert_eq!(store.max_offset_in_queue("T", 0), 0, "not visible before the sync");
    machine.disk.release();
    assert_eq!(waiting.await.status, PutOk);
    until_dispatched(&store).await;
    assert_eq!(store.max_offset_in_queue("T", 0), 1);
    assert_eq!(*lock(&arrivals), [("T".to_owned(), 0, 1, 97)]);
    let order: Vec<_> = machine.events();
    let at = |part: &str| order.iter().position(|event| event.contains(part)).unwrap();
    assert!(at("Appended") < at("Synced") && at("Synced") < at("Dispatched"));
}

#[tokio::test]
async fn dispatch_unflushed_shows_what_is_not_synced() {
    let mut machine = sync_flush();
    machine.config.upstream.insert(UpstreamSwitch::DispatchUnflushed);
    let store = machine.open().await;
    machine.disk.hold(LOG_FILE);
    let _waiting = store.put_message(&message(b"x"));
    until(|| store.max_offset_in_queue("T", 0) == 1).await;
    assert_eq!(store.commit_log().flushed_offset(), 0);
}

#[tokio::test]
async fn async_flush_shows_messages_at_once() {
    let machine = Machine::new();
    let store = machine.open().await;
    assert_eq!(put(&store, b"x").await.status, PutOk);
    until_dispatched(&store).await;
    assert_eq!(store.max_offset_in_queue("T", 0), 1);
    assert_eq!(store.commit_log().flushed_offset(), 0);
}

#[tokio::test]
async fn one_sync_serves_many_waiters() {
    let machine = sync_flush();
    let store = machine.open().await;
    let before = machine.disk.flush_count(LOG_FILE);
    machine.disk.hold(LOG_FILE);
    let first = store.put_message(&message(b"first"));
    until(|| machine.disk.flush_count(LOG_FILE) == before + 1).await;
    let rest: Vec<_> = (0..40).map(|_| store.put_message(&message(b"more"))).collect();
    machine.disk.release();
    assert_eq!(first.await.status, PutOk);
    for waiting in rest {
        assert_eq!(waiting.await.status, PutOk);
    }
    assert_eq!(machine.disk.flush_count(LOG_FILE), before + 2);
}

#[tokio::test]
async fn waiters_in_two_files_are_served_by_one_pass() {
    let machine = sync_flush();
    let store = machine.open().await;
    let waiting: Vec<_> = (0..5).map(|_| store.put_message(&message(&vec![1; 3000]))).collect();
    assert!(store.commit_log().max_offset() > 2 * LOG_FILE as u64);
    for waiting in waiting {
        assert_eq!(waiting.await.status, PutOk);
    }
    assert_eq!(store.commit_log().flushed_offset(), store.commit_log().max_offset());
}

#[tokio::test(start_paused = true)]
async fn messages_that_nobody_waits_for_are_synced_soon() {
    let machine = sync_flush();
    let store = machine.open().await;
    let mut unwaited = message(b"x");
    unwaited.wait_store_ok = false;
    assert_eq!(store.put_message(&unwaited).await.status, PutOk);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(store.commit_log().flushed_offset(), store.commit_log().max_offset());
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_could_not_be_attempted_is_made_later() {
    let machine = sync_flush();
    let store = machine.open().await;
    machine.disk.has_no_descriptor.store(true, Ordering::Relaxed);
    let mut waiting = store.put_message(&message(b"first"));
    assert!(tokio::time::timeout(Duration::from_secs(2), &mut waiting).await.is_err());
    assert!(store.is_writeable() && !store.commit_log().is_poisoned());
    assert_eq!(store.commit_log().flushed_offset(), 0, "nothing counts as synced");
    machine.disk.has_no_descriptor.store(false, Ordering::Relaxed);
    assert_eq!(waiting.await.status, PutOk);
    assert_eq!(store.commit_log().flushed_offset(), store.commit_log().max_offset());

    machine.disk.has_no_descriptor.store(true, Ordering::Relaxed);
    let mut last = PutOk;
    // One file may have been made ahead.
    for _ in 0..3 {
        last = put(&store, &vec![1; LOG_FILE - 2000]).await.status;
    }
    assert_eq!(last, FlushDiskTimeout, "its time is up");
    store.shutdown().await;
    assert!(machine.disk.stat(&machine.root().join("abort")).is_ok(), "not a clean end");
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_async_flush_syncs_later() {
    let machine = Machine::new();
    let store = machine.open().await;
    machine.disk.has_no_descriptor.store(true, Ordering::Relaxed);
    put_numbers(&store, 0..10).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!((store.commit_log().flushed_offset(), store.durable_mark().logics_end), (0, 0));
    assert_eq!(put(&store, &numbered(10)).await.status, PutOk, "nothing is final");
    machine.disk.has_no_descriptor.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(130)).await;
    let end = store.commit_log().max_offset();
    let mark = store.durable_mark();
    assert_eq!(
        (store.commit_log().flushed_offset(), mark.log_end, mark.logics_end),
        (end, end, end)
    );
    store.shutdown().await;
    assert!(machine.disk.stat(&machine.root().join("abort")).is_err(), "a clean end");
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_is_final() {
    let machine = sync_flush();
    let store = machine.open().await;
    put_numbers(&store, 0..3).await;
    let durable = store.commit_log().flushed_offset();
    machine.disk.fail_next_flush(LOG_FILE);
    let failed = put(&store, &numbered(3)).await;
    assert_eq!(failed.status, FlushDiskTimeout, "stored, but nobody may rely on it");
    assert!(!store.is_writeable() && store.commit_log().is_poisoned());
    assert_eq!(put(&store, b"x").await.status, ServiceNotAvailable);
    assert_eq!(store.commit_log().flushed_offset(), durable);
    assert_eq!(read_numbers(&store), [0, 1, 2], "reads go on, without the suspect one");
    assert!(machine.saw("SyncFailed"));
    let sentence = store.sync_failure().unwrap();
    let root = machine.root();
    let dir =
        format!("the disk refused to sync the CommitLog {}", root.join("commitlog").display());
    assert!(sentence.starts_with(&dir), "{sentence}");
    assert!(sentence.ends_with(
        "at 2023-11-14 22:13:20: writes are refused until the broker is started again, reads go on"
    ), "{sentence}");
    store.shutdown().await;
    assert_eq!(store.durable_mark().log_end, durable);
    assert!(machine.disk.stat(&machine.root().join("abort")).is_ok(), "not a clean end");

    let synced = machine.disk.sync_count(&machine.log_file(0));
    let store = machine.open().await;
    assert!(machine.disk.sync_count(&machine.log_file(0)) > synced, "written and synced again");
    assert_eq!(read_numbers(&store), [0, 1, 2, 3]);
    assert_eq!(store.commit_log().flushed_offset(), store.commit_log().max_offset());
    assert_eq!(put(&store, b"x").await.status, PutOk);
}

/// As when the file ahead cannot be synced that a put has taken meanwhile.
#[tokio::test(start_paused = true)]
async fn a_put_that_waits_when_another_service_poisons_the_log_is_told_so() {
    let machine = sync_flush();
    let store = machine.open().await;
    let waiting = store.put_message(&message(b"x"));
    let source = std::io::Error::other("refused");
    store.log.poison(&mq_mapped_file::FlushError { from: 0, to: 0, source });
    let told = tokio::time::timeout(Duration::from_secs(3_600), waiting).await;
    assert_eq!(told.map(|told| told.status), Ok(FlushDiskTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_under_async_flush_is_final_too() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..1).await;
    machine.disk.fail_next_flush(LOG_FILE);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(put(&store, b"x").await.status, ServiceNotAvailable);
    assert_eq!(store.commit_log().flushed_offset(), 0);
    let count = machine.disk.flush_count(LOG_FILE);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(machine.disk.flush_count(LOG_FILE), count, "no second try");
}

#[tokio::test(start_paused = true)]
async fn upstream_takes_a_failed_sync_for_done() {
    let mut machine = sync_flush();
    machine.config.upstream.insert(UpstreamSwitch::FlushErrorCountsAsDone);
    let store = machine.open().await;
    machine.disk.fail_next_flush(LOG_FILE);
    assert_eq!(put(&store, b"x").await.status, PutOk);
    assert_eq!(store.commit_log().flushed_offset(), store.commit_log().max_offset());
}

#[tokio::test(start_paused = true)]
async fn async_flush_keeps_javas_schedule() {
    let machine = Machine::new();
    let store = machine.open().await;
    let opened = tokio::time::Instant::now();
    let flushed = || store.commit_log().flushed_offset();
    let mut watch = store.commit_log().watch_flushed_offset();
    put(&store, b"little").await;
    watch.changed().await;
    assert_eq!(opened.elapsed().as_millis(), 500, "the first wake-up is a thorough one");
    put(&store, b"little").await;
    watch.changed().await;
    assert_eq!(opened.elapsed().as_millis(), 10_500, "little waits for the thorough one");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = flushed();
    for _ in 0..5 {
        put(&store, &vec![1; 4000]).await;
    }
    watch.changed().await;
    assert_eq!(opened.elapsed().as_millis(), 11_000, "four pages go with the next wake-up");
    assert!(flushed() > before);
}

#[tokio::test(start_paused = true)]
async fn untimed_flushes_start_with_enough_pages() {
    let machine = Machine::with(|config| config.flush_commit_log_timed = false);
    let store = machine.open().await;
    let opened = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(600)).await;
    for _ in 0..5 {
        put(&store, &vec![1; 4000]).await;
    }
    store.commit_log().watch_flushed_offset().wait_for(|flushed| flushed > 0).await;
    assert_eq!(opened.elapsed().as_millis(), 600);
}

#[tokio::test(start_paused = true)]
async fn an_idle_store_syncs_nothing() {
    for flush_disk_type in [FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush] {
        let machine = Machine::with(|config| config.flush_disk_type = flush_disk_type);
        let store = machine.open().await;
        put_numbers(&store, 0..100).await;
        tokio::time::sleep(Duration::from_secs(200)).await;
        let mark = store.durable_mark();
        let end = store.commit_log().max_offset();
        assert_eq!((mark.log_end, mark.logics_end), (end, end));
        let count = lock(&machine.disk.flushes).len();
        tokio::time::sleep(Duration::from_secs(10_000)).await;
        assert_eq!(lock(&machine.disk.flushes).len(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn the_watermark_follows_within_a_second() {
    let machine = sync_flush();
    let store = machine.open().await;
    for round in 0..50 {
        put_numbers(&store, round..round + 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let written = machine.disk.flush_count(4096);
    assert!((5..=9).contains(&written), "{written} times in five seconds");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.durable_mark().log_end, store.commit_log().max_offset());
}

#[tokio::test(start_paused = true)]
async fn consume_queues_are_synced_on_their_own_schedule() {
    let machine = Machine::with(|config| config.mapped_file_size_consume_queue = 20_000);
    let store = machine.open().await;
    let opened = tokio::time::Instant::now();
    put_numbers(&store, 0..1).await;
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    assert_eq!(machine.disk.flush_count(20_000), 1, "the first wake-up is a thorough one");
    let checkpoint = &store.marks.checkpoint;
    assert_eq!(checkpoint.times().logics_msg_timestamp as u64, machine.clock.now_millis());
    put_numbers(&store, 1..2).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(machine.disk.flush_count(20_000), 1, "20 bytes wait for the thorough one");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(opened.elapsed().as_millis(), 61_001);
    assert_eq!(machine.disk.flush_count(20_000), 2);
    put_numbers(&store, 2..600).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(machine.disk.flush_count(20_000), 3, "two pages go with the next wake-up");
    assert!(store.durable_mark().logics_end < store.commit_log().max_offset());
}

#[tokio::test(start_paused = true)]
async fn a_failed_consume_queue_sync_freezes_the_marks() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..10).await;
    machine.disk.fail_next_flush(QUEUE_FILE);
    tokio::time::sleep(Duration::from_secs(200)).await;
    put_numbers(&store, 10..20).await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(store.durable_mark().logics_end, 0);
    assert_eq!(store.marks.checkpoint.times().logics_msg_timestamp, 0);
    assert_eq!(store.durable_mark().log_end, store.commit_log().max_offset());
    store.shutdown().await;
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_consume_queue_that_cannot_be_written_stops_puts_until_it_can() {
    let machine = Machine::new();
    let store = machine.open().await;
    let path = machine.queue_file("T", 0, 0);
    machine.disk.create_dir_all(&path).unwrap();
    put_numbers(&store, 0..1).await;
    until(|| !store.is_writeable()).await;
    assert_eq!(put(&store, b"x").await.status, ServiceNotAvailable);
    machine.disk.remove_dir(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(store.is_writeable());
    assert_eq!(read_numbers(&store), [0]);
}
