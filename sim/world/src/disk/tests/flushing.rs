//! Flushes in the air, failing, hanging; writeback.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;
use crate::disk::{DiskEvent, DiskObserver, FlushErrorMode, FlushFault, FlushOutcome, SyncNote};

const LOG: &str = "/log";

fn fault(times: Option<u32>, mode: FlushErrorMode) -> FlushFault {
    FlushFault { path_contains: "lo".to_owned(), times, mode }
}

#[test]
fn a_flush_captures_what_was_written_before_the_call() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 2).await;
        fill(&region, 0, 1);
        let flush = handle.flush(&region, 0..PAGE_SIZE);
        fill(&region, 0, 2);
        fill(&region, 1, 2);
        let began = Instant::now();
        flush.await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(10));
        assert_eq!(durable_fill(&disk, LOG, 0), Some(1), "not what was written meanwhile");
        assert_eq!(disk.unsynced_pages(Path::new(LOG)), [0, 1]);
    });
}

#[test]
fn power_loss_in_the_middle_of_a_flush_lands_any_subset() {
    let mut subsets = BTreeSet::new();
    for seed in 0..100 {
        let landed = run(async {
            let disk = disk();
            let handle = disk.handle("a");
            let region = durable_file(&handle, LOG, 2).await;
            fill(&region, 0, 1);
            fill(&region, 1, 1);
            let flush = handle.flush(&region, 0..region.len());
            assert!(timeout(Duration::from_millis(5), flush).await.is_err());
            assert_eq!(durable_fill(&disk, LOG, 0), Some(0), "nothing before its time");
            disk.power_loss(&mut stream(seed));
            [0, 1].map(|page| durable_fill(&disk, LOG, page))
        });
        subsets.insert(landed);
    }
    let whole = [Some(0), Some(1)];
    assert!(whole.iter().all(|a| whole.iter().all(|b| subsets.contains(&[*a, *b]))), "{subsets:?}");
}

#[test]
fn power_loss_may_find_what_a_flush_had_captured() {
    let found: BTreeSet<_> = (0..200)
        .map(|seed| {
            run(async {
                let disk = disk();
                let handle = disk.handle("a");
                let region = durable_file(&handle, LOG, 1).await;
                fill(&region, 0, 1);
                let flush = handle.flush(&region, 0..PAGE_SIZE);
                fill(&region, 0, 2);
                drop(flush);
                disk.power_loss(&mut stream(seed));
                durable_fill(&disk, LOG, 0)
            })
        })
        .collect();
    assert_eq!(found, BTreeSet::from([None, Some(0), Some(1), Some(2)]));
}

#[test]
fn overlapping_flushes_keep_their_promises_in_any_order() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 2).await;
        disk.set_latency(LatencyProfile::uniform(50..=50));
        fill(&region, 0, 1);
        fill(&region, 1, 1);
        let slow = handle.flush(&region, 0..region.len());
        disk.set_latency(LatencyProfile::uniform(5..=5));
        fill(&region, 0, 2);
        handle.flush(&region, 0..region.len()).await.unwrap();
        assert_eq!(durable_fill(&disk, LOG, 0), Some(2));
        assert_eq!(durable_fill(&disk, LOG, 1), Some(1), "the slow one still held it");
        assert_eq!(disk.first_unsynced(Path::new(LOG), 0..u64::MAX), None);
        slow.await.unwrap();
        assert_eq!(durable_fill(&disk, LOG, 0), Some(2), "an older capture overwrites nothing");
    });
}

#[test]
fn a_flush_of_nothing_takes_no_time_and_an_abandoned_one_must_be_repeated() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 1).await;
        fill(&region, 0, 1);
        drop(handle.flush(&region, 0..PAGE_SIZE));
        let began = Instant::now();
        handle.flush(&region, 0..PAGE_SIZE).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(10));
        handle.flush(&region, 0..PAGE_SIZE).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(10));
        assert_eq!(durable_fill(&disk, LOG, 0), Some(1));
    });
}

/// Flushes page 0 under an error, then again; the results and what a worst power loss leaves.
fn flush_twice(mode: FlushErrorMode) -> (bool, bool, u8, Option<u8>) {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 1).await;
        disk.fail_flushes(fault(Some(1), mode));
        fill(&region, 0, 1);
        let first = handle.flush(&region, 0..PAGE_SIZE).await;
        let cached = region.slice(0..1)[0];
        let second = handle.flush(&region, 0..PAGE_SIZE).await;
        for error in [&first, &second].iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!(error.raw_os_error(), Some(5));
        }
        assert_eq!(disk.stats().flush_errors, 1);
        disk.power_loss_worst();
        (first.is_ok(), second.is_ok(), cached, durable_fill(&disk, LOG, 0))
    })
}

