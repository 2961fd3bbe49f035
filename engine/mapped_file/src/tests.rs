//! The queue of files on the operating system's disk.
#![expect(clippy::disallowed_methods, reason = "files are looked at from outside")]

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mq_env::disk::{Disk, DiskLayer, MappedRegion, not_attempted};
use mq_env::{BoxFuture, Env};

use crate::{Known, LoadError, MappedFileQueue, TransientStorePool};

const SIZE: usize = 8192;

fn queue(dir: &Path) -> MappedFileQueue {
    MappedFileQueue::new(Env::os().disk, dir, dir.join("a/log"), SIZE)
}

fn load(queue: &MappedFileQueue, durable_end: Option<u64>) -> Result<(), LoadError> {
    load_knowing(queue, Known { durable_end, is_salvage: false })
}

fn load_knowing(queue: &MappedFileQueue, known: Known) -> Result<(), LoadError> {
    let plan = queue.plan_load(known)?;
    let looked = queue.look(&plan)?;
    queue.load(&plan, &looked).map(|_| ())
}

fn fill(queue: &MappedFileQueue, pieces: &[&[u8]]) {
    for piece in pieces {
        queue.last_or_create(0).unwrap().append(piece).unwrap();
    }
}

#[tokio::test]
async fn files_roll_and_are_named_by_their_first_offset() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path());
    fill(&queue, &[&[1; SIZE], &[2; 10]]);
    assert_eq!(queue.max_offset(), SIZE as u64 + 10);
    assert_eq!(queue.min_offset(), Some(0));
    let names: Vec<_> =
        queue.files().iter().map(|file| file.path().file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["00000000000000000000", "00000000000000008192"]);
    assert_eq!(*queue.select(8192 + 3, 7).unwrap(), [2; 7]);
    assert!(queue.select(8192 + 3, 8).is_none(), "beyond the end");
    assert!(queue.select(8190, 4).is_none(), "across files");
    assert!(queue.select_from(8202).is_none());
    assert!(queue.find(2 * 8192).is_none());
}

#[tokio::test]
async fn a_queue_may_begin_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path());
    let file = queue.last_or_create(3 * 8192 + 5).unwrap();
    assert_eq!(file.file_from_offset(), 3 * 8192);
    assert_eq!((queue.min_offset(), queue.max_offset()), (Some(3 * 8192), 3 * 8192));
    assert_eq!(queue.flushed_where(), 3 * 8192);
    assert!(queue.find(0).is_none());
}

#[tokio::test]
async fn a_flush_covers_every_file_and_waits_for_enough_pages() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path());
    fill(&queue, &[&[1; 4096 + 8]]);
    assert!(!queue.is_able_to_flush(2));
    assert_eq!(queue.flush(2).await.unwrap(), 0..0);
    assert_eq!(queue.flush(1).await.unwrap(), 0..4104);
    fill(&queue, &[&[1; SIZE - 4104], &[2; 10]]);
    assert!(queue.is_able_to_flush(4), "a full file never waits");
    assert_eq!(queue.flush(4).await.unwrap(), 4104..8192);
    assert_eq!(queue.flush(0).await.unwrap(), 8192..8202);
    assert!(!queue.is_able_to_flush(0));
}

#[tokio::test]
async fn a_cut_erases_what_lies_behind_and_removes_later_files() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path());
    fill(&queue, &[&[1; SIZE], &[2; SIZE], &[3; 10]]);
    let cut = queue.cut(8192 + 100, true);
    assert_eq!((cut.dropped_bytes(), cut.range()), (8092 + 10, 8292..24_576));
    queue.settle(cut).await.unwrap();
    assert_eq!(queue.max_offset(), 8292);
    let file = fs::read(dir.path().join("a/log/00000000000000008192")).unwrap();
    assert!(file[..100].iter().all(|byte| *byte == 2));
    assert!(file[100..].iter().all(|byte| *byte == 0));
    assert!(!dir.path().join("a/log/00000000000000016384").exists());
    queue.settle(queue.cut(8192, true)).await.unwrap();
    assert_eq!(queue.max_offset(), 8192, "the file that starts there stays, empty");
    queue.settle(queue.cut(20_000, true)).await.unwrap();
    assert_eq!(queue.max_offset(), 8192, "a cut behind the end changes nothing");
    queue.settle(queue.cut_all()).await.unwrap();
    assert!(queue.is_empty());
}

