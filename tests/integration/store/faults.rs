//! Disks that fail, fill up or stand still.

use std::time::Duration;

use mq_env::disk::PAGE_SIZE;
use mq_store::GetMessageStatus;
use mq_store::doctor::{StoreDir, Verdict};
use staticfire_world::disk::{FlushErrorMode, FlushFault, ReadFault};

use super::*;

fn fault(path_contains: &str, mode: FlushErrorMode) -> FlushFault {
    FlushFault { path_contains: path_contains.to_owned(), times: Some(1), mode }
}

/// The failed sync of the real thing: EIO once, pages clean and not on the platter.
#[test]
fn a_failed_sync_loses_nothing_that_was_acked() {
    let modes = [FlushErrorMode::Clean, FlushErrorMode::KeptDirty];
    for mode in modes {
        for restart_first in [false, true] {
            let config = small_config(FlushDiskType::SyncFlush);
            let (disk, ledger) = (new_disk(5), Ledger::default());
            live(&disk, &config, async |store| {
                put_numbers(store, &ledger, 0..20).await;
                disk.fail_flushes(fault("commitlog", mode));
                put_numbers(store, &ledger, 20..30).await;
                assert!(!store.is_writeable());
                let first = store.get_message("T", 0, 0, 32, &MessageFilter::All);
                assert_eq!(first.status, GetMessageStatus::Found, "reads go on");
                assert_eq!(ledger.now().acked.len(), 20);
            })
            .unwrap();
            if restart_first {
                // The page cache still has what the failed sync left clean: it is written again.
                live(&disk, &config, async |store| {
                    let found = read_all(store);
                    assert!(found.len() > 20, "{} found", found.len());
                    ledger.change(|sent| sent.acked = found.into_iter().collect());
                })
                .unwrap();
            }
            disk.power_loss_worst();
            live(&disk, &config, async |store| {
                let found = read_all(store);
                let acked: Vec<_> = ledger.now().acked.into_iter().collect();
                assert_eq!(
                    found, acked,
                    "{mode:?}, restarted before the power loss: {restart_first}"
                );
            })
            .unwrap();
        }
    }
}

/// A message whose record takes a quarter of a page.
fn quarter(number: u32) -> MessageInner {
    let mut quarter = message(number);
    let mut body = number.to_be_bytes().to_vec();
    body.resize(PAGE_SIZE / 4 - 91 - quarter.topic.len() - quarter.properties.len(), 1);
    (quarter.body, quarter.queue_id) = (Bytes::from(body), 0);
    quarter
}

/// A cut whose sync failed, a start, a put up to the end of a page, a power loss: the disk had what was cut
/// all the time, and what of it lies behind the new end must not come back.
#[test]
fn what_a_failed_cut_left_on_the_disk_does_not_come_back() {
    let config = small_config(FlushDiskType::SyncFlush);
    let disk = new_disk(7);
    let put = async |store: &MessageStore, number| store.put_message(&quarter(number)).await.status;
    let cut = async |store: &Arc<MessageStore>| {
        store.truncate_to(3 * PAGE_SIZE as u64 / 4, "it diverged").await
    };
    live(&disk, &config, async |store| {
        for number in 10..17 {
            assert_eq!(put(store, number).await, PutMessageStatus::PutOk);
        }
        disk.fail_flushes(fault("commitlog", FlushErrorMode::Clean));
        cut(store).await.unwrap_err();
        assert_eq!(put(store, 20).await, PutMessageStatus::ServiceNotAvailable);
    })
    .unwrap();
    live(&disk, &config, async |store| {
        if read_around(store) != [10, 11, 12] {
            cut(store).await.unwrap();
        }
        assert_eq!(put(store, 20).await, PutMessageStatus::PutOk);
        assert_eq!(store.commit_log().max_offset(), PAGE_SIZE as u64);
    })
    .unwrap();
    disk.power_loss_worst();
    live(&disk, &config, async |store| assert_eq!(read_around(store), [10, 11, 12, 20])).unwrap();
}

/// A sync that lied is found at the next start, and named.
#[test]
fn a_lost_write_below_the_watermark_stops_the_start() {
    let config = small_config(FlushDiskType::SyncFlush);
    let (disk, ledger) = (new_disk(6), Ledger::default());
    live(&disk, &config, async |store| {
        put_numbers(store, &ledger, 0..4).await;
        let lost = fault("commitlog", FlushErrorMode::NeverReported);
        disk.fail_flushes(FlushFault { times: None, ..lost });
        put_numbers(store, &ledger, 4..20).await;
        disk.clear_flush_faults();
        put_numbers(store, &ledger, 20..30).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    })
    .unwrap();
    disk.power_loss_worst();
    let error = live(&disk, &config, async |_| {}).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("commitlog/0000000000000000"), "{error}");
}