#[test]
fn flush_errors_in_every_mode() {
    assert_eq!(flush_twice(FlushErrorMode::Clean), (false, true, 1, Some(0)));
    assert_eq!(flush_twice(FlushErrorMode::KeptDirty), (false, true, 1, Some(1)));
    assert_eq!(flush_twice(FlushErrorMode::ReportedLate), (true, false, 1, Some(0)));
    assert_eq!(flush_twice(FlushErrorMode::NeverReported), (true, true, 1, Some(0)));
    assert_eq!(flush_twice(FlushErrorMode::Reverted), (false, true, 0, Some(0)));
}

#[test]
fn a_page_dropped_by_an_error_is_saved_by_writing_it_again() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 2).await;
        disk.fail_flushes(fault(None, FlushErrorMode::Clean));
        fill(&region, 0, 1);
        fill(&region, 1, 1);
        handle.flush(&region, 0..region.len()).await.unwrap_err();
        handle.sync(Path::new("/")).await.unwrap();
        disk.clear_flush_faults();
        region.write(0, &[1]);
        handle.flush(&region, 0..region.len()).await.unwrap();
        assert_eq!(disk.unsynced_pages(Path::new(LOG)), [1]);
        assert_eq!(disk.first_unsynced(Path::new(LOG), 0..u64::MAX), Some(PAGE_SIZE as u64));
    });
}

#[test]
fn a_page_dropped_by_an_error_may_have_reached_the_platter_all_the_same() {
    let found: BTreeSet<_> = (0..60)
        .map(|seed| {
            run(async {
                let disk = disk();
                let handle = disk.handle("a");
                let region = durable_file(&handle, LOG, 1).await;
                fill(&region, 0, 1);
                disk.fail_flushes(fault(Some(1), FlushErrorMode::Clean));
                handle.flush(&region, 0..PAGE_SIZE).await.unwrap_err();
                disk.power_loss(&mut stream(seed));
                durable_fill(&disk, LOG, 0)
            })
        })
        .collect();
    assert_eq!(found, BTreeSet::from([None, Some(0), Some(1)]));
}

#[test]
fn an_older_flush_does_not_settle_a_page_whose_newer_flush_failed() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 1).await;
        fill(&region, 0, 1);
        disk.set_latency_scale(5.0);
        let slow = handle.flush(&region, 0..PAGE_SIZE);
        disk.reset_latency();
        fill(&region, 0, 2);
        disk.fail_flushes(fault(Some(1), FlushErrorMode::Clean));
        handle.flush(&region, 0..PAGE_SIZE).await.unwrap_err();
        slow.await.unwrap();
        assert_eq!(durable_fill(&disk, LOG, 0), Some(1));
        assert_eq!(disk.unsynced_pages(Path::new(LOG)), [0]);
    });
}

#[test]
fn a_sync_does_not_secure_a_size_that_came_after_the_call() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        drop(handle.map(Path::new(LOG), PAGE_SIZE).unwrap());
        let sync = handle.sync(Path::new(LOG));
        drop(handle.map(Path::new(LOG), 2 * PAGE_SIZE).unwrap());
        handle.sync(Path::new("/")).await.unwrap();
        sync.await.unwrap();
        assert_eq!(disk.durable_len(Path::new(LOG)), Some(PAGE_SIZE as u64));
    });
}

#[test]
fn a_failed_directory_sync_secures_nothing() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        handle.create_dir_all(Path::new("/logs")).unwrap();
        handle.sync(Path::new("/")).await.unwrap();
        handle.write(Path::new("/logs/x"), b"").unwrap();
        disk.fail_flushes(fault(Some(1), FlushErrorMode::Clean));
        handle.sync(Path::new("/logs")).await.unwrap_err();
        assert!(!disk.exists_durably(Path::new("/logs/x")));
        handle.sync(Path::new("/logs")).await.unwrap();
        assert!(disk.exists_durably(Path::new("/logs/x")));
    });
}

#[test]
fn hanging_and_slow_disks() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 1).await;
        fill(&region, 0, 1);
        let mut flush = handle.flush(&region, 0..PAGE_SIZE);
        disk.hang();
        assert!(timeout(Duration::from_secs(3600), &mut flush).await.is_err());
        assert_eq!(durable_fill(&disk, LOG, 0), Some(0));
        disk.unhang();
        flush.await.unwrap();
        assert_eq!(durable_fill(&disk, LOG, 0), Some(1));

        disk.set_latency_scale(7.5);
        let began = Instant::now();
        fill(&region, 0, 2);
        handle.flush(&region, 0..PAGE_SIZE).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(75));
        disk.reset_latency();
        fill(&region, 0, 3);
        handle.sync(Path::new(LOG)).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(85));
    });
}

