//! Every status of a put, batches, and queue offsets.

use std::time::Duration;

use mq_protocol::message_codec::{BatchEntry, encode_batch_entry};
use mq_protocol::sys_flag::MessageSysFlag;

use super::*;
use crate::PutMessageStatus::{self, *};
use crate::config::{BrokerRole, FlushDiskType};

fn batch(entries: &[(&[u8], &str)]) -> MessageInner {
    let mut body = Vec::new();
    for (entry, properties) in entries {
        encode_batch_entry(&BatchEntry { flag: 5, body: entry, properties }, &mut body).unwrap();
    }
    message(&body)
}

async fn status(store: &MessageStore, message: &MessageInner) -> PutMessageStatus {
    let before = store.commit_log().max_offset();
    let result = store.put_message(message).await;
    let grew = store.commit_log().max_offset() > before;
    assert_eq!(result.append.is_some(), grew, "{result:?}");
    result.status
}

#[tokio::test]
async fn illegal_messages_are_refused_and_leave_no_hole() {
    let machine = Machine::with(|config| config.max_message_size = 1000);
    let store = machine.open().await;
    let with = |change: &dyn Fn(&mut MessageInner)| {
        let mut message = message(b"x");
        change(&mut message);
        message
    };
    let long_topic = with(&|message| message.topic = "t".repeat(128));
    let no_topic = with(&|message| message.topic.clear());
    let long_body = with(&|message| message.body = vec![0; 1001].into());
    let long_text = with(&|message| message.properties = "p".repeat(32_768));
    let long_bytes = with(&|message| message.properties = "ä".repeat(16_384));
    let nul = with(&|message| message.properties = "k\u{1}\0".to_owned());
    assert_eq!(status(&store, &message(b"x")).await, PutOk);
    assert_eq!(status(&store, &long_topic).await, MessageIllegal);
    assert_eq!(status(&store, &no_topic).await, MessageIllegal);
    for topic in ["..", ".", "a/b", "../../etc", "a\0"] {
        let elsewhere = with(&|message| message.topic = topic.to_owned());
        assert_eq!(status(&store, &elsewhere).await, MessageIllegal, "{topic:?}");
    }
    assert_eq!(status(&store, &long_body).await, MessageIllegal);
    assert_eq!(status(&store, &long_text).await, MessageIllegal);
    assert_eq!(status(&store, &long_bytes).await, PropertiesSizeExceeded);
    assert_eq!(status(&store, &nul).await, MessageIllegal);
    let longest = with(&|message| {
        message.topic = "t".repeat(127);
        message.body = vec![0; 1000].into();
    });
    assert_eq!(status(&store, &longest).await, PutOk);
    assert_eq!(put(&store, b"y").await.append.unwrap().queue_offset, 1);
}

#[tokio::test]
async fn a_slave_and_a_closed_store_take_nothing() {
    let machine = Machine::with(|config| config.broker_role = BrokerRole::Slave);
    let store = machine.open().await;
    assert_eq!(put(&store, b"x").await, PutMessageResult::refused(ServiceNotAvailable));
    let machine = Machine::new();
    let store = machine.open().await;
    store.set_writeable(false);
    assert_eq!(put(&store, b"x").await.status, ServiceNotAvailable);
    store.set_writeable(true);
    assert_eq!(put(&store, b"x").await.status, PutOk);
    store.shutdown().await;
    assert_eq!(put(&store, b"x").await.status, ServiceNotAvailable);
}

#[tokio::test]
async fn a_record_larger_than_a_file_is_an_error() {
    let machine = Machine::new();
    let store = machine.open().await;
    put(&store, b"x").await;
    assert_eq!(status(&store, &message(&vec![1; LOG_FILE - 90])).await, UnknownError);
    assert_eq!(put(&store, b"x").await.append.unwrap().queue_offset, 1);
}

