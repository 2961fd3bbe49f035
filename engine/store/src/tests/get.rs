//! Reads: every status, filters, limits, single messages, offsets by time.

use super::*;
use crate::GetMessageStatus::*;
use crate::config::BrokerRole;
use crate::{GetMessageResult, GetMessageStatus, PutMessageStatus, SelectedBuffer};

fn get(store: &MessageStore, offset: u64) -> GetMessageResult {
    store.get_message("T", 0, offset, 32, &MessageFilter::All)
}

fn outcome(result: &GetMessageResult) -> (GetMessageStatus, u64, usize) {
    (result.status, result.next_begin_offset, result.messages.len())
}

#[tokio::test]
async fn every_status_of_a_read() {
    let machine = Machine::new();
    let store = machine.open().await;
    assert_eq!(outcome(&get(&store, 5)), (NoMessageInQueue, 0, 0));
    let nowhere = store.get_message("..", 0, 5, 32, &MessageFilter::All);
    assert_eq!(outcome(&nowhere), (NoMatchedLogicQueue, 0, 0));
    put_numbers(&store, 0..150).await;
    until_dispatched(&store).await;
    assert_eq!(outcome(&get(&store, 0)), (Found, 32, 32));
    assert_eq!(outcome(&get(&store, 90)), (Found, 100, 10), "never across a queue file");
    assert_eq!(outcome(&get(&store, 149)), (Found, 150, 1));
    assert_eq!(outcome(&get(&store, 150)), (OffsetOverflowOne, 150, 0));
    assert_eq!(outcome(&get(&store, 151)), (OffsetOverflowBadly, 150, 0));
    let none = MessageFilter::TagsCodes([1].into());
    let result = store.get_message("T", 0, 3, 32, &none);
    assert_eq!(outcome(&result), (NoMatchedMessage, 100, 0));
    assert_eq!((result.min_offset, result.max_offset), (0, 150));
    let queue = store.consume_queues().find("T", 0).unwrap();
    queue.correct_min_offset(record_len(100) * 7);
    assert_eq!(outcome(&get(&store, 6)), (OffsetTooSmall, 7, 0));
    assert_eq!(get(&store, 7).status, Found);
    // Its minimum is still to be corrected.
    queue.retire_first_below(store.commit_log().max_offset()).unwrap();
    assert_eq!(outcome(&get(&store, 7)), (OffsetFoundNull, 100, 0));
    assert_eq!(get(&store, 100).status, Found);
}

#[tokio::test]
async fn a_read_skips_what_the_log_no_longer_has() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..60).await;
    until_dispatched(&store).await;
    store.shutdown().await;
    drop(store);
    // As if the second of three files had gone: its units stay until the queue is cleaned.
    let log = machine.log_file(0);
    machine.disk.remove(&log).unwrap();
    let store = machine.open().await;
    let removed = LOG_FILE as u64 / record_len(100);
    assert_eq!(store.min_offset_in_queue("T", 0), removed);
    let queue = store.consume_queues().find("T", 0).unwrap();
    queue.correct_min_offset(0);
    let result = get(&store, 0);
    assert_eq!(result.status, Found);
    let first = decode_record(&result.messages[0]).unwrap();
    assert_eq!(first.queue_offset() as u64, removed);
    let nothing = store.get_message("T", 0, 0, 0, &MessageFilter::TagsCodes([1].into()));
    assert_eq!(nothing.status, NoMatchedMessage);
}

