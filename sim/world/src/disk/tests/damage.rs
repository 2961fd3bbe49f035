//! Reads that fail, bits that rot, writes that land elsewhere.

use std::io;

use super::*;
use crate::disk::{DamageKind, DeviceDamage, FlushErrorMode, FlushFault, ReadFault};

fn read_fault(path_contains: &str, times: Option<u32>) -> ReadFault {
    ReadFault { path_contains: path_contains.to_owned(), times }
}

#[test]
fn reads_fail_as_often_as_told_and_where_told() {
    let disk = disk();
    let handle = disk.handle("a");
    for path in ["/a", "/b"] {
        handle.write(Path::new(path), b"content").unwrap();
    }
    disk.fail_reads(read_fault("a", Some(3)));
    let is_eio = |error: io::Error| error.raw_os_error() == Some(5);
    assert!(is_eio(handle.read(Path::new("/a")).unwrap_err()));
    assert!(is_eio(handle.read_at(Path::new("/a"), 0, 1).unwrap_err()));
    assert_eq!(handle.read(Path::new("/b")).unwrap(), b"content");
    assert!(is_eio(handle.map(Path::new("/a"), PAGE_SIZE).unwrap_err()));
    assert_eq!(handle.read(Path::new("/a")).unwrap(), b"content", "three times are over");
    disk.fail_reads(read_fault("", None));
    handle.map(Path::new("/new"), PAGE_SIZE).unwrap();
    assert!(handle.read(Path::new("/b")).is_err());
    disk.clear_read_faults();
    assert_eq!(handle.read(Path::new("/b")).unwrap(), b"content");
    assert_eq!(disk.stats().read_errors, 4);
}

#[test]
fn rot_is_seen_at_once_unless_the_page_waits_for_a_sync() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, "/f", 2).await;
        fill(&region, 0, 1);
        handle.flush(&region, 0..region.len()).await.unwrap();
        fill(&region, 1, 2);
        let rot = |offset: usize| disk.rot(Path::new("/f"), offset as u64, 0b100);
        assert!(rot(7) && rot(PAGE_SIZE + 7));
        assert!(!rot(2 * PAGE_SIZE) && !disk.rot(Path::new("/none"), 0, 1));
        assert_eq!(region.slice(6..9), [1, 5, 1]);
        assert_eq!(region.slice(PAGE_SIZE + 7..PAGE_SIZE + 8), [2]);
        let healed = disk.image().after_kill();
        let again = healed.handle("a").map(Path::new("/f"), region.len()).unwrap();
        healed.settle();
        assert_eq!(
            (again.slice(7..8), again.slice(PAGE_SIZE + 7..PAGE_SIZE + 8)),
            (&[5][..], &[2][..])
        );

        disk.power_loss_worst();
        let found = disk.handle("a").read(Path::new("/f")).unwrap();
        assert_eq!((found[6], found[7], found[PAGE_SIZE + 6], found[PAGE_SIZE + 7]), (1, 5, 0, 4));
    });
}

#[test]
fn a_misdirected_write_spares_its_place_and_hits_another() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, "/f", 4).await;
        for page in 0..4 {
            fill(&region, page, 10 + page as u8);
        }
        handle.flush(&region, 0..region.len()).await.unwrap();
        disk.fail_flushes(FlushFault {
            path_contains: String::new(),
            times: Some(2),
            mode: FlushErrorMode::Misdirected,
        });
        fill(&region, 3, 99);
        handle.flush(&region, 0..region.len()).await.unwrap();
        fill(&region, 0, 88);
        handle.flush(&region, 0..PAGE_SIZE).await.unwrap();
        assert_eq!(region.slice(2 * PAGE_SIZE..2 * PAGE_SIZE + 1), [12], "the page cache is right");
        let fills = |disk: &SimDisk| [0, 1, 2, 3].map(|page| durable_fill(disk, "/f", page));
        assert_eq!(fills(&disk), [Some(10), Some(88), Some(99), Some(13)]);
        fill(&region, 2, 77);
        handle.flush(&region, 0..region.len()).await.unwrap();
        assert_eq!(
            fills(&disk),
            [Some(10), Some(88), Some(77), Some(13)],
            "clean pages stay wrong"
        );
        disk.power_loss_worst();
        let found = disk.handle("a").read(Path::new("/f")).unwrap();
        assert_eq!([0, 1, 2, 3].map(|page| found[page * PAGE_SIZE]), [10, 88, 77, 13]);
    });
}

/// What the device damaged of `/f`: page, first and last byte in it, kind.
fn damage(disk: &SimDisk) -> Vec<(u64, u64, u64, DamageKind)> {
    let page = PAGE_SIZE as u64;
    let all = disk.damage(Path::new("/f")).into_iter();
    let place = |it: DeviceDamage| {
        let (start, last) = (it.range.start, it.range.end - 1);
        (start / page, start % page, last % page, it.kind)
    };
    all.map(place).collect()
}

#[test]
fn the_device_knows_what_it_damaged_until_other_bytes_come_over_it() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, "/f", 4).await;
        fill(&region, 0, 1);
        handle.flush(&region, 0..region.len()).await.unwrap();
        assert_eq!(disk.rot_somewhere("/f", 2).len(), 2);
        assert_eq!(disk.rot_somewhere("/none", 2), []);
        let rotten = damage(&disk);
        assert!(rotten.iter().all(|it| (it.0, it.3) == (0, DamageKind::Rotted)), "{rotten:?}");
        // Read and written back as it was read: still rotten. Written anew: healed.
        let same = [region.slice(0..1)[0]];
        region.write(0, &same);
        handle.flush(&region, 0..region.len()).await.unwrap();
        assert_eq!(damage(&disk).len(), rotten.len());
        fill(&region, 0, 1);
        handle.flush(&region, 0..region.len()).await.unwrap();
        assert_eq!(damage(&disk), []);

        let lose = |mode| {
            disk.fail_flushes(FlushFault { path_contains: String::new(), times: Some(1), mode });
        };
        lose(FlushErrorMode::NeverReported);
        region.write(PAGE_SIZE + 10, &[5; 20]);
        handle.flush(&region, 0..region.len()).await.unwrap();
        assert_eq!(damage(&disk), [(1, 10, 29, DamageKind::WriteLost)]);
        let page = PAGE_SIZE as u64;
        let unsynced = || disk.first_unsynced(Path::new("/f"), page..2 * page);
        assert_eq!(unsynced(), None, "the device said that it was done");
        region.write(PAGE_SIZE + 40, &[6; 2]);
        assert_eq!(unsynced(), Some(page + 40));
        handle.flush(&region, 0..region.len()).await.unwrap();
        assert_eq!(damage(&disk), [], "the page was written anew");

        for mode in [FlushErrorMode::NeverReported, FlushErrorMode::Misdirected] {
            lose(mode);
            handle.write(Path::new("/g"), b"").unwrap();
            handle.sync(Path::new("/")).await.unwrap();
            assert!(!disk.exists_durably(Path::new("/g")), "a directory's sync is lost as well");
        }
        lose(FlushErrorMode::Misdirected);
        fill(&region, 3, 9);
        handle.flush(&region, 0..region.len()).await.unwrap();
        let last = page - 1;
        let astray = [2, 3].map(|page| (page, 0, last, DamageKind::Misdirected));
        assert_eq!(damage(&disk), astray);
        disk.power_loss_worst();
        assert_eq!(damage(&disk), astray, "no power loss heals the platter");
    });
}
