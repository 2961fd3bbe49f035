//! Kill, power loss and destruction.

use std::collections::BTreeSet;
use std::io;

use super::*;
use crate::disk::{MetadataOp, PageFate, PowerLossReport};

const LOG: &str = "/log";

#[test]
fn kill_keeps_everything() {
    run(async {
        let disk = disk();
        let first = disk.handle("a");
        let region = first.map(Path::new(LOG), 2 * PAGE_SIZE).unwrap();
        region.write(100, b"unsynced");
        first.write(Path::new("/config"), b"small").unwrap();
        let lock = first.lock(Path::new("/lock")).unwrap();
        disk.process_died(first.epoch());

        let second = disk.handle("a");
        let again = second.map(Path::new(LOG), 2 * PAGE_SIZE).unwrap();
        assert_eq!(again.slice(100..108), b"unsynced");
        assert_eq!(second.read(Path::new("/config")).unwrap(), b"small");
        let second_lock = second.lock(Path::new("/lock")).unwrap();
        drop(lock);
        let busy = second.lock(Path::new("/lock")).err().unwrap();
        assert_eq!(busy.kind(), io::ErrorKind::WouldBlock, "a dead lock's guard frees nothing");
        drop(second_lock);
    });
}

#[test]
#[should_panic(expected = "stale region: process a has died")]
fn writing_a_region_of_a_dead_process_panics() {
    let disk = disk();
    let handle = disk.handle("a");
    let region = handle.map(Path::new(LOG), PAGE_SIZE).unwrap();
    disk.process_died(handle.epoch());
    region.write(0, b"x");
}

#[test]
fn a_dead_process_reaches_nothing_and_hears_nothing() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 1).await;
        fill(&region, 0, 1);
        let flush = handle.flush(&region, 0..PAGE_SIZE);
        disk.process_died(handle.epoch());
        let heard = tokio::time::timeout(std::time::Duration::from_secs(9), flush).await;
        assert!(heard.is_err(), "a flush of the dead never returns");
        let refused = handle.write(Path::new("/x"), b"x").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
        assert!(!disk.exists(Path::new("/x")));
        assert_eq!(disk.unsynced_pages(Path::new(LOG)), [0]);
    });
}

#[test]
fn power_loss_drops_only_what_was_not_synced() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 4).await;
        fill(&region, 0, 1);
        fill(&region, 1, 1);
        handle.flush(&region, 0..2 * PAGE_SIZE).await.unwrap();
        fill(&region, 1, 2);
        fill(&region, 2, 2);
        let report = disk.power_loss_worst();
        assert!(report.bit());
        assert_eq!((report.dropped_pages(), report.torn_pages(), report.kept_pages()), (2, 0, 0));

        assert_eq!(region.slice(PAGE_SIZE..PAGE_SIZE + 1), [2], "the dead keep their view");
        let after = disk.handle("a").map(Path::new(LOG), 4 * PAGE_SIZE).unwrap();
        let fills: Vec<u8> =
            (0..4).map(|page| after.slice(page * PAGE_SIZE..after.len())[0]).collect();
        assert_eq!(fills, [1, 1, 0, 0]);
    });
}

/// Two synced pages of ones are overwritten with twos, and the power goes.
fn overwrite_and_cut(seed: u64) -> (PowerLossReport, Vec<u8>) {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 2).await;
        for byte in [1, 2] {
            fill(&region, 0, byte);
            fill(&region, 1, byte);
            if byte == 1 {
                handle.flush(&region, 0..region.len()).await.unwrap();
            }
        }
        let report = disk.power_loss(&mut stream(seed));
        (report, disk.handle("a").read(Path::new(LOG)).unwrap())
    })
}

#[test]
fn pages_are_kept_dropped_and_torn_independently() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let (report, content) = overwrite_and_cut(seed);
        assert_eq!(report.files[0].pages.len(), 2);
        let mut shape = Vec::new();
        for loss in &report.files[0].pages {
            let page = &content[loss.page as usize * PAGE_SIZE..][..PAGE_SIZE];
            let sectors = page.chunks(512).map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "torn inside a sector");
                sector[0]
            });
            let kept = sectors.enumerate().fold(0_u8, |kept, (i, byte)| kept | (byte - 1) << i);
            let (fate, name) = match kept {
                0 => (PageFate::Dropped, "dropped"),
                u8::MAX => (PageFate::Kept, "kept"),
                kept_sectors => (PageFate::Torn { kept_sectors }, "torn"),
            };
            assert_eq!(loss.fate, fate, "the report tells what is found");
            shape.push(name);
        }
        outcomes.insert(shape);
    }
    assert_eq!(outcomes.len(), 9, "{outcomes:?}");
}

#[test]
fn the_same_seed_gives_the_same_loss() {
    let mut contents = BTreeSet::new();
    for seed in 0..20 {
        let (report, content) = overwrite_and_cut(seed);
        assert!((report, &content) == (overwrite_and_cut(seed).0, &overwrite_and_cut(seed).1));
        contents.insert(content);
    }
    assert!(contents.len() > 5, "seeds differ");
}

