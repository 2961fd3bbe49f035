//! The disk: each body gets an empty directory of the operating system, then one of a `SimDisk`.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mq_env::Env;
use mq_env::clock::Clock;
use mq_env::disk::{DirEntry, Disk, FileStat, PAGE_SIZE, was_attempted};
use mq_env::rng::Rng;
use proptest::prelude::*;
use staticfire_world::disk::{SimDisk, SimDiskConfig};

struct StoppedClock;

impl Clock for StoppedClock {
    fn now_millis(&self) -> u64 {
        1_700_000_000_000
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        0
    }
}

fn runtime(paused: bool) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap()
}

fn on_os<T>(root: &Path, body: impl AsyncFnOnce(&dyn Disk, &Path) -> T) -> T {
    runtime(false).block_on(async { body(&*Env::os().disk, root).await })
}

fn on_sim<T>(capacity_bytes: u64, body: impl AsyncFnOnce(&dyn Disk, &Path) -> T) -> T {
    let config = SimDiskConfig { capacity_bytes, ..SimDiskConfig::default() };
    let disk = SimDisk::new(config, Arc::new(StoppedClock), Rng::from_seed(1));
    let handle = disk.handle("parity");
    let root = Path::new("/work");
    handle.create_dir_all(root).unwrap();
    runtime(true).block_on(async { body(&*handle, root).await })
}