/// What can be read of a store with a hole, in the order of the log.
fn read_around(store: &MessageStore) -> Vec<u32> {
    let mut found = Vec::new();
    for queue_id in [0, 1] {
        let mut offset = store.min_offset_in_queue("T", queue_id);
        while offset < store.max_offset_in_queue("T", queue_id) {
            let result = store.get_message("T", queue_id, offset, 32, &MessageFilter::All);
            assert!(result.next_begin_offset > offset, "{:?}", result.status);
            offset = result.next_begin_offset;
            for record in &result.messages {
                let record = decode_record(record).unwrap();
                let (number, _) = record.body().split_first_chunk().unwrap();
                found.push((record.phy_offset(), u32::from_be_bytes(*number)));
            }
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, number)| number).collect()
}

/// A store of 60 messages, closed in order, and where each one is.
fn closed_store(seed: u64) -> (StoreConfig, Arc<SimDisk>, Vec<u64>) {
    let config = small_config(FlushDiskType::SyncFlush);
    let disk = new_disk(seed);
    let placed = live(&disk, &config, async |store| {
        let mut placed = Vec::new();
        for number in 0..60 {
            let put = store.put_message(&message(number)).await;
            placed.push(put.append.unwrap().phy_offset);
        }
        store.shutdown().await;
        placed
    });
    (config, disk, placed.unwrap())
}

fn log_file_of(phy_offset: u64) -> (PathBuf, u64) {
    let inside = phy_offset % LOG_FILE as u64;
    (log_path(phy_offset - inside), inside)
}

fn verify(disk: &Arc<SimDisk>, config: &StoreConfig) -> Verdict {
    let handle = disk.image().after_kill().handle("doctor");
    let dir = StoreDir::open(handle, Path::new("/machine/store"), Some(config)).unwrap();
    dir.verify(&mut |_| {}).unwrap()
}

/// What cannot be read is not taken for empty.
#[test]
fn files_that_cannot_be_read_stop_the_start_and_lose_nothing() {
    let (config, disk, _) = closed_store(20);
    for part in ["commitlog/", "consumequeue/", "index/", "store/durable", "store/checkpoint"] {
        disk.fail_reads(ReadFault { path_contains: part.to_owned(), times: Some(1) });
        let error = live(&disk, &config, async |_| {}).unwrap_err();
        let reasons: Vec<String> =
            std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
                .map(ToString::to_string)
                .collect();
        assert!(reasons.concat().contains("os error 5"), "{part}: {reasons:?}");
        disk.clear_read_faults();
    }
    let all: Vec<u32> = (0..60).collect();
    live(&disk, &config, async |store| assert_eq!(read_all(store), all)).unwrap();
}