#[test]
fn names_survive_as_a_prefix_and_only_a_directory_sync_secures_them() {
    let mut survivors = BTreeSet::new();
    for seed in 0..40 {
        let (lost, found) = run(async {
            let disk = disk();
            let handle = disk.handle("a");
            handle.create_dir_all(Path::new("/d")).unwrap();
            handle.sync(Path::new("/")).await.unwrap();
            for name in ["/d/1", "/d/2", "/d/3"] {
                handle.write(Path::new(name), b"").unwrap();
            }
            let report = disk.power_loss(&mut stream(seed));
            let names = disk.handle("a").list(Path::new("/d")).unwrap();
            (report.lost_ops, names.into_iter().map(|entry| entry.name).collect::<Vec<_>>())
        });
        assert_eq!(found, ["1", "2", "3"][..found.len()]);
        assert_eq!(lost.len(), 3 - found.len());
        if let Some(first) = lost.first() {
            let path = format!("/d/{}", found.len() + 1);
            assert_eq!(*first, MetadataOp::Create(path.into()));
        }
        survivors.insert(found.len());
    }
    assert_eq!(survivors, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn a_rename_may_survive_without_the_data() {
    let mut found = BTreeSet::new();
    for seed in 0..200 {
        let content = run(async {
            let disk = disk();
            let handle = disk.handle("a");
            handle.write(Path::new("/config"), b"old").unwrap();
            disk.settle();
            handle.write(Path::new("/config.tmp"), b"new").unwrap();
            handle.rename(Path::new("/config.tmp"), Path::new("/config")).unwrap();
            disk.power_loss(&mut stream(seed));
            disk.handle("a").read(Path::new("/config")).unwrap()
        });
        found.insert(content);
    }
    let possible: [&[u8]; 4] = [b"", b"\0\0\0", b"new", b"old"];
    assert_eq!(found, possible.into_iter().map(<[u8]>::to_vec).collect());
}

#[test]
fn replacing_with_syncs_is_atomic() {
    for seed in 0..100 {
        run(async {
            let disk = disk();
            let handle = disk.handle("a");
            let (path, side) = (Path::new("/config"), Path::new("/config.tmp"));
            handle.write(path, b"old").unwrap();
            disk.settle();
            handle.write(side, b"new").unwrap();
            handle.sync(side).await.unwrap();
            handle.rename(side, path).unwrap();
            let synced = seed % 2 == 0;
            if synced {
                handle.sync(Path::new("/")).await.unwrap();
            }
            disk.power_loss(&mut stream(seed));
            let content = disk.handle("a").read(path).unwrap();
            assert!(content == b"new" || !synced && content == b"old", "{content:?}");
        });
    }
}

#[test]
fn rewriting_in_place_may_leave_old_new_or_nothing() {
    let mut found = BTreeSet::new();
    for seed in 0..200 {
        let content = run(async {
            let disk = disk();
            let handle = disk.handle("a");
            handle.write(Path::new("/config"), b"old").unwrap();
            disk.settle();
            handle.write(Path::new("/config"), b"newer").unwrap();
            disk.power_loss(&mut stream(seed));
            disk.handle("a").read(Path::new("/config")).unwrap()
        });
        found.insert(content);
    }
    let possible: [&[u8]; 4] = [b"", b"\0\0\0\0\0", b"newer", b"old"];
    assert_eq!(found, possible.into_iter().map(<[u8]>::to_vec).collect());
}

#[test]
fn a_file_whose_size_was_lost_is_shorter_and_says_so() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = handle.map(Path::new(LOG), PAGE_SIZE).unwrap();
        handle.sync(Path::new("/")).await.unwrap();
        fill(&region, 0, 7);
        let report = disk.power_loss_worst();
        let file = &report.files[0];
        assert_eq!((file.len_before, file.len_after), (PAGE_SIZE as u64, 0));
        assert_eq!(file.pages[0].fate, PageFate::Dropped);
        assert_eq!(disk.handle("a").map(Path::new(LOG), PAGE_SIZE).unwrap().slice(0..1), [0]);
    });
}

#[test]
fn bytes_beyond_a_lost_size_never_show_again() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..60 {
        run(async {
            let disk = disk();
            let handle = disk.handle("a");
            handle.write(Path::new(LOG), &[7; 5000]).unwrap();
            handle.sync(Path::new("/")).await.unwrap();
            disk.writeback(&mut stream(seed));
            let written_back = disk.unsynced_pages(Path::new(LOG)).is_empty();
            let report = disk.power_loss_worst();
            let len = disk.live_len(Path::new(LOG)).unwrap();
            assert_eq!(report.bit(), !(written_back && len == 5000));
            let region = disk.handle("a").map(Path::new(LOG), 2 * PAGE_SIZE).unwrap();
            if len == 0 {
                assert!(region.slice(0..region.len()).iter().all(|byte| *byte == 0));
            }
            outcomes.insert((written_back, len));
        });
    }
    assert!(outcomes.contains(&(true, 0)), "the data came before the size: {outcomes:?}");
}

#[test]
fn a_removed_file_may_come_back() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, LOG, 1).await;
        fill(&region, 0, 3);
        handle.flush(&region, 0..PAGE_SIZE).await.unwrap();
        handle.remove(Path::new(LOG)).unwrap();
        drop(region);
        assert_eq!(disk.used_bytes(), 0);
        let report = disk.power_loss_worst();
        assert_eq!(report.lost_ops, [MetadataOp::Remove(LOG.into())]);
        assert_eq!(durable_fill(&disk, LOG, 0), Some(3));
        assert_eq!(disk.used_bytes(), PAGE_SIZE as u64);
    });
}

#[test]
fn destruction_leaves_nothing() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        durable_file(&handle, LOG, 1).await;
        disk.destroy();
        let fresh = disk.handle("a");
        assert_eq!(fresh.list(Path::new("/")).unwrap(), []);
        assert_eq!((disk.paths().len(), disk.used_bytes()), (0, 0));
        assert!(handle.list(Path::new("/")).is_err(), "its processes died");
    });
}