/// Runs `body`, which asserts, on both.
fn both(body: impl AsyncFn(&dyn Disk, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    on_os(dir.path(), &body);
    on_sim(1 << 30, &body);
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn names(entries: Vec<DirEntry>) -> Vec<String> {
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_mapped_file_is_zeros_until_written_and_all_see_it() {
    both(async |disk, dir| {
        let path = dir.join("00000000000000000000");
        let region = disk.map(&path, 10_000).unwrap();
        assert_eq!((region.len(), region.slice(0..10_000)), (10_000, &[0; 10_000][..]));
        region.write(4090, b"across the edge");
        assert_eq!(disk.read(&path).unwrap()[4090..4105], *b"across the edge");
        let second = disk.map(&path, 10_000).unwrap();
        assert_eq!(second.slice(4090..4105), b"across the edge");
        second.write(0, b"back");
        assert_eq!(region.slice(0..4), b"back");
        assert_eq!(disk.stat(&path).unwrap().len, 10_000);
    });
}

#[test]
fn a_sparse_file_has_its_length_and_takes_what_is_reserved() {
    both(async |disk, dir| {
        let path = dir.join("sparse");
        let region = disk.map_sparse(&path, 100 * PAGE_SIZE).unwrap();
        assert_eq!(disk.stat(&path).unwrap().len, 100 * PAGE_SIZE as u64);
        assert_eq!(region.next_data(0), region.len(), "nothing but a hole");
        disk.reserve(&region, 10..3 * PAGE_SIZE).unwrap();
        disk.reserve(&region, 5..5).unwrap();
        assert_eq!(region.slice(0..PAGE_SIZE), &[0; PAGE_SIZE]);
        region.write(2 * PAGE_SIZE + 1, b"unit");
        // Pages that were looked at may count as data; what was written does.
        assert!(region.next_data(0) <= 2 * PAGE_SIZE + 1);
        assert_eq!(region.next_data(3 * PAGE_SIZE), region.len(), "nothing but a hole");
        disk.flush(&region, 0..region.len()).await.unwrap();
        disk.sync(&path).await.unwrap();
        drop(region);
        // As if it had its blocks: this is how a store of another version opens it.
        let region = disk.map(&path, 100 * PAGE_SIZE).unwrap();
        assert_eq!(region.slice(2 * PAGE_SIZE..2 * PAGE_SIZE + 6), b"\0unit\0");
        assert_eq!(kind(disk.map_sparse(&path, PAGE_SIZE)), ErrorKind::InvalidInput);
        drop(region);
        assert_eq!(disk.map_sparse(&path, 101 * PAGE_SIZE - 7).unwrap().len(), 101 * PAGE_SIZE - 7);
    });
}

#[test]
fn a_sync_that_cannot_open_its_path_was_not_attempted() {
    both(async |disk, dir| {
        let missing = disk.sync(&dir.join("none")).await.unwrap_err();
        assert_eq!((missing.kind(), was_attempted(&missing)), (ErrorKind::NotFound, false));
        let region = disk.map(&dir.join("log"), PAGE_SIZE).unwrap();
        let beyond = disk.flush(&region, 0..2 * PAGE_SIZE).await.unwrap_err();
        assert!(was_attempted(&beyond));
    });
}

#[test]
fn flushed_and_unflushed_bytes_are_there_on_reopening() {
    both(async |disk, dir| {
        let path = dir.join("log");
        let region = disk.map(&path, 3 * PAGE_SIZE).unwrap();
        region.write(10, b"flushed");
        disk.flush(&region, 0..PAGE_SIZE).await.unwrap();
        disk.flush(&region, 0..region.len()).await.unwrap();
        disk.flush(&region, 5..5).await.unwrap();
        region.write(2 * PAGE_SIZE, b"not flushed");
        drop(region);
        let region = disk.map(&path, 3 * PAGE_SIZE).unwrap();
        assert_eq!(region.slice(10..17), b"flushed");
        assert_eq!(region.slice(2 * PAGE_SIZE..2 * PAGE_SIZE + 11), b"not flushed");
        let beyond = disk.flush(&region, 0..3 * PAGE_SIZE + 1).await;
        assert_eq!(kind(beyond), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_shorter_file_is_extended_and_a_longer_one_refused() {
    both(async |disk, dir| {
        let path = dir.join("log");
        disk.write(&path, b"head").unwrap();
        drop(disk.map(&path, 4).unwrap());
        let region = disk.map(&path, PAGE_SIZE + 1).unwrap();
        assert_eq!(region.slice(0..6), b"head\0\0");
        region.write(PAGE_SIZE, b"t");
        assert_eq!(disk.stat(&path).unwrap().len, PAGE_SIZE as u64 + 1);
        drop(region);
        assert_eq!(kind(disk.map(&path, PAGE_SIZE)), ErrorKind::InvalidInput);
        let region = disk.map(&path, 2 * PAGE_SIZE).unwrap();
        assert_eq!(region.slice(0..4), b"head");
        assert_eq!(region.slice(PAGE_SIZE..PAGE_SIZE + 2), b"t\0");
        let empty = disk.map(&dir.join("empty"), 0).unwrap();
        assert!(empty.is_empty() && disk.stat(&dir.join("empty")).unwrap().len == 0);
    });
}

#[test]
fn small_files_are_replaced_whole() {
    both(async |disk, dir| {
        let path = dir.join("topics.json");
        for content in [&b"a longer first version"[..], b"short", b"", b"again"] {
            disk.write(&path, content).unwrap();
            assert_eq!(disk.read(&path).unwrap(), content);
            assert_eq!(disk.stat(&path).unwrap().len, content.len() as u64);
        }
        let region = disk.map(&path, 5).unwrap();
        disk.write(&path, b"under").unwrap();
        assert_eq!(region.slice(0..5), b"under", "a mapping shows the file, not a copy");
    });
}

#[test]
fn a_part_of_a_file_is_read() {
    both(async |disk, root| {
        let path = root.join("f");
        disk.write(&path, b"0123456789").unwrap();
        for (offset, len, part) in
            [(0, 4, "0123"), (4, 6, "456789"), (8, 9, "89"), (10, 1, ""), (99, 1, "")]
        {
            assert_eq!(disk.read_at(&path, offset, len).unwrap(), part.as_bytes());
        }
        assert_eq!(kind(disk.read_at(&root.join("g"), 0, 1)), ErrorKind::NotFound);
    });
}

#[test]
fn rename_moves_and_replaces() {
    both(async |disk, dir| {
        let (from, to) = (dir.join("c.tmp"), dir.join("c"));
        disk.write(&to, b"old").unwrap();
        disk.write(&from, b"new").unwrap();
        let old = disk.map(&to, 3).unwrap();
        disk.rename(&from, &to).unwrap();
        assert_eq!(disk.read(&to).unwrap(), b"new");
        assert_eq!(old.slice(0..3), b"old", "the replaced file lives on in its region");
        assert_eq!(kind(disk.read(&from)), ErrorKind::NotFound);
        disk.rename(&to, &to).unwrap();
        assert_eq!(kind(disk.rename(&from, &to)), ErrorKind::NotFound);
        assert_eq!(kind(disk.rename(&to, &dir.join("no/c"))), ErrorKind::NotFound);

        let (full, empty) = (dir.join("full"), dir.join("empty"));
        disk.create_dir_all(&full.join("inner")).unwrap();
        disk.create_dir_all(&empty).unwrap();
        disk.write(&full.join("inner/f"), b"deep").unwrap();
        assert_eq!(kind(disk.rename(&to, &empty)), ErrorKind::IsADirectory);
        assert_eq!(kind(disk.rename(&empty, &to)), ErrorKind::NotADirectory);
        assert_eq!(kind(disk.rename(&empty, &full)), ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind(disk.rename(&full, &full.join("inner/x"))), ErrorKind::InvalidInput);
        disk.rename(&full, &empty).unwrap();
        assert_eq!(disk.read(&empty.join("inner/f")).unwrap(), b"deep");
        assert_eq!(names(disk.list(dir).unwrap()), ["c", "empty"]);
    });
}

#[test]
fn a_region_outlives_its_file_and_its_name() {
    both(async |disk, dir| {
        let path = dir.join("log");
        let region = disk.map(&path, PAGE_SIZE).unwrap();
        region.write(0, b"old");
        disk.rename(&path, &dir.join("moved")).unwrap();
        region.write(3, b"er");
        assert_eq!(disk.read(&dir.join("moved")).unwrap()[..5], *b"older");
        disk.remove(&dir.join("moved")).unwrap();
        region.write(0, b"gone");
        disk.flush(&region, 0..PAGE_SIZE).await.unwrap();
        assert_eq!(region.slice(0..5), b"goner");
        let fresh = disk.map(&path, PAGE_SIZE).unwrap();
        assert_eq!(fresh.slice(0..5), &[0; 5]);
        fresh.write(0, b"x");
        assert_eq!(region.slice(0..1), b"g");
    });
}

#[test]
fn lists_are_sorted_and_tell_kind_and_length() {
    both(async |disk, dir| {
        for name in ["b", "a10", "a2", "_", "Z"] {
            disk.write(&dir.join(name), name.as_bytes()).unwrap();
        }
        disk.create_dir_all(&dir.join("dir/deep/er")).unwrap();
        disk.create_dir_all(&dir.join("dir/deep")).unwrap();
        drop(disk.map(&dir.join("mapped"), 5000).unwrap());
        let entry = |name: &str, len, is_dir| DirEntry { name: name.to_owned(), len, is_dir };
        let expected = [
            entry("Z", 1, false),
            entry("_", 1, false),
            entry("a10", 3, false),
            entry("a2", 2, false),
            entry("b", 1, false),
            entry("dir", 0, true),
            entry("mapped", 5000, false),
        ];
        assert_eq!(disk.list(dir).unwrap(), expected);
        assert_eq!(names(disk.list(&dir.join("dir/./deep")).unwrap()), ["er"]);
        assert_eq!(disk.list(&dir.join("dir/deep/er")).unwrap(), []);
    });
}

#[test]
fn a_lock_excludes_until_it_is_dropped() {
    both(async |disk, dir| {
        let path = dir.join("lock");
        let lock = disk.lock(&path).unwrap();
        assert_eq!(disk.stat(&path).unwrap().len, 0, "the file was created");
        assert_eq!(kind(disk.lock(&path)), ErrorKind::WouldBlock);
        disk.write(&path, b"lock").unwrap();
        drop(lock);
        let lock = disk.lock(&path).unwrap();
        disk.remove(&path).unwrap();
        let other = disk.lock(&path).unwrap();
        drop(lock);
        assert_eq!(kind(disk.lock(&path)), ErrorKind::WouldBlock, "another file, another lock");
        drop(other);
        drop(disk.lock(&path).unwrap());
        assert_eq!(kind(disk.lock(&dir.join("no/lock"))), ErrorKind::NotFound);
        assert_eq!(kind(disk.lock(dir)), ErrorKind::IsADirectory);
    });
}

#[test]
fn files_and_directories_can_be_synced() {
    both(async |disk, dir| {
        let path = dir.join("f");
        disk.write(&path, b"x").unwrap();
        disk.sync(&path).await.unwrap();
        disk.sync(dir).await.unwrap();
        disk.sync(dir).await.unwrap();
        let region = disk.map(&path, PAGE_SIZE).unwrap();
        region.write(7, b"y");
        disk.sync(&path).await.unwrap();
        assert_eq!(kind(disk.sync(&dir.join("none")).await), ErrorKind::NotFound);
        assert_eq!(kind(disk.sync(&path.join("f")).await), ErrorKind::NotADirectory);
    });
}

#[test]
fn stat_tells_length_kind_and_time() {
    both(async |disk, dir| {
        let path = dir.join("f");
        disk.write(&path, b"12345").unwrap();
        let first = disk.stat(&path).unwrap();
        assert_eq!((first.len, first.is_dir), (5, false));
        assert!(first.modified_ms >= 1_700_000_000_000);
        let region = disk.map(&path, PAGE_SIZE).unwrap();
        region.write(0, b"x");
        disk.flush(&region, 0..PAGE_SIZE).await.unwrap();
        let second = disk.stat(&path).unwrap();
        assert!(second.len == PAGE_SIZE as u64 && second.modified_ms >= first.modified_ms);
        let FileStat { len, is_dir, .. } = disk.stat(dir).unwrap();
        assert_eq!((len, is_dir), (0, true));
        let space = disk.space(dir).unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
        assert_eq!(kind(disk.space(&dir.join("none"))), ErrorKind::NotFound);
    });
}

#[test]
fn mistakes_have_the_same_names() {
    both(async |disk, dir| {
        let (file, none) = (dir.join("file"), dir.join("none"));
        disk.write(&file, b"x").unwrap();
        disk.create_dir_all(&dir.join("full/inner")).unwrap();
        let full = dir.join("full");
        let found = [
            kind(disk.read(&none)),
            kind(disk.read(dir)),
            kind(disk.read(&file.join("x"))),
            kind(disk.write(dir, b"x")),
            kind(disk.write(&none.join("x"), b"x")),
            kind(disk.write(&file.join("x"), b"x")),
            kind(disk.map(dir, 10)),
            kind(disk.map(&none.join("x"), 10)),
            kind(disk.remove(&none)),
            kind(disk.remove(&full)),
            kind(disk.remove(&file.join("x"))),
            kind(disk.remove_dir(&none)),
            kind(disk.remove_dir(&file)),
            kind(disk.remove_dir(&full)),
            kind(disk.create_dir_all(&file)),
            kind(disk.create_dir_all(&file.join("x"))),
            kind(disk.list(&none)),
            kind(disk.list(&file)),
            kind(disk.stat(&none)),
        ];
        use ErrorKind::*;
        let expected = [
            NotFound,
            IsADirectory,
            NotADirectory,
            IsADirectory,
            NotFound,
            NotADirectory,
            IsADirectory,
            NotFound,
            NotFound,
            IsADirectory,
            NotADirectory,
            NotFound,
            NotADirectory,
            DirectoryNotEmpty,
            AlreadyExists,
            NotADirectory,
            NotFound,
            NotADirectory,
            NotFound,
        ];
        assert_eq!(found, expected);
        disk.remove_dir(&full.join("inner")).unwrap();
        disk.remove_dir(&full).unwrap();
        disk.remove(&file).unwrap();
        assert_eq!(disk.list(dir).unwrap(), []);
    });
}

#[test]
fn a_full_disk_refuses_to_map() {
    let body = async |disk: &dyn Disk, dir: &Path| {
        let wanted = disk.space(dir).unwrap().total_bytes + PAGE_SIZE as u64;
        let refused = disk.map(&dir.join("f"), usize::try_from(wanted).unwrap()).err().unwrap();
        assert_eq!((refused.kind(), refused.raw_os_error()), (ErrorKind::StorageFull, Some(28)));
        assert_eq!(disk.stat(&dir.join("f")).unwrap().len, 0, "created, not extended");
        drop(disk.map(&dir.join("f"), PAGE_SIZE).unwrap());
    };
    on_sim(1 << 20, body);
    // A memory file system refuses at once what exceeds it; a real one would fill up first.
    if let Ok(dir) = tempfile::tempdir_in("/dev/shm") {
        on_os(dir.path(), body);
    }
}

/// A call that needs no time to reach the page cache.
#[derive(Clone, Debug)]
enum Call {
    MapAndWrite(PathBuf, usize, usize, u8),
    Write(PathBuf, usize, u8),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveDir(PathBuf),
    CreateDirAll(PathBuf),
    Read(PathBuf),
    List(PathBuf),
    Stat(PathBuf),
    LockTwice(PathBuf),
}

fn a_path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(&["a", "b"]), 1..4)
        .prop_map(|names| names.iter().collect())
}

fn a_call() -> impl Strategy<Value = Call> {
    let len = || prop::sample::select(&[0_usize, 1, 100, 4096, 4097, 9000]);
    prop_oneof![
        (a_path(), len(), len(), any::<u8>())
            .prop_map(|(path, len, at, byte)| Call::MapAndWrite(path, len, at, byte)),
        (a_path(), len(), any::<u8>()).prop_map(|(path, len, byte)| Call::Write(path, len, byte)),
        (a_path(), a_path()).prop_map(|(from, to)| Call::Rename(from, to)),
        a_path().prop_map(Call::Remove),
        a_path().prop_map(Call::RemoveDir),
        a_path().prop_map(Call::CreateDirAll),
        a_path().prop_map(Call::CreateDirAll),
        a_path().prop_map(Call::Read),
        a_path().prop_map(Call::List),
        a_path().prop_map(Call::Stat),
        a_path().prop_map(Call::LockTwice),
    ]
}

/// Makes the call below `dir` and says in words what came of it.
fn make(call: &Call, disk: &dyn Disk, dir: &Path) -> String {
    let outcome = match call {
        Call::MapAndWrite(path, len, at, byte) => disk.map(&dir.join(path), *len).map(|region| {
            if at < len {
                region.write(*at, &vec![*byte; len - at]);
            }
            format!("{:?}", region.slice(0..region.len()))
        }),
        Call::Write(path, len, byte) => {
            disk.write(&dir.join(path), &vec![*byte; *len]).map(|()| String::new())
        }
        Call::Rename(from, to) => {
            disk.rename(&dir.join(from), &dir.join(to)).map(|()| String::new())
        }
        Call::Remove(path) => disk.remove(&dir.join(path)).map(|()| String::new()),
        Call::RemoveDir(path) => disk.remove_dir(&dir.join(path)).map(|()| String::new()),
        Call::CreateDirAll(path) => disk.create_dir_all(&dir.join(path)).map(|()| String::new()),
        Call::Read(path) => disk.read(&dir.join(path)).map(|bytes| format!("{bytes:?}")),
        Call::List(path) => disk.list(&dir.join(path)).map(|entries| format!("{entries:?}")),
        Call::Stat(path) => {
            disk.stat(&dir.join(path)).map(|stat| format!("{} {}", stat.len, stat.is_dir))
        }
        Call::LockTwice(path) => disk.lock(&dir.join(path)).map(|_held| {
            format!("{:?}", disk.lock(&dir.join(path)).err().map(|error| error.kind()))
        }),
    };
    outcome.unwrap_or_else(|error| format!("{:?}", error.kind()))
}

/// Everything below `dir`, in words.
fn survey(disk: &dyn Disk, dir: &Path, found: &mut Vec<String>) {
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            found.push(format!("{}/", entry.name));
            survey(disk, &path, found);
            found.push("..".to_owned());
        } else {
            found.push(format!("{} {:?}", entry.name, disk.read(&path).unwrap()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_sequence_of_calls_has_the_same_outcomes(
        calls in prop::collection::vec(a_call(), 1..40),
    ) {
        let body = async |disk: &dyn Disk, dir: &Path| {
            let mut outcomes: Vec<String> =
                calls.iter().map(|call| make(call, disk, dir)).collect();
            survey(disk, dir, &mut outcomes);
            outcomes
        };
        let dir = tempfile::tempdir().unwrap();
        let (os, sim) = (on_os(dir.path(), body), on_sim(1 << 30, body));
        for (at, (os, sim)) in os.iter().zip(&sim).enumerate() {
            prop_assert!(os == sim, "step {at}, {:?}: {os:.80} against {sim:.80}", calls.get(at));
        }
        prop_assert_eq!(os.len(), sim.len());
    }
}