#[tokio::test]
async fn a_cut_in_memory_leaves_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path());
    fill(&queue, &[&[1; 100]]);
    queue.settle(queue.cut(50, false)).await.unwrap();
    assert_eq!(queue.max_offset(), 50);
    let file = fs::read(dir.path().join("a/log/00000000000000000000")).unwrap();
    assert_eq!(file[50..100], [1; 50]);
}

#[tokio::test]
async fn selected_bytes_outlive_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path());
    fill(&queue, &[&[7; 100]]);
    let selected = queue.select(10, 20).unwrap();
    queue.settle(queue.cut_all()).await.unwrap();
    assert_eq!(*selected.part(5..9), [7; 4]);
    assert_eq!((selected.start_offset(), selected.truncated(3).len()), (10, 3));
}

#[tokio::test]
async fn a_short_last_file_is_filled_up_and_a_longer_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a/log");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("00000000000000000000"), [1; SIZE]).unwrap();
    fs::write(log.join("00000000000000008192"), []).unwrap();
    fs::write(log.join("notes.txt"), [1]).unwrap();
    let queue = queue(dir.path());
    load(&queue, Some(8192)).unwrap();
    assert_eq!(queue.files().len(), 2);
    assert_eq!(fs::metadata(log.join("00000000000000008192")).unwrap().len(), 8192);

    fs::write(log.join("00000000000000008192"), [1; SIZE + 1]).unwrap();
    let error = load(&queue, Some(0)).unwrap_err();
    assert!(error.to_string().contains("length not matched message store config value"));
}

#[tokio::test]
async fn files_behind_a_gap_go_unless_the_gap_was_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a/log");
    fs::create_dir_all(&log).unwrap();
    for name in ["00000000000000008192", "00000000000000024576"] {
        fs::write(log.join(name), [1; SIZE]).unwrap();
    }
    let queue = queue(dir.path());
    assert!(matches!(load(&queue, Some(16385)), Err(LoadError::Missing { .. })));
    load(&queue, Some(16384)).unwrap();
    assert_eq!((queue.min_offset(), queue.max_offset()), (Some(8192), 16384));
    assert!(!log.join("00000000000000024576").exists());
    load(&queue, None).unwrap();
    assert_eq!(queue.min_offset(), Some(8192));
    assert!(matches!(load(&queue, Some(100)), Err(LoadError::Missing { .. })));
    // Nothing was durable, so what is there was never joined to a beginning.
    load(&queue, Some(0)).unwrap();
    assert!(queue.is_empty() && !log.join("00000000000000008192").exists());
}

#[tokio::test]
async fn a_short_file_in_the_middle_of_durable_bytes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a/log");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("00000000000000000000"), [0; 100]).unwrap();
    fs::write(log.join("00000000000000008192"), [1; SIZE]).unwrap();
    let queue = queue(dir.path());
    assert!(matches!(load(&queue, Some(101)), Err(LoadError::Length { .. })));
    load(&queue, Some(100)).unwrap();
    assert_eq!(queue.files().len(), 2);
}

#[tokio::test]
async fn a_short_file_that_holds_anything_was_written_with_another_size() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a/log");
    fs::create_dir_all(&log).unwrap();
    let file = log.join("00000000000000000000");
    let queue = queue(dir.path());
    for len in [1, 4096, SIZE - 1] {
        let mut content = vec![0; len];
        content[len - 1] = 1;
        fs::write(&file, &content).unwrap();
        assert!(matches!(load(&queue, None), Err(LoadError::Length { .. })), "{len}");
        assert_eq!(fs::read(&file).unwrap(), content, "a refusal changes nothing");
        // What a crash leaves that came while the file was made.
        content[len - 1] = 0;
        fs::write(&file, &content).unwrap();
        load(&queue, None).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), SIZE as u64);
    }
    fs::write(log.join("00000000000000000100"), []).unwrap();
    assert!(matches!(load(&queue, None), Err(LoadError::Name { .. })));
}