/// One bit of a body: the start names the place, and leaves out that message alone if told to.
#[test]
fn bit_rot_in_the_log_is_found_by_the_start_or_by_the_doctor() {
    for (number, is_walked) in [(58_u32, true), (3, false)] {
        let (mut config, disk, placed) = closed_store(21);
        let phy_offset = placed[number as usize];
        let (file, inside) = log_file_of(phy_offset);
        assert!(disk.rot(&file, inside + 120, 0x10));
        let verdict = verify(&disk, &config);
        assert!(!verdict.is_sound(), "{verdict:?}");
        let others: Vec<u32> = (0..60).filter(|other| *other != number).collect();
        if !is_walked {
            // As 4.9 a start looks at the last three files; the consumer sees the CRC.
            let found = live(&disk, &config, async |store| read_around(store)).unwrap();
            assert_eq!(found.len(), 60);
            continue;
        }
        let error = live(&disk, &config, async |_| {}).unwrap_err();
        let StoreError::Damaged { file: named, phy_offset: at, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((named, *at), (&file, phy_offset));
        config.salvage = true;
        live(&disk, &config, async |store| {
            assert_eq!(read_around(store), others);
            let damaged = store.recovery().damaged;
            assert_eq!((damaged.len(), damaged[0].from), (1, phy_offset));
        })
        .unwrap();
    }
}

/// A unit that points elsewhere costs its own message and is no way to read pieces of the log.
#[test]
fn bit_rot_in_a_queue_is_left_out_by_readers_and_found_by_the_doctor() {
    // The physical offset of queue 0's fifth message, by a record and by a byte; its size.
    for (byte, mask) in [(6, 0x04), (7, 0x01), (11, 0x01)] {
        let (config, disk, placed) = closed_store(22);
        let queue = Path::new("/machine/store/consumequeue/T/0/00000000000000000000");
        assert!(disk.rot(queue, 5 * 20 + byte, mask));
        live(&disk, &config, async |store| {
            let found = read_around(store);
            assert_eq!(found, (0..60).filter(|number| *number != 10).collect::<Vec<_>>());
            let only = store.get_message("T", 0, 5, 1, &MessageFilter::All);
            let outcome = (only.status, only.next_begin_offset);
            assert!(only.messages.len() == 1 && outcome.1 == 7, "{outcome:?}");
            let by_position = store.look_message_by_offset(placed[10]).unwrap();
            assert_eq!(decode_record(&by_position).unwrap().body(), message(10).body);
        })
        .unwrap();
        assert!(!verify(&disk, &config).is_sound());
    }
}

/// Dispatching goes on behind the last unit's record. Where that unit is rotten it would begin amid a
/// record, find nothing there and pass over the rest of the file.
#[test]
fn a_rotten_last_unit_takes_no_message_with_it() {
    // The last message is queue 1's thirtieth. Its size, and its physical offset.
    for (byte, mask) in [(10, 0x01), (11, 0x04), (11, 0x08), (7, 0x02), (6, 0x01), (6, 0x10)] {
        let (config, disk, _) = closed_store(25);
        let (unit, size) = (29 * 20, config.mapped_file_size_consume_queue as u64);
        let file = format!("/machine/store/consumequeue/T/1/{:020}", unit / size * size);
        assert!(disk.rot(Path::new(&file), unit % size + byte, mask));
        live(&disk, &config, async |store| {
            let found = read_around(store);
            let without_last = found.iter().copied().eq(0..59);
            assert!(without_last || found.iter().copied().eq(0..60), "{found:?}");
            for number in 60..62 {
                let put = store.put_message(&message(number)).await.append.unwrap();
                assert_eq!(put.queue_offset, 30);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(store.dispatch_behind_bytes(), 0);
            assert_eq!(read_around(store)[found.len()..], [60, 61]);
        })
        .unwrap();
    }
}

/// A unit that points behind the log says nothing of where the units behind it point.
#[test]
fn a_rotten_unit_that_points_behind_the_log_hides_no_other() {
    let (config, disk, _) = closed_store(24);
    let queue = Path::new("/machine/store/consumequeue/T/0/00000000000000000000");
    live(&disk, &config, async |store| {
        assert!(disk.rot(queue, 5 * 20 + 2, 0x01));
        let found = read_around(store);
        assert_eq!(found, (0..60).filter(|number| *number != 10).collect::<Vec<_>>());
    })
    .unwrap();
}

/// A write that the disk puts in the wrong place: below the watermark the start says so.
#[test]
fn a_misdirected_write_is_found_by_the_next_start() {
    let mut config = small_config(FlushDiskType::SyncFlush);
    let (disk, ledger) = (new_disk(23), Ledger::default());
    live(&disk, &config, async |store| {
        put_numbers(store, &ledger, 0..10).await;
        // Far enough into the second page of a file.
        while store.commit_log().max_offset() % (LOG_FILE as u64) < 5_000 {
            let next = ledger.now().stored.len() as u32;
            put_numbers(store, &ledger, next..next + 1).await;
        }
        let next = ledger.now().stored.len() as u32;
        disk.fail_flushes(fault("commitlog", FlushErrorMode::Misdirected));
        put_numbers(store, &ledger, next..next + 1).await;
        put_numbers(store, &ledger, next + 1..next + 8).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(ledger.now().acked.len() as u32, next + 8, "nobody knows");
    })
    .unwrap();
    assert_eq!(disk.stats().flush_errors, 1);
    disk.power_loss_worst();
    let error = live(&disk, &config, async |_| {}).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    config.salvage = true;
    live(&disk, &config, async |store| {
        let (found, sent) = (read_around(store), ledger.now().stored);
        let lost: Vec<_> = sent.iter().filter(|number| !found.contains(number)).collect();
        assert!((1..=20).contains(&lost.len()), "a page of messages: {lost:?}");
        assert!(found.contains(sent.last().unwrap()), "what lies behind is kept");
        assert!(!store.recovery().damaged.is_empty());
    })
    .unwrap();
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let config = small_config(FlushDiskType::SyncFlush);
    let (disk, ledger) = (new_disk(7), Ledger::default());
    disk.set_capacity(60 << 10);
    live(&disk, &config, async |store| {
        let mut refused = 0;
        for number in (0..200).step_by(2) {
            let before = ledger.now().stored.len();
            let result = store.put_message(&message(number)).await;
            match result.status {
                PutMessageStatus::PutOk => ledger.change(|sent| sent.stored.push(number)),
                PutMessageStatus::CreateMappedFileFailed
                | PutMessageStatus::ServiceNotAvailable => refused += 1,
                other => panic!("{other:?} after {before}"),
            }
        }
        assert!(refused > 10 && ledger.now().stored.len() > 10);
        disk.set_capacity(1 << 30);
        tokio::time::sleep(Duration::from_secs(2)).await;
        for number in (200..210).step_by(2) {
            let result = store.put_message(&message(number)).await;
            assert_eq!(result.status, PutMessageStatus::PutOk, "space came back");
            ledger.change(|sent| sent.stored.push(number));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(read_all(store), ledger.now().stored);
    })
    .unwrap();
    disk.power_loss_worst();
    live(&disk, &config, async |store| assert_eq!(read_all(store), ledger.now().stored)).unwrap();
}

#[test]
fn a_disk_that_hangs_times_puts_out() {
    let config = small_config(FlushDiskType::SyncFlush);
    let disk = new_disk(8);
    live(&disk, &config, async |store| {
        disk.hang();
        let result = store.put_message(&message(0)).await;
        assert_eq!(result.status, PutMessageStatus::FlushDiskTimeout);
        assert_eq!(store.max_offset_in_queue("T", 0), 0, "not visible");
        disk.unhang();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(store.max_offset_in_queue("T", 0), 1);
        let result = store.put_message(&message(2)).await;
        assert_eq!(result.status, PutMessageStatus::PutOk);
    })
    .unwrap();
}

/// A message that nobody waits for is on the platter soon all the same.
#[test]
fn acked_bytes_are_on_the_platter() {
    let config = small_config(FlushDiskType::SyncFlush);
    let disk = new_disk(9);
    live(&disk, &config, async |store| {
        let stored = store.put_message(&message(0)).await.append.unwrap();
        let len = u64::from(stored.wrote_bytes);
        let live = disk.live_bytes(&log_path(0), 0..len).unwrap();
        assert!(disk.is_durable(&log_path(0), 0, &live));
        assert!(is_durable_file(&disk, "/machine/store/abort"));
        let mut unwaited = message(2);
        unwaited.wait_store_ok = false;
        store.put_message(&unwaited).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let end = store.commit_log().max_offset();
        assert_eq!(disk.first_unsynced(&log_path(0), 0..end), None);
        store.shutdown().await;
        assert!(!is_durable_file(&disk, "/machine/store/abort"));
    })
    .unwrap();
}

/// Idle stores leave the disk alone.
#[test]
fn an_idle_store_does_nothing() {
    for flush_disk_type in [FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush] {
        let config = small_config(flush_disk_type);
        let (disk, ledger) = (new_disk(10), Ledger::default());
        live(&disk, &config, async |store| {
            put_numbers(store, &ledger, 0..10).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            let ops = disk.micro_ops();
            tokio::time::sleep(Duration::from_secs(100_000)).await;
            assert_eq!(disk.micro_ops(), ops);
        })
        .unwrap();
    }
}

/// Gigabyte files cost what is touched of them.
#[test]
fn large_files_are_not_walked() {
    let mut config = small_config(FlushDiskType::SyncFlush);
    config.mapped_file_size_commit_log = 1 << 30;
    config.mapped_file_size_consume_queue = 6_000_000;
    let (disk, ledger) = (new_disk(11), Ledger::default());
    live(&disk, &config, async |store| put_numbers(store, &ledger, 0..20).await).unwrap();
    disk.power_loss_worst();
    live(&disk, &config, async |store| {
        assert_eq!(read_all(store), ledger.now().stored);
        put_numbers(store, &ledger, 20..22).await;
        store.shutdown().await;
    })
    .unwrap();
    live(&disk, &config, async |store| assert_eq!(read_all(store).len(), 22)).unwrap();
}
