//! Disks that fail, fill up or stand still.

use std::time::Duration;

use mq_store::GetMessageStatus;
use staticfire::env::disk::{FlushErrorMode, FlushFault};

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