#[tokio::test]
async fn told_to_salvage_zeros_take_the_place_of_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a/log");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("00000000000000000000"), [1; 100]).unwrap();
    fs::write(log.join("00000000000000024576"), [2; SIZE]).unwrap();
    let queue = queue(dir.path());
    let known = Known { durable_end: Some(u64::MAX), is_salvage: true };
    let plan = queue.plan_load(known).unwrap();
    assert_eq!(plan.missing, [8192, 16_384]);
    let looked = queue.look(&plan).unwrap();
    let bytes = |file: usize, at: usize| looked[file].raw(at..at + 1)[0];
    assert_eq!([bytes(0, 99), bytes(0, 100), bytes(1, 0), bytes(3, 0)], [1, 0, 0, 2]);
    assert_eq!(fs::read_dir(&log).unwrap().count(), 2, "a look changes nothing");
    queue.load(&plan, &looked).unwrap();
    assert_eq!((queue.files().len(), fs::read_dir(&log).unwrap().count()), (4, 4));
    assert_eq!(queue.find(0).unwrap().raw(99..101), [1, 0]);
    // A name far away is no reason to fill a disk.
    fs::write(log.join(format!("{:020}", SIZE * 300)), [2; SIZE]).unwrap();
    assert!(matches!(load_knowing(&queue, known), Err(LoadError::Missing { .. })));
}

#[tokio::test]
async fn a_buffered_file_shows_what_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let pool = TransientStorePool::new(2, SIZE);
    let queue = queue(dir.path()).with_transient_store_pool(Some(pool.clone()));
    fill(&queue, &[&[1; 5000]]);
    assert_eq!((queue.max_offset(), queue.commit(2)), (5000, 0), "too few pages");
    assert!(queue.select(0, 1).is_none() && queue.select_from(0).is_none());
    assert_eq!(queue.flush(0).await.unwrap(), 0..0);
    assert!(!queue.is_able_to_flush(0) && queue.is_able_to_commit(1));
    assert_eq!(queue.commit(1), 5000);
    assert_eq!(*queue.select(0, 5000).unwrap(), [1; 5000]);
    assert_eq!(queue.flush(0).await.unwrap(), 0..5000);
    let last = queue.last().unwrap();
    last.append_to_end(&[7; 8]);
    assert_eq!(pool.available_buffer_nums(), 1);
    fill(&queue, &[&[2; 10]]);
    assert_eq!(pool.available_buffer_nums(), 0);
    assert_eq!(queue.commit(4), 8192, "a full file never waits");
    assert_eq!(pool.available_buffer_nums(), 1);
    assert_eq!(queue.commit(0), 8202);
    // A buffer is used again, and shows nothing of its former file.
    fill(&queue, &[&[3; SIZE - 10]]);
    queue.last_or_create(0).unwrap().append_to_end(&[4; 8]);
    assert_eq!(queue.commit(0), 3 * 8192);
    let blank = queue.select(2 * 8192, SIZE).unwrap();
    assert_eq!((&blank[..8], &blank[8..]), (&[4; 8][..], &[0; SIZE - 8][..]));
    assert_eq!(pool.available_buffer_nums(), 2);
}

#[tokio::test]
async fn a_cut_forgets_what_is_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let pool = TransientStorePool::new(2, SIZE);
    let queue = queue(dir.path()).with_transient_store_pool(Some(pool.clone()));
    fill(&queue, &[&[1; 100]]);
    queue.commit(0);
    fill(&queue, &[&[2; SIZE - 100], &[3; 10]]);
    assert_eq!(pool.available_buffer_nums(), 0);
    let cut = queue.cut(40, true);
    assert_eq!(cut.dropped_bytes(), 60);
    queue.settle(cut).await.unwrap();
    assert_eq!((queue.max_offset(), pool.available_buffer_nums()), (40, 2));
    fill(&queue, &[&[4; 10]]);
    assert_eq!(*queue.select(0, 50).unwrap(), [[1; 40].as_slice(), &[4; 10]].concat());
}