/// All that the read looks at is gone, and more than that.
#[tokio::test]
async fn a_read_of_what_is_being_removed_finds_nothing_and_goes_on() {
    let machine = Machine::new();
    let store = machine.open().await;
    for number in 0..150 {
        let mut tagged = message(&[0; 900]);
        if number < 20 {
            tagged.properties = "TAGS\u{1}a".to_owned();
        }
        store.put_message(&tagged).await;
    }
    until_dispatched(&store).await;
    store.shutdown().await;
    drop(store);
    for file in 0..14 {
        machine.disk.remove(&machine.log_file(file * LOG_FILE as u64)).unwrap();
    }
    let store = machine.open().await;
    let kept_from = store.min_offset_in_queue("T", 0);
    assert_eq!(kept_from, 14 * (LOG_FILE as u64 / record_len(900)));
    assert_eq!(outcome(&get(&store, 5)), (OffsetTooSmall, kept_from, 0));
    let queue = store.consume_queues().find("T", 0).unwrap();
    queue.correct_min_offset(0);
    assert_eq!(outcome(&get(&store, 5)), (MessageWasRemoving, 100, 0));
    let tagged = store.get_message("T", 0, 5, 32, &MessageFilter::TagsCodes([97].into()));
    assert_eq!(outcome(&tagged), (NoMatchedMessage, 100, 0), "the last one looked at decides");
    assert_eq!(get(&store, 100).status, Found);
}

#[tokio::test]
async fn a_filter_that_nothing_passes_ends_a_read_after_16000_bytes_of_units() {
    let machine = Machine::with(|config| config.mapped_file_size_consume_queue = 40_000);
    let store = machine.open().await;
    for number in 0..1_100 {
        let mut tagged = message(b"x");
        if number == 800 || number == 1_000 {
            tagged.properties = "TAGS\u{1}a".to_owned();
        }
        store.put_message(&tagged).await;
    }
    until_dispatched(&store).await;
    let read = |offset, max_msg_nums| {
        let filter = MessageFilter::TagsCodes([97].into());
        outcome(&store.get_message("T", 0, offset, max_msg_nums, &filter))
    };
    assert_eq!(read(0, 32), (NoMatchedMessage, 800, 0));
    assert_eq!(read(1, 32), (Found, 801, 1), "the last unit that is looked at");
    assert_eq!(read(0, 1_000), (Found, 1_000, 1), "a read of more messages looks at more units");
    assert_eq!(read(0, 1_001), (Found, 1_001, 2));
}

#[tokio::test]
async fn a_slave_leaves_offsets_alone() {
    let machine = Machine::with(|config| config.broker_role = BrokerRole::Slave);
    let store = machine.open().await;
    assert_eq!(outcome(&get(&store, 5)), (NoMessageInQueue, 5, 0));
    let nowhere = store.get_message("a/b", 0, 5, 32, &MessageFilter::All);
    assert_eq!(outcome(&nowhere), (NoMatchedLogicQueue, 5, 0));
    drop(store);
    let machine = Machine::with(|config| {
        config.broker_role = BrokerRole::Slave;
        config.offset_check_in_slave = true;
    });
    let store = machine.open().await;
    assert_eq!(outcome(&get(&store, 5)), (NoMessageInQueue, 0, 0));
}

#[tokio::test]
async fn filters_compare_hash_codes_of_tags() {
    let machine = Machine::new();
    let store = machine.open().await;
    for tags in ["a", "b", "", "Aa", "BB", "a"] {
        let mut tagged = message(tags.as_bytes());
        if !tags.is_empty() {
            tagged.properties = format!("TAGS\u{1}{tags}");
        }
        store.put_message(&tagged).await;
    }
    until_dispatched(&store).await;
    let bodies = |codes: Vec<i32>| {
        let result = store.get_message(
            "T",
            0,
            0,
            32,
            &MessageFilter::TagsCodes(codes.into_iter().collect()),
        );
        assert_eq!(result.next_begin_offset, 6);
        let body = |record: &SelectedBuffer| decode_record(record).unwrap().body().to_vec();
        result.messages.iter().map(body).collect::<Vec<_>>()
    };
    assert_eq!(bodies(vec![97]), [b"a", b"a"]);
    assert_eq!(bodies(vec![98, 97]), [b"a", b"b", b"a"]);
    assert_eq!(bodies(vec![2112]), [b"Aa", b"BB"], "a collision passes");
    assert_eq!(bodies(vec![0]), [b""]);
}