#[tokio::test]
async fn the_next_file_may_not_be_had() {
    let machine = Machine::new();
    let store = machine.open().await;
    machine.disk.create_dir_all(&machine.log_file(LOG_FILE as u64)).unwrap();
    let body = vec![1; 5000];
    assert_eq!(put(&store, &body).await.status, PutOk);
    let refused = put(&store, &body).await;
    assert_eq!(refused, PutMessageResult::refused(CreateMappedFileFailed));
    machine.disk.remove_dir(&machine.log_file(LOG_FILE as u64)).unwrap();
    let stored = put(&store, &body).await.append.unwrap();
    assert_eq!((stored.phy_offset, stored.queue_offset), (LOG_FILE as u64, 1));
}

#[tokio::test(start_paused = true)]
async fn a_put_lock_held_for_long_is_a_busy_page_cache() {
    let machine = Machine::new();
    let store = machine.open().await;
    let locked_since_ms = &store.log.put_side.locked_since_ms;
    assert_eq!(locked_since_ms.swap(machine.clock.now_millis(), Ordering::Relaxed), 0);
    machine.clock.advance(1_000);
    assert!(!store.commit_log().is_os_page_cache_busy());
    machine.clock.advance(1);
    assert_eq!(put(&store, b"x").await, PutMessageResult::refused(OsPageCacheBusy));
    locked_since_ms.store(0, Ordering::Relaxed);
    assert_eq!(put(&store, b"x").await.status, PutOk);
}

#[tokio::test(start_paused = true)]
async fn a_slow_sync_is_a_timeout_even_if_it_succeeds_later() {
    let machine = Machine::with(|config| config.flush_disk_type = FlushDiskType::SyncFlush);
    let store = machine.open().await;
    machine.disk.hold(LOG_FILE);
    let started = tokio::time::Instant::now();
    let first = store.put_message(&message(b"x"));
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    let second = store.put_message(&message(b"y"));
    assert_eq!(first.await.status, FlushDiskTimeout);
    assert_eq!(started.elapsed().as_millis(), 5_000);
    assert_eq!(second.await.status, FlushDiskTimeout);
    assert_eq!(started.elapsed().as_millis(), 8_000, "it joined a sync that was under way");
    machine.disk.release();
    until_dispatched(&store).await;
    assert_eq!(store.max_offset_in_queue("T", 0), 2, "stored all the same");
    assert_eq!(put(&store, b"z").await.status, PutOk);
}

#[tokio::test(start_paused = true)]
async fn a_replica_status_that_is_not_ok_replaces_the_flush_status() {
    let machine = Machine::with(|config| {
        config.flush_disk_type = FlushDiskType::SyncFlush;
        config.broker_role = BrokerRole::SyncMaster;
    });
    let store = machine.open().await;
    assert_eq!(status(&store, &message(b"x")).await, SlaveNotAvailable);
    let mut unwaited = message(b"x");
    unwaited.wait_store_ok = false;
    assert_eq!(status(&store, &unwaited).await, PutOk);

    let answer = Arc::new(Mutex::new(FlushSlaveTimeout));
    let asked = Arc::new(AtomicU64::new(0));
    let (from, noted) = (Arc::clone(&answer), Arc::clone(&asked));
    store.set_replica_wait(Arc::new(move |end_offset| {
        noted.store(end_offset, Ordering::Relaxed);
        Box::pin(std::future::ready(*lock(&from)))
    }));
    machine.disk.hold(LOG_FILE);
    assert_eq!(put(&store, b"x").await.status, FlushSlaveTimeout, "and FLUSH_DISK_TIMEOUT");
    assert_eq!(asked.load(Ordering::Relaxed), store.commit_log().max_offset());
    *lock(&answer) = PutOk;
    assert_eq!(put(&store, b"x").await.status, FlushDiskTimeout);
    machine.disk.release();
    until_dispatched(&store).await;
    assert_eq!(put(&store, b"x").await.status, PutOk);
}

