//! Space, sharing, and what big files cost.

use std::io;

use super::*;

const PAGE: u64 = PAGE_SIZE as u64;

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().unwrap().kind()
}

#[test]
fn mapping_reserves_and_removing_frees() {
    let disk = disk_of(4 * PAGE);
    let handle = disk.handle("a");
    let region = handle.map(Path::new("/a"), 3 * PAGE_SIZE).unwrap();
    let full = handle.map(Path::new("/b"), 2 * PAGE_SIZE);
    let full = full.err().unwrap();
    assert_eq!((full.kind(), full.raw_os_error()), (io::ErrorKind::StorageFull, Some(28)));
    fill(&region, 2, 1);
    handle.remove(Path::new("/a")).unwrap();
    assert_eq!(handle.space(Path::new("/")).unwrap().free_bytes, PAGE, "it is still mapped");
    fill(&region, 2, 2);
    drop(region);
    assert_eq!(handle.space(Path::new("/")).unwrap().free_bytes, 4 * PAGE);
    handle.map(Path::new("/b"), 2 * PAGE_SIZE).unwrap();
    assert_eq!(disk.stats().no_space, 1);
}

#[test]
fn a_write_without_space_leaves_a_part() {
    let disk = disk_of(2 * PAGE);
    let handle = disk.handle("a");
    let data = vec![7; 3 * PAGE_SIZE];
    assert_eq!(kind(handle.write(Path::new("/a"), &data)), io::ErrorKind::StorageFull);
    assert_eq!(handle.read(Path::new("/a")).unwrap(), &data[..2 * PAGE_SIZE]);
    disk.set_capacity(3 * PAGE);
    handle.write(Path::new("/a"), &data).unwrap();
    assert_eq!(handle.read(Path::new("/a")).unwrap(), data);
    disk.set_capacity(0);
    assert_eq!(handle.space(Path::new("/")).unwrap().free_bytes, 0);
}