#[tokio::test]
async fn reads_keep_to_the_transfer_limits() {
    let machine = Machine::with(|config| {
        config.max_transfer_bytes_on_message_in_memory = 500;
        config.max_transfer_count_on_message_in_disk = 2;
        config.max_transfer_bytes_on_message_in_disk = 700;
    });
    let store = machine.open().await;
    put_numbers(&store, 0..20).await;
    put(&store, &vec![0; 3000]).await;
    until_dispatched(&store).await;
    let count = |offset, max| {
        let result = store.get_message("T", 0, offset, max, &MessageFilter::All);
        let total: usize = result.messages.iter().map(|message| message.len()).sum();
        assert_eq!(total, result.buffer_total_bytes);
        result.messages.len()
    };
    assert_eq!(count(0, 32), 2, "500 bytes hold two records");
    assert_eq!(count(0, 1), 1);
    assert_eq!(count(0, 0), 1, "the first one always goes");
    assert_eq!(count(20, 32), 1, "however large");
    store.shutdown().await;
    drop(store);

    let mut machine = machine;
    machine.config.total_memory_bytes = 10_000;
    let store = machine.open().await;
    assert!(get(&store, 0).suggest_pulling_from_slave);
    assert_eq!(get(&store, 0).messages.len(), 2);
    assert!(!get(&store, 20).suggest_pulling_from_slave, "3092 bytes behind, of 4000");
    // The message that ended the read was looked at, too: 4.9 judges by it.
    let ahead = |offset, max| {
        let result = store.get_message("T", 0, offset, max, &MessageFilter::All);
        (result.messages.len(), result.suggest_pulling_from_slave)
    };
    let (behind, count) = (3_092 + 4 * record_len(100), 16);
    assert_eq!(behind, 3_860, "what lies behind the 16th message");
    assert_eq!((ahead(count - 1, 1), ahead(count - 2, 1)), ((1, false), (1, true)));
    assert!(store.is_in_disk_by_consume_offset("T", 0, 0));
    assert!(!store.is_in_disk_by_consume_offset("T", 0, 20));
}

#[tokio::test]
async fn single_messages_are_found_by_offset() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..3).await;
    let len = record_len(100);
    let found = store.look_message_by_offset(len).unwrap();
    assert_eq!(found.len() as u64, len);
    assert_eq!(decode_record(&found).unwrap().body(), numbered(1));
    assert!(store.look_message_by_offset(len + 1).is_none());
    assert!(store.look_message_by_offset(3 * len).is_none());
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let machine = Machine::new();
    let store = machine.open().await;
    assert_eq!(store.offset_in_queue_by_time("T", 0, 0), 0);
    let start = machine.clock.now_millis();
    for number in 0..20 {
        put_numbers(&store, number..number + 1).await;
        machine.clock.advance(100);
    }
    until_dispatched(&store).await;
    let by_time = |after: u64| store.offset_in_queue_by_time("T", 0, start + after);
    assert_eq!(store.offset_in_queue_by_time("T", 0, 0), 0);
    assert_eq!((by_time(0), by_time(700), by_time(1_900)), (0, 7, 19));
    assert_eq!((by_time(730), by_time(770)), (7, 8), "the nearer neighbour");
    assert_eq!(by_time(750), 7, "the earlier one of two as near");
    assert_eq!(by_time(1_000_000), 19, "the last message, not the end");
    assert_eq!(store.message_store_timestamp("T", 0, 3), Some(start + 300));
    assert_eq!(store.earliest_message_time("T", 0), Some(start));
    assert_eq!(store.message_store_timestamp("T", 0, 20), None);
}

