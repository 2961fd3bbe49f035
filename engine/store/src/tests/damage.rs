//! Damage inside the log, queues that are gone, and what a start reports of both.

use super::*;

const LEN: usize = 192;

/// Every number that can be read; queue offsets that are left out are passed over.
fn readable_numbers(store: &MessageStore) -> Vec<u32> {
    let (mut numbers, mut offset) = (Vec::new(), store.min_offset_in_queue("T", 0));
    while offset < store.max_offset_in_queue("T", 0) {
        let result = store.get_message("T", 0, offset, 32, &MessageFilter::All);
        for record in &result.messages {
            let record = decode_record(record).unwrap();
            numbers.push(u32::from_be_bytes(*record.body().first_chunk().unwrap()));
        }
        assert!(result.next_begin_offset > offset);
        offset = result.next_begin_offset;
    }
    numbers
}

/// A closed store of 200 messages, 42 to a file.
async fn closed_store() -> Machine {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..200).await;
    store.shutdown().await;
    machine
}

/// All numbers below 200 but those.
fn all_but(left_out: Range<u32>) -> Vec<u32> {
    (0..200).filter(|number| !left_out.contains(number)).collect()
}

#[tokio::test]
async fn damage_in_a_store_that_java_closed_is_passed_over() {
    // A byte of a body; a size; the tail of one record and the head of the next.
    let damages: [(usize, usize, Range<u32>); 3] =
        [(100, 1, 136..137), (0, 1, 136..137), (150, LEN, 136..138)];
    for (at, len, left_out) in damages {
        let machine = closed_store().await;
        machine.disk.remove(&machine.root().join("durable")).unwrap();
        machine.edit(&machine.log_file(3 * LOG_FILE as u64), |log| {
            log[10 * LEN + at..][..len].iter_mut().for_each(|byte| *byte ^= 0x55);
        });
        let store = machine.open().await;
        assert_eq!(readable_numbers(&store), all_but(left_out.clone()));
        let from = (3 * LOG_FILE + 10 * LEN) as u64;
        let damaged = store.commit_log().damaged_ranges();
        assert_eq!(damaged.len(), 1);
        assert_eq!((damaged[0].from, damaged[0].to), (from, from + (left_out.len() * LEN) as u64));
        assert_eq!(store.recovery().damaged, damaged);
        assert!(store.look_message_by_offset(from).is_none());
        machine.kill(store).await;
        // It is known from then on, also when the queues are made again.
        for from in [0, QUEUE_FILE as u64] {
            machine.disk.remove(&machine.queue_file("T", 0, from)).unwrap();
        }
        let store = machine.open().await;
        assert!(store.recovery().queues_rebuilt.is_some());
        assert_eq!(readable_numbers(&store), all_but(left_out.clone()));
        store.truncate_to(from, "test").await.unwrap();
        assert!(store.commit_log().damaged_ranges().is_empty());
        put_numbers(&store, 136..200).await;
        until_dispatched(&store).await;
        machine.kill(store).await;
        assert_eq!(readable_numbers(&*machine.open().await), all_but(0..0));
    }
}

#[tokio::test]
async fn damage_below_the_watermark_is_passed_over_only_when_told_to() {
    let mut machine = closed_store().await;
    machine.edit(&machine.log_file(3 * LOG_FILE as u64), |log| log[10 * LEN + 100] ^= 1);
    let error = machine.try_open().await.map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    machine.config.salvage = true;
    let store = machine.open().await;
    assert_eq!(readable_numbers(&store), all_but(136..137));
    machine.kill(store).await;
    machine.config.salvage = false;
    let store = machine.open().await;
    assert_eq!(readable_numbers(&store), all_but(136..137));
    assert!(store.recovery().damaged[0].reason.contains("CRC"));
}

/// With nothing sound behind it, damage is the end, and told to go on the start goes on with that.
#[tokio::test]
async fn a_lost_tail_below_the_watermark_is_cut_when_told_to() {
    let mut machine = closed_store().await;
    machine.edit(&machine.log_file(4 * LOG_FILE as u64), |log| log.fill(0));
    assert!(machine.try_open().await.is_err());
    machine.config.salvage = true;
    let store = machine.open().await;
    assert_eq!(readable_numbers(&store), (0..168).collect::<Vec<_>>());
    put_numbers(&store, 168..170).await;
    machine.kill(store).await;
    machine.config.salvage = false;
    assert_eq!(readable_numbers(&*machine.open().await), (0..170).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_queue_that_is_missing_or_short_is_made_again() {
    for has_marks in [true, false] {
        for is_short in [true, false] {
            let machine = closed_store().await;
            if !has_marks {
                machine.disk.remove(&machine.root().join("durable")).unwrap();
            }
            if is_short {
                machine.edit(&machine.queue_file("T", 0, 0), |units| units[20 * 90..].fill(0));
                machine.disk.remove(&machine.queue_file("T", 0, QUEUE_FILE as u64)).unwrap();
            } else {
                for from in [0, QUEUE_FILE as u64] {
                    machine.disk.remove(&machine.queue_file("T", 0, from)).unwrap();
                }
            }
            let store = machine.open().await;
            assert_eq!(read_numbers(&store), all_but(0..0), "{has_marks} {is_short}");
            assert!(store.recovery().queues_rebuilt.is_some());
            machine.kill(store).await;
            assert!(machine.open().await.recovery().queues_rebuilt.is_none());
        }
    }
}

#[tokio::test]
async fn what_a_start_drops_is_reported() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..50).await;
    machine.kill(store).await;
    // The third-last of eight records in the second file.
    let torn = LOG_FILE + 5 * LEN;
    machine.edit(&machine.log_file(LOG_FILE as u64), |log| log[5 * LEN + 120..6 * LEN].fill(0));
    let report = machine.open().await.recovery();
    assert!(report.end_reason.contains("do not fill"), "{report:?}");
    let offsets: Vec<_> = report.dropped.iter().map(|dropped| dropped.phy_offset).collect();
    assert_eq!(offsets, [torn as u64, (torn + LEN) as u64, (torn + 2 * LEN) as u64]);
    let last = &report.dropped[2];
    assert_eq!((last.topic.as_deref(), last.queue_offset), (Some("T"), Some(49)));
    assert_eq!(last.reason, "behind the end of the log");
    // A record without properties ends with two zeros.
    assert_eq!(report.dropped_bytes, 3 * LEN as u64 - 2);
    assert_eq!(machine.open().await.recovery().dropped, []);
}