#[tokio::test]
async fn a_batch_becomes_records_in_a_row() {
    let machine = Machine::new();
    let store = machine.open().await;
    put(&store, b"before").await;
    let mut batch = batch(&[(b"one", "TAGS\u{1}a"), (b"", ""), (b"three", "K\u{1}v\u{2}")]);
    batch.properties = "CLUSTER\u{1}c".to_owned();
    let result = store.put_messages(&batch).await;
    let stored = result.append.unwrap();
    assert_eq!((stored.queue_offset, stored.message_count()), (1, 3));
    assert_eq!(stored.phy_offsets().next(), Some(stored.phy_offset));
    let records: Vec<_> =
        stored.phy_offsets().map(|at| store.look_message_by_offset(at).unwrap()).collect();
    let lengths: usize = records.iter().map(|record| record.len()).sum();
    assert_eq!(lengths, stored.wrote_bytes as usize);
    let records: Vec<_> = records.iter().map(|record| decode_record(record).unwrap()).collect();
    let properties: Vec<_> =
        records.iter().map(|record| record.properties().into_owned()).collect();
    assert_eq!(
        properties,
        ["TAGS\u{1}a\u{2}CLUSTER\u{1}c", "CLUSTER\u{1}c", "K\u{1}v\u{2}CLUSTER\u{1}c"]
    );
    assert_eq!(records[2].body(), b"three");
    assert_eq!((records[2].queue_offset(), records[2].flag()), (3, 5));
    assert_eq!(put(&store, b"after").await.append.unwrap().queue_offset, 4);
    until_dispatched(&store).await;
    assert_eq!(store.max_offset_in_queue("T", 0), 5);
}

#[tokio::test]
async fn a_bad_batch_is_refused_as_a_whole() {
    let machine = Machine::with(|config| config.max_message_size = 1000);
    let store = machine.open().await;
    let refused = async |batch: MessageInner| {
        let result = store.put_messages(&batch).await;
        assert_eq!(result, PutMessageResult::refused(MessageIllegal));
        assert_eq!(store.commit_log().max_offset(), 0);
    };
    refused(message(b"garbage")).await;
    refused(message(b"")).await;
    refused(batch(&[(b"fine", ""), (&[0; 1001], "")])).await;
    // Each is short enough, all of them together are not.
    refused(batch(&[(&[0; 500], ""), (&[0; 500], "")])).await;
    refused(batch(&[(b"fine", ""), (b"", "k\u{1}\0")])).await;
    let mut prepared = batch(&[(b"x", "")]);
    prepared.sys_flag = MessageSysFlag::TRANSACTION_PREPARED;
    refused(prepared).await;
    let mut delayed = batch(&[(b"x", "")]);
    delayed.properties = "DELAY\u{1}3".to_owned();
    refused(delayed).await;
    let mut long_topic = batch(&[(b"x", "")]);
    long_topic.topic = "t".repeat(128);
    refused(long_topic).await;
    let mut long_text = batch(&[(b"x", "")]);
    long_text.properties = "p".repeat(32_768);
    refused(long_text).await;
    let longest = batch(&[(&[0; 470], ""), (&[0; 470], "")]);
    assert_eq!(longest.body.len(), 984);
    assert_eq!(store.put_messages(&longest).await.append.unwrap().queue_offset, 0);
}

/// What a batch grows by as records is bounded as well.
#[tokio::test]
async fn a_batch_that_becomes_too_large_is_refused() {
    let machine = Machine::with(|config| {
        config.max_message_size = 20_000;
        config.mapped_file_size_commit_log = 1 << 20;
    });
    let store = machine.open().await;
    let mut batch = batch(&vec![(&b""[..], ""); 500]);
    batch.properties = format!("K\u{1}{}", "v".repeat(100));
    assert!(batch.body.len() < 20_000);
    let result = store.put_messages(&batch).await;
    assert_eq!(result, PutMessageResult::refused(MessageIllegal));
    assert_eq!(store.commit_log().max_offset(), 0);
    batch.properties.clear();
    assert_eq!(store.put_messages(&batch).await.status, PutOk);
}