#[test]
fn the_space_of_a_killed_process_s_removed_file_is_freed() {
    let disk = disk();
    let handle = disk.handle("a");
    let _held = handle.map(Path::new("/a"), PAGE_SIZE).unwrap();
    handle.remove(Path::new("/a")).unwrap();
    assert_eq!(disk.used_bytes(), PAGE);
    disk.process_died(handle.epoch());
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn what_lies_below_a_directory_comes_in_the_order_of_its_paths() {
    let disk = disk();
    let handle = disk.handle("a");
    for dir in ["/store/queue/1", "/store/log", "/store-2"] {
        handle.create_dir_all(Path::new(dir)).unwrap();
    }
    let written = [
        "/store-2/f",
        "/store/queue/1/f",
        "/store/log/b",
        "/store/log/a",
        "/store/queue.json",
        "/store/queue/0",
        "/store/log/gone",
    ];
    for path in written {
        handle.write(Path::new(path), b"f").unwrap();
    }
    handle.remove(Path::new("/store/log/gone")).unwrap();
    handle.rename(Path::new("/store/log/b"), Path::new("/store/log/c")).unwrap();
    let under = |dir: &str| {
        let paths = disk.paths_under(Path::new(dir)).into_iter();
        paths.map(|it| it.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let log = ["/store/log/a", "/store/log/c"];
    assert_eq!(under("/store/log"), log);
    let queues = ["/store/queue/0", "/store/queue/1/f", "/store/queue.json"];
    assert_eq!(under("/store"), [&log[..], &queues].concat());
    assert_eq!(under("/gone"), [] as [&str; 0]);
    let mut all = disk.paths();
    assert_eq!(all.len(), 6);
    all.sort();
    assert_eq!(all, disk.paths());
}

#[test]
fn processes_of_a_machine_share_files_and_locks() {
    let disk = disk();
    let (a, b) = (disk.handle("a"), disk.handle("b"));
    let (in_a, in_b) = (a.map(Path::new("/f"), 100).unwrap(), b.map(Path::new("/f"), 100).unwrap());
    in_a.write(0, b"shared");
    assert_eq!(in_b.slice(0..6), b"shared");
    let lock = a.lock(Path::new("/lock")).unwrap();
    assert_eq!(kind(b.lock(Path::new("/lock"))), io::ErrorKind::WouldBlock);
    drop(lock);
    b.lock(Path::new("/lock")).unwrap();
    disk.process_died(a.epoch());
    in_b.write(0, b"SHARED");
    assert_eq!(b.read(Path::new("/f")).unwrap()[..6], *b"SHARED");
}

#[test]
fn a_region_follows_its_file_when_it_is_rewritten() {
    let disk = disk();
    let handle = disk.handle("a");
    let region = handle.map(Path::new("/f"), 2 * PAGE_SIZE).unwrap();
    fill(&region, 0, 1);
    fill(&region, 1, 1);
    handle.write(Path::new("/f"), b"short").unwrap();
    assert_eq!(region.slice(0..7), b"short\0\0");
    assert_eq!(region.slice(PAGE_SIZE..PAGE_SIZE + 1), [0]);
}

#[test]
#[should_panic(expected = "while a process maps it shorter")]
fn growing_a_mapped_file_is_refused_loudly() {
    let handle = disk().handle("a");
    let _region = handle.map(Path::new("/f"), PAGE_SIZE).unwrap();
    let _ = handle.map(Path::new("/f"), 2 * PAGE_SIZE);
}

/// Resident memory of this process in KiB.
#[cfg(target_os = "linux")]
fn resident_kib() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a look at the test's own process")]
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_of_a_gibibyte_costs_what_is_touched() {
    run(async {
        let before = resident_kib();
        let disk = disk_of(1 << 40);
        let handle = disk.handle("a");
        let region = durable_file(&handle, "/log", 1 << 18).await;
        for page in [0, 100_000, 200_000] {
            fill(&region, page, 1);
        }
        handle.flush(&region, 0..region.len()).await.unwrap();
        fill(&region, (1 << 18) - 1, 2);
        assert_eq!(disk.unsynced_pages(Path::new("/log")), [(1 << 18) - 1]);
        let killed = disk.image().after_kill();
        assert_eq!(killed.unsynced_pages(Path::new("/log")), [(1 << 18) - 1]);
        disk.power_loss_worst();
        let again = disk.handle("a").map(Path::new("/log"), 1 << 30).unwrap();
        assert_eq!(again.slice(100_000 * PAGE_SIZE..again.len())[0], 1);
        let grown = resident_kib().saturating_sub(before);
        // Other tests run beside this one; a gibibyte would still stand out.
        assert!(grown < 200 << 10, "{grown} KiB");
    });
}

#[test]
fn somebody_else_fills_the_disk_and_gives_the_space_back() {
    let disk = disk_of(8 * PAGE);
    let handle = disk.handle("a");
    let space = || handle.space(Path::new("/")).unwrap();
    assert!(disk.fill(2 * PAGE) && !disk.fill(3 * PAGE), "there is less already");
    assert_eq!((space().free_bytes, space().total_bytes), (2 * PAGE, 8 * PAGE));
    assert_eq!((disk.used_bytes(), disk.stats().filled_answers), (0, 2));
    assert_eq!(kind(handle.map(Path::new("/a"), 3 * PAGE_SIZE)), io::ErrorKind::StorageFull);
    disk.unfill();
    handle.map(Path::new("/a"), 3 * PAGE_SIZE).unwrap();
    assert_eq!(space().free_bytes, 5 * PAGE);
}

#[test]
fn a_sparse_file_has_what_was_reserved() {
    run(async {
        let disk = disk_of(8 * PAGE);
        let handle = disk.handle("a");
        let path = Path::new("/a");
        let region = handle.map_sparse(path, 100 * PAGE_SIZE).unwrap();
        assert_eq!((disk.used_bytes(), handle.stat(path).unwrap().len), (0, 100 * PAGE));
        handle.reserve(&region, 0..4 * PAGE_SIZE).unwrap();
        handle.reserve(&region, PAGE_SIZE..5 * PAGE_SIZE).unwrap();
        assert_eq!(disk.used_bytes(), 5 * PAGE);
        let full = handle.reserve(&region, 4 * PAGE_SIZE..9 * PAGE_SIZE);
        assert_eq!((kind(full), disk.used_bytes()), (io::ErrorKind::StorageFull, 5 * PAGE));
        assert_eq!(kind(handle.map(path, 100 * PAGE_SIZE)), io::ErrorKind::StorageFull);
        fill(&region, 2, 7);
        handle.sync(path).await.unwrap();
        handle.sync(Path::new("/")).await.unwrap();
        disk.power_loss_worst();
        assert_eq!(disk.used_bytes(), PAGE, "what was written");
        let handle = disk.handle("a");
        let region = handle.map_sparse(path, 100 * PAGE_SIZE).unwrap();
        assert_eq!(region.next_data(0), 2 * PAGE_SIZE);
        handle.remove(path).unwrap();
        drop(region);
        assert_eq!(disk.used_bytes(), 0);
    });
}

#[test]
#[should_panic(expected = "SIGBUS to come")]
fn a_write_to_a_hole_is_refused_loudly() {
    let handle = disk().handle("a");
    let region = handle.map_sparse(Path::new("/f"), 9 * PAGE_SIZE).unwrap();
    handle.reserve(&region, 0..PAGE_SIZE).unwrap();
    region.write(PAGE_SIZE - 1, b"ab");
}

#[test]
fn without_descriptors_nothing_is_opened_and_what_is_mapped_is_flushed() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let path = Path::new("/a");
        let region = handle.map_sparse(path, 2 * PAGE_SIZE).unwrap();
        handle.reserve(&region, 0..PAGE_SIZE).unwrap();
        fill(&region, 0, 1);
        disk.fail_opens(DescriptorFault { path_contains: String::new(), times: None });
        let refused = handle.sync(path).await.unwrap_err();
        assert!(!was_attempted(&refused), "{refused}");
        let refused = [
            handle.read(path).err(),
            handle.write(path, b"x").err(),
            handle.list(Path::new("/")).err(),
            handle.map(path, 2 * PAGE_SIZE).err(),
            handle.reserve(&region, PAGE_SIZE..2 * PAGE_SIZE).err(),
        ];
        assert!(refused.iter().all(|it| it.as_ref().unwrap().raw_os_error() == Some(24)));
        handle.flush(&region, 0..PAGE_SIZE).await.unwrap();
        disk.clear_open_faults();
        handle.sync(path).await.unwrap();
        assert_eq!(disk.stats().open_errors, 6);
    });
}