#[test]
fn writeback_makes_any_subset_durable() {
    let mut subsets = BTreeSet::new();
    for seed in 0..60 {
        let subset = run(async {
            let disk = disk();
            let handle = disk.handle("a");
            let (a, b) =
                (durable_file(&handle, "/a", 1).await, durable_file(&handle, "/b", 1).await);
            fill(&a, 0, 1);
            fill(&b, 0, 1);
            disk.writeback(&mut stream(seed));
            assert_eq!(disk.stats().power_losses, 0);
            disk.power_loss_worst();
            ["/a", "/b"].map(|path| durable_fill(&disk, path, 0))
        });
        subsets.insert(subset);
    }
    assert_eq!(subsets.len(), 4, "{subsets:?}");
}

#[test]
fn writeback_commits_names_and_late_sizes_in_the_end() {
    let disk = disk();
    let handle = disk.handle("a");
    handle.write(Path::new("/config"), b"abc").unwrap();
    let mut rng = stream(5);
    for _ in 0..40 {
        disk.writeback(&mut rng);
    }
    assert_eq!(disk.pending_ops(), 0);
    assert!(disk.is_durable(Path::new("/config"), 0, b"abc"));
}

#[test]
fn writeback_takes_up_what_an_abandoned_flush_had_captured() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 1).await;
        fill(&region, 0, 1);
        let flush = handle.flush(&region, 0..PAGE_SIZE);
        let pictured = disk.image().after_kill();
        drop(flush);
        for disk in [disk, pictured] {
            let mut rng = stream(6);
            for _ in 0..40 {
                disk.writeback(&mut rng);
            }
            assert_eq!(durable_fill(&disk, LOG, 0), Some(1));
        }
    });
}

#[test]
fn mapped_writes_date_the_file_when_they_are_flushed() {
    run(async {
        let clock = Arc::new(HandClock::default());
        let config = SimDiskConfig::default();
        let disk = SimDisk::new(config, Arc::clone(&clock) as _, Rng::from_seed(1));
        let handle = disk.handle("a");
        clock.0.store(1000, Ordering::Relaxed);
        let region = durable_file(&handle, LOG, 1).await;
        clock.0.store(2000, Ordering::Relaxed);
        fill(&region, 0, 1);
        let modified = || handle.stat(Path::new(LOG)).unwrap().modified_ms;
        assert_eq!(modified(), 1000);
        handle.flush(&region, 0..PAGE_SIZE).await.unwrap();
        assert_eq!(modified(), 2000);
        let note = disk.last_synced(Path::new(LOG), 0);
        assert!(matches!(note, Some(SyncNote { at_ms: 2000, .. })));
    });
}

/// Writes events down, one word each.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl DiskObserver for Diary {
    fn event(&self, event: &DiskEvent<'_>) {
        let line = match event {
            DiskEvent::FlushStarted { path, range, pages, latency_ms, .. } => {
                format!("start {} {range:?} {pages} pages {latency_ms} ms", path.display())
            }
            DiskEvent::FlushEnded { path, outcome, .. } => {
                format!("end {} {}", path.display(), *outcome == FlushOutcome::Durable)
            }
            DiskEvent::DirSynced { path, .. } => format!("dir {}", path.display()),
            DiskEvent::NoSpace { wanted_bytes, free_bytes, .. } => {
                format!("no space for {wanted_bytes} in {free_bytes}")
            }
            DiskEvent::PowerLost { report } => format!("power {report}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn observers_hear_of_everything() {
    run(async {
        let disk = disk();
        let diary = Arc::new(Diary::default());
        disk.observe(Some(Arc::clone(&diary) as _));
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 2).await;
        disk.fail_flushes(fault(Some(1), FlushErrorMode::Clean));
        fill(&region, 1, 1);
        handle.flush(&region, 4096..8192).await.unwrap_err();
        handle.map(Path::new("/big"), 2 << 20).unwrap_err();
        disk.power_loss_worst();
        disk.destroy();
        let heard = diary.0.lock().unwrap().join("\n");
        let expected = "\
            start /log 0..8192 0 pages 10 ms\n\
            end /log true\n\
            dir /\n\
            start /log 4096..8192 1 pages 10 ms\n\
            end /log false\n\
            no space for 2097152 in 1040384\n\
            power 1 pages dropped, 0 torn, 0 kept; 1 metadata operations lost, 0 kept\n\
            Destroyed";
        assert_eq!(heard, expected);
    });
}