/// A day's messages, many of one millisecond, then the oldest of them go: from the log first, from
/// the queue a moment later.
#[tokio::test]
async fn offsets_are_found_by_time_among_equal_times_and_behind_what_is_gone() {
    let machine = Machine::new();
    let store = machine.open().await;
    let start = machine.clock.now_millis();
    for millisecond in 0..10 {
        put_numbers(&store, millisecond * 20..millisecond * 20 + 20).await;
        machine.clock.advance(1);
    }
    until_dispatched(&store).await;
    let by_time =
        |store: &MessageStore, after: u64| store.offset_in_queue_by_time("T", 0, start + after);
    for millisecond in 0..10 {
        assert_eq!(by_time(&store, millisecond), millisecond * 20, "the first of its time");
    }
    assert_eq!(by_time(&store, 10), 199);
    store.shutdown().await;
    drop(store);
    machine.disk.remove(&machine.log_file(0)).unwrap();
    let store = machine.open().await;
    let removed = LOG_FILE as u64 / record_len(100);
    assert_eq!(removed, 42);
    let queue = store.consume_queues().find("T", 0).unwrap();
    for min_phy_offset in [LOG_FILE as u64, 0] {
        queue.correct_min_offset(min_phy_offset);
        assert_eq!((by_time(&store, 0), by_time(&store, 2)), (removed, removed));
        assert_eq!((by_time(&store, 3), by_time(&store, 9)), (60, 180));
    }
    assert_eq!(store.min_offset_in_queue("T", 0), 0, "not corrected yet");
    assert_eq!(store.earliest_message_time("T", 0), None);
}

#[tokio::test]
async fn a_queue_that_is_cut_begins_no_later_than_it_ends() {
    let machine = Machine::with(|config| config.broker_role = BrokerRole::Slave);
    let master = Machine::new();
    let store = master.open().await;
    put_numbers(&store, 0..80).await;
    let end = store.commit_log().max_offset();
    let slave = machine.open().await;
    let from = LOG_FILE as u64;
    let aside = machine.aside();
    slave.reset_to(from, &aside).await.unwrap();
    let data = store.commit_log().data(from).unwrap();
    slave.commit_log().append_raw(from, &data).unwrap();
    until(|| slave.dispatched_offset() == end).await;
    let bounds = || (slave.min_offset_in_queue("T", 0), slave.max_offset_in_queue("T", 0));
    assert_eq!(bounds(), (42, 80));
    slave.truncate_to(from + 10 * record_len(100), "test").await.unwrap();
    assert_eq!(bounds(), (42, 52));
    slave.truncate_to(from, "test").await.unwrap();
    assert_eq!(bounds(), (42, 42));
    assert_eq!(slave.offset_in_queue_by_time("T", 0, 0), 42);
}

#[tokio::test]
async fn delayed_messages_wait_in_the_queue_of_their_level_with_their_delivery_time() {
    let machine = Machine::new();
    let store = machine.open().await;
    let mut delayed = message(b"x");
    let rows = [("3", 10_000, 2), ("18", 7_200_000, 17), ("99", 7_200_000, 17)];
    for (level, delay_ms, queue_id) in rows {
        delayed.properties = format!("DELAY\u{1}{level}\u{2}k\u{1}v");
        let stored = store.put_message(&delayed).await.append.unwrap();
        until_dispatched(&store).await;
        let queue = store.consume_queues().find("SCHEDULE_TOPIC_XXXX", queue_id).unwrap();
        let unit = queue.unit(stored.queue_offset).unwrap();
        assert_eq!(unit.tags_code as u64, machine.clock.now_millis() + delay_ms, "level {level}");
        let record = store.look_message_by_offset(stored.phy_offset).unwrap();
        let properties = decode_record(&record).unwrap().properties().into_owned();
        let level = queue_id + 1;
        let expected = format!("DELAY={level};k=v;REAL_TOPIC=T;REAL_QID=0");
        assert_eq!(properties.replace('\u{1}', "=").replace('\u{2}', ";"), expected);
    }
    assert_eq!(store.max_offset_in_queue("T", 0), 0);
    for level in ["0", "-1", "x"] {
        delayed.properties = format!("DELAY\u{1}{level}");
        store.put_message(&delayed).await;
    }
    delayed.properties = "DELAY\u{1}5".to_owned();
    store.put_due_message(&delayed).await;
    until_dispatched(&store).await;
    assert_eq!(store.max_offset_in_queue("T", 0), 4);
    delayed.topic = "T".repeat(128);
    let refused = store.put_message(&delayed).await;
    assert_eq!(refused.status, PutMessageStatus::MessageIllegal);
}