#[tokio::test]
async fn a_batch_never_spans_files() {
    let machine = Machine::new();
    let store = machine.open().await;
    put(&store, &vec![0; 6000]).await;
    let body = [0; 900];
    let stored = store.put_messages(&batch(&[(&body, ""), (&body, ""), (&body, "")])).await;
    assert_eq!(stored.append.unwrap().phy_offset, LOG_FILE as u64);
}

#[tokio::test]
async fn half_messages_take_no_queue_offset() {
    let machine = Machine::new();
    let store = machine.open().await;
    let mut transaction = message(b"x");
    for (sys_flag, queue_offset) in [(0, 0), (4, 0), (12, 0), (8, 1), (0, 2)] {
        transaction.sys_flag = sys_flag;
        let stored = store.put_message(&transaction).await.append.unwrap();
        assert_eq!(stored.queue_offset, queue_offset, "sys flag {sys_flag}");
    }
    until_dispatched(&store).await;
    assert_eq!(store.max_offset_in_queue("T", 0), 3);
}

#[tokio::test]
async fn queues_count_by_themselves() {
    let machine = Machine::new();
    let store = machine.open().await;
    let mut other = message(b"x");
    for (topic, queue_id, queue_offset) in
        [("T", 0, 0), ("T", 1, 0), ("U", 0, 0), ("T", 1, 1), ("U", 0, 1), ("T", 0, 1)]
    {
        (other.topic, other.queue_id) = (topic.to_owned(), queue_id);
        let stored = store.put_message(&other).await.append.unwrap();
        assert_eq!(stored.queue_offset, queue_offset, "{topic} {queue_id}");
    }
    until_dispatched(&store).await;
    assert_eq!(store.consume_queues().topics(), ["T", "U"]);
    assert_eq!(store.consume_queues().queue_ids("T"), [0, 1]);
}

#[test]
fn every_status_has_javas_name() {
    let names: BTreeSet<_> = PutMessageStatus::ALL.map(PutMessageStatus::name).into();
    assert_eq!(names.len(), PutMessageStatus::ALL.len());
    assert!(names.contains("CREATE_MAPEDFILE_FAILED"), "Java's misspelling is the name");
}

#[test]
fn an_acknowledgement_rests_on_what_flush_role_pool_and_message_say() {
    use mq_protocol::ack_rule::Held::{PageCache, Platter, Process};
    let (sync, async_) = (FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush);
    for (role, flush, pool, waited, unwaited) in [
        (BrokerRole::AsyncMaster, async_, false, (PageCache, 0), PageCache),
        (BrokerRole::AsyncMaster, async_, true, (Process, 0), Process),
        (BrokerRole::AsyncMaster, sync, false, (Platter, 0), PageCache),
        (BrokerRole::AsyncMaster, sync, true, (Platter, 0), PageCache),
        (BrokerRole::SyncMaster, async_, false, (PageCache, 1), PageCache),
        (BrokerRole::SyncMaster, async_, true, (PageCache, 1), Process),
        (BrokerRole::SyncMaster, sync, true, (Platter, 1), PageCache),
        (BrokerRole::Slave, async_, true, (PageCache, 0), PageCache),
        (BrokerRole::Slave, sync, true, (Platter, 0), PageCache),
    ] {
        let mut config = StoreConfig::at("unused");
        (config.flush_disk_type, config.transient_store_pool_enable) = (flush, pool);
        let rule = |waits| {
            let rule = config.ack_rule(role, waits);
            (rule.own, rule.other_copies)
        };
        let told = (rule(true), rule(false));
        assert_eq!(told, (waited, (unwaited, 0)), "{role:?}, {flush:?}, pool {pool}");
    }
}