#[tokio::test]
async fn a_file_ahead_is_taken_by_the_roll() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue(dir.path());
    queue.allocate_ahead().await.unwrap();
    assert!(!dir.path().join("a/log").exists(), "there is no last file");
    fill(&queue, &[&[1; 4095]]);
    assert!(!queue.wants_ahead());
    fill(&queue, &[&[1; 1]]);
    assert!(queue.wants_ahead());
    assert_eq!(queue.next_ahead_at(), 4096);
    queue.allocate_ahead().await.unwrap();
    assert!(!queue.wants_ahead());
    assert_eq!(queue.next_ahead_at(), 8192 + 4096);
    let next = dir.path().join("a/log/00000000000000008192");
    assert_eq!(fs::metadata(&next).unwrap().len(), 8192);
    assert_eq!((queue.files().len(), queue.max_offset()), (1, 4096), "no part of the queue");
    fill(&queue, &[&[1; 4096], &[2; 10]]);
    assert_eq!(queue.files().len(), 2);
    queue.remove_ahead().await.unwrap();
    assert!(next.exists(), "it is the queue's now");
    fill(&queue, &[&[1; 5000]]);
    queue.allocate_ahead().await.unwrap();
    let third = dir.path().join("a/log/00000000000000016384");
    assert!(third.exists());
    queue.remove_ahead().await.unwrap();
    assert!(!third.exists());
}

/// What a queue of 6 MB files takes of the disk after so many bytes, and how often it asked for more.
#[tokio::test]
async fn a_sparse_file_takes_disk_as_it_fills() {
    const FILE: usize = 6_000_000;
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(CountingDisk { os: Env::os().disk, reserved: AtomicUsize::new(0) });
    let below = Arc::clone(&disk) as Arc<dyn Disk>;
    let queue = MappedFileQueue::new(below, dir.path(), dir.path().join("queue"), FILE);
    let queue = queue.with_sparse_files();
    let taken = || {
        let file = fs::metadata(dir.path().join("queue/00000000000000000000")).unwrap();
        assert_eq!(file.len(), FILE as u64, "Java takes a shorter one for broken");
        file.blocks() * 512
    };
    let append = |bytes: usize| {
        for _ in 0..bytes / 20 {
            let file = queue.last_or_create(0).unwrap();
            queue.make_room(&file, 20).unwrap();
            file.append(&[7; 20]).unwrap();
        }
    };
    append(20);
    // A file system may round up.
    assert!(taken() <= 128 << 10, "{} bytes for one unit", taken());
    assert_eq!(disk.reserved.load(Ordering::Relaxed), 1);
    append(FILE - 20);
    assert!(taken() >= FILE as u64);
    let reserved = disk.reserved.load(Ordering::Relaxed);
    assert!(reserved <= 11, "{reserved} times for 300,000 units");
    queue.flush(0).await.unwrap();
    assert_eq!(queue.flushed_where(), FILE as u64);
}

struct CountingDisk {
    os: Arc<dyn Disk>,
    reserved: AtomicUsize,
}

impl DiskLayer for CountingDisk {
    fn below(&self) -> &dyn Disk {
        &*self.os
    }

    fn reserve(&self, region: &MappedRegion, range: Range<usize>) -> io::Result<()> {
        self.reserved.fetch_add(1, Ordering::Relaxed);
        self.os.reserve(region, range)
    }
}

#[tokio::test]
async fn names_whose_sync_could_not_be_attempted_are_synced_by_the_next_flush() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(NoDescriptors { os: Env::os().disk, left: AtomicUsize::new(1) });
    let below = Arc::clone(&disk) as Arc<dyn Disk>;
    let queue = MappedFileQueue::new(below, dir.path(), dir.path().join("log"), SIZE);
    fill(&queue, &[&[1; 10]]);
    let error = queue.flush(0).await.unwrap_err();
    assert!(!error.is_final() && queue.flushed_where() == 0, "{error}");
    assert!(queue.is_able_to_flush(0));
    assert_eq!(queue.flush(0).await.unwrap(), 0..10);

    // A cut waits until its directory can be synced.
    fill(&queue, &[&[1; SIZE - 10], &[2; 10]]);
    disk.left.store(2, Ordering::Relaxed);
    queue.settle(queue.cut(4, true)).await.unwrap();
    assert_eq!((disk.left.load(Ordering::Relaxed), queue.max_offset()), (0, 4));
}

/// The next syncs by name find no descriptor.
struct NoDescriptors {
    os: Arc<dyn Disk>,
    left: AtomicUsize,
}

impl DiskLayer for NoDescriptors {
    fn below(&self) -> &dyn Disk {
        &*self.os
    }

    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        let less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            let error = not_attempted(io::Error::from_raw_os_error(24));
            return Box::pin(std::future::ready(Err(error)));
        }
        self.os.sync(path)
    }
}
