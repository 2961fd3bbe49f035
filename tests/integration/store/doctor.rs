//! The store doctor: dumps that equal Java's line by line, predictions that equal what a start does, and
//! directories that stay as they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use mq_protocol::message_codec::body_crc;
use mq_store::doctor::{DoctorError, Severity, StoreDir, Verdict};
use serde_json::Value;

use super::java_stores::{damage, disk_with};
use super::*;
use mq_tests::archive::{gunzip, untar};

const RECOVERY: &str = include_str!("../../fixtures/golden/recovery.json");

/// A store that RocketMQ 4.9.7 wrote, and the dump that its own classes made of it.
pub(super) struct GoldenSet {
    pub(super) name: &'static str,
    archive: &'static [u8],
    /// Files of the dump with their lines, packed.
    dump: &'static [(&'static str, &'static [u8])],
    store: &'static str,
}

macro_rules! golden_set {
    ($name:literal $(, $file:literal = $dump:literal)*) => {
        GoldenSet {
            name: $name,
            archive: include_bytes!(concat!("../../fixtures/golden/", $name, "-store.tar.gz")),
            dump: &[
                ("commitlog.jsonl", golden_set!(@dump $name, "commitlog")),
                ("consumequeue.jsonl", golden_set!(@dump $name, "consumequeue")),
                ("index.jsonl", golden_set!(@dump $name, "index")),
                $(($file, golden_set!(@dump $name, $dump)),)*
            ],
            store: include_str!(concat!("../../fixtures/golden/dump/", $name, "/store.json")),
        }
    };
    (@dump $name:literal, $dump:literal) => {
        include_bytes!(concat!("../../fixtures/golden/dump/", $name, "/", $dump, ".jsonl.gz"))
    };
}

pub(super) const SETS: [GoldenSet; 6] = [
    golden_set!("plain"),
    golden_set!("features"),
    golden_set!("killed"),
    golden_set!("killed-recovered"),
    golden_set!("pair-master"),
    golden_set!("pair-slave"),
];

pub(super) const DLEDGER_SETS: [GoldenSet; 3] = [
    golden_set!("dledger-n0", "dledger-n0.jsonl" = "log"),
    golden_set!("dledger-n1", "dledger-n1.jsonl" = "log"),
    golden_set!("dledger-n2", "dledger-n2.jsonl" = "log"),
];

/// A directory of the operating system's with the set, file lengths and times included.
#[expect(clippy::disallowed_methods, reason = "file times are set on the file itself")]
pub(super) fn unpacked(set: &GoldenSet) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let disk = on_os(|env| env.disk.clone());
    for (name, content) in untar(&gunzip(set.archive)) {
        let path = dir.path().join(name);
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        disk.write(&path, &content).unwrap();
    }
    let expected: Value = serde_json::from_str(set.store).unwrap();
    for expected in expected["files"].as_array().unwrap() {
        let path = store.join(expected["path"].as_str().unwrap());
        let Some(modified_ms) = expected["mtimeMs"].as_u64() else {
            disk.create_dir_all(&path).unwrap();
            continue;
        };
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(expected["size"].as_u64().unwrap()).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_millis(modified_ms)).unwrap();
    }
    (dir, store)
}

pub(super) fn on_os<T>(body: impl FnOnce(&Env) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    body(&Env { probe: Probe::silent(), ..Env::os() })
}

/// Every entry below a directory: path, checksum of the content, time.
pub(super) fn survey(disk: &dyn Disk, dir: &Path) -> BTreeMap<PathBuf, (i32, u64)> {
    let mut found = BTreeMap::new();
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        let modified = disk.stat(&path).unwrap().modified_ms;
        if entry.is_dir {
            found.extend(survey(disk, &path));
            found.insert(path, (0, modified));
        } else {
            let checksum = body_crc(&disk.read(&path).unwrap());
            found.insert(path, (checksum, modified));
        }
    }
    found
}

/// A writer whose content is seen from outside.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn dump(dir: &StoreDir) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, Written> = BTreeMap::new();
    let mut open = |name: &str| -> Result<Box<dyn Write>, DoctorError> {
        let written = files.entry(name.to_owned()).or_default().clone();
        Ok(Box::new(written))
    };
    dir.dump(&mut open, &mut |_| {}).unwrap();
    let text = |written: Written| String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    files.into_iter().map(|(name, written)| (name, text(written))).collect()
}

#[test]
fn a_dump_equals_javas_line_by_line() {
    for set in SETS.iter().chain(&DLEDGER_SETS) {
        let name = set.name;
        let (_dir, root) = unpacked(set);
        let disk = on_os(|env| env.disk.clone());
        let before = survey(&*disk, &root);
        let dir = StoreDir::open(Arc::clone(&disk), &root, None).unwrap();
        let mut dumped = dump(&dir);
        for (file, javas) in set.dump {
            let javas = String::from_utf8(gunzip(javas)).unwrap();
            let ours = dumped.remove(*file).unwrap();
            assert_eq!(ours.lines().count(), javas.lines().count(), "{name} {file}");
            for (ours, javas) in ours.lines().zip(javas.lines()) {
                assert_eq!(ours, javas, "{name} {file}");
            }
        }
        let ours: Value = serde_json::from_str(&dumped.remove("store.json").unwrap()).unwrap();
        let javas: Value = serde_json::from_str(set.store).unwrap();
        assert_eq!(ours, javas, "{name}");
        assert!(dumped.is_empty(), "{name}: {:?}", dumped.keys());
        let mut listing = Vec::new();
        dir.list(&mut listing, &mut |_| {}).unwrap();
        let records = String::from_utf8(listing).unwrap().matches(" bytes  ").count();
        let javas =
            gunzip(set.dump.last().filter(|_| set.dump.len() > 3).unwrap_or(&set.dump[0]).1);
        let javas = String::from_utf8(javas).unwrap();
        assert_eq!(records, javas.matches("\"propertiesRaw\":").count(), "{name}");
        assert!(survey(&*disk, &root) == before, "{name} was changed");
    }
}

/// Verifies a store of Java, which has to be sound and to stay as it is; with the number of bytes read.
pub(super) fn verify_sound(set: &GoldenSet) -> (Verdict, u64) {
    let (_dir, root) = unpacked(set);
    let disk = on_os(|env| env.disk.clone());
    let before = survey(&*disk, &root);
    let dir = StoreDir::open(Arc::clone(&disk), &root, None).unwrap();
    let mut read = 0;
    let verdict = dir.verify(&mut |bytes| read += bytes).unwrap();
    assert!(verdict.is_sound(), "{}: {}", set.name, say(&verdict));
    assert!(read >= dir.log_bytes().unwrap(), "{}: all of the log was read", set.name);
    assert!(survey(&*disk, &root) == before, "{} was changed", set.name);
    (verdict, read)
}

#[test]
fn stores_of_java_are_sound() {
    SETS.iter().for_each(|set| _ = verify_sound(set));
}

#[test]
fn a_copy_is_recovered_and_the_store_stays_as_it_is() {
    for set in &SETS {
        let name = set.name;
        let (temp, root) = unpacked(set);
        let copy = temp.path().join("copy");
        let disk = on_os(|env| env.disk.clone());
        let before = survey(&*disk, &root);
        let verdict = {
            let dir = StoreDir::open(Arc::clone(&disk), &root, None).unwrap();
            let verdict = dir.verify(&mut |_| {}).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let recovered = runtime.block_on(async {
                let env = Env { probe: Probe::silent(), ..Env::os() };
                let mut copied = 0;
                let recovered =
                    dir.recover(env.clone(), &copy, false, &mut |bytes| copied += bytes).await;
                assert_eq!(copied, dir.bytes().unwrap());
                let again = dir.recover(env.clone(), &copy, false, &mut |_| {}).await;
                assert!(matches!(again, Err(DoctorError::CopyExists(_))));
                let inside = root.join("copy");
                let inside = dir.recover(env, &inside, false, &mut |_| {}).await;
                assert!(matches!(inside, Err(DoctorError::Overlap(..))));
                recovered.unwrap()
            });
            assert_eq!(recovered.max_phy_offset, verdict.max_phy_offset, "{name}");
            assert_eq!(recovered.report.dropped, [], "{name}");
            let readable: u64 = recovered.queues.iter().map(|queue| queue.readable).sum();
            assert_eq!(readable, verdict.kept, "{name}");
            verdict
        };
        assert!(survey(&*disk, &root) == before, "{name} was changed");
        // The copy was closed in order, with marks of our own.
        let dir = StoreDir::open(Arc::clone(&disk), &copy, None).unwrap();
        let after = dir.verify(&mut |_| {}).unwrap();
        assert!(after.is_sound(), "{name}: {:?}", after.findings);
        assert_eq!((after.kept, after.max_phy_offset), (verdict.kept, verdict.max_phy_offset));
        assert!(disk.stat(&copy.join("abort")).is_err());
    }
}

/// Damage of each case, and a part of what is said of it.
const DAMAGED: [(&str, &str); 12] = [
    ("all-queues-deleted-clean", "consumequeue/GoldenA/2: 182 units are missing, the first at 0"),
    ("bitflip-clean-old", "commitlog, offset 132483: the body's CRC"),
    ("bitflip-clean-recent", "a start leaves this out"),
    ("offsets-empty", "config/consumerOffset.json: is empty; a start takes the older .bak"),
    ("offsets-torn", "config/consumerOffset.json: is damaged"),
    ("queue-deleted-abort", "consumequeue/KillA/1: 153 units are missing, the first at 0"),
    ("queue-deleted-clean", "consumequeue/GoldenA/2: 182 units are missing, the first at 0"),
    ("torn-body", "dropped 367655"),
    ("torn-body-only", "dropped 367655"),
    ("zero-tail", "entries are of records behind the end of the log"),
    ("empty-last-file-clean", "note commitlog/00000000000001572864: has 0 of 262144 bytes"),
    ("empty-last-file-abort", "note commitlog/00000000000000393216: has 0 of 65536 bytes"),
];

pub(super) fn say(verdict: &Verdict) -> String {
    let mut text = String::new();
    for finding in &verdict.findings {
        let severity = if finding.severity == Severity::Note { "note" } else { "damage" };
        text += &format!("{severity} {}: {}\n", finding.place, finding.text);
    }
    for dropped in &verdict.dropped {
        text += &format!("dropped {}: {}\n", dropped.phy_offset, dropped.reason);
    }
    text
}

#[test]
fn damage_is_found_and_what_a_start_does_is_foretold() {
    let cases: Vec<Value> = serde_json::from_str(RECOVERY).unwrap();
    let mut seen = 0;
    for case in &cases {
        let name = case["case"].as_str().unwrap();
        let (disk, config) = disk_with(case["base"].as_str().unwrap());
        damage(&disk, &case["ops"]);
        let root = Path::new("/machine/store");
        let handle = disk.handle("doctor");
        let before = survey(&*handle, root);
        let dir = StoreDir::open(Arc::clone(&handle) as Arc<dyn Disk>, root, None).unwrap();
        let verdict = dir.verify(&mut |_| {}).unwrap();
        let said = say(&verdict);
        if let Some((_, part)) = DAMAGED.iter().find(|(case, _)| *case == name) {
            seen += 1;
            assert!(said.contains(part), "{name}: {part} not in\n{said}");
            assert_eq!(verdict.is_sound(), part.starts_with("note"), "{name}: {said}");
        } else {
            assert!(verdict.is_sound(), "{name}: {said}");
        }
        assert!(survey(&*handle, root) == before, "{name} was changed");
        disk.process_died(handle.epoch());
        let started = live(&disk, &config, async |store| {
            assert_eq!(store.commit_log().min_offset(), verdict.min_phy_offset, "{name}");
            assert_eq!(store.commit_log().max_offset(), verdict.max_phy_offset, "{name}");
            assert_eq!(store.recovery().end_reason, verdict.end_reason, "{name}");
            assert_eq!(store.recovery().dropped, verdict.dropped, "{name}");
            store.shutdown().await;
        });
        started.unwrap();
        // What a start can set right it has set right.
        let handle = disk.handle("doctor");
        let dir = StoreDir::open(handle as Arc<dyn Disk>, root, None).unwrap();
        let after = dir.verify(&mut |_| {}).unwrap();
        let stays = ["bitflip-clean-old", "offsets-empty", "offsets-torn"];
        assert_eq!(after.is_sound(), !stays.contains(&name), "{name}: {}", say(&after));
    }
    assert_eq!(seen, DAMAGED.len());
}

/// A closed store of a hundred messages, whose log `spoil` has changed from `from` on.
fn spoiled(config: &StoreConfig, from: usize, spoil: fn(&mut [u8])) -> Arc<SimDisk> {
    let disk = new_disk(1);
    live(&disk, config, async |store| {
        put_numbers(store, &Ledger::default(), 0..100).await;
        store.shutdown().await;
    })
    .unwrap();
    let handle = disk.handle("operator");
    let path = log_path((from - from % LOG_FILE) as u64);
    let mut file = handle.read(&path).unwrap();
    spoil(&mut file[from % LOG_FILE..]);
    handle.write(&path, &file).unwrap();
    disk
}

/// Messages of both queues.
fn readable(store: &MessageStore) -> u64 {
    let mut readable = 0;
    for queue_id in [0, 1] {
        let mut offset = 0;
        while offset < store.max_offset_in_queue("T", queue_id) {
            let result = store.get_message("T", queue_id, offset, 1, &MessageFilter::All);
            readable += result.messages.len() as u64;
            offset = result.next_begin_offset;
        }
    }
    readable
}

#[test]
fn damage_below_the_watermark_is_foretold() {
    let mut config = small_config(FlushDiskType::SyncFlush);
    let last_file = LOG_FILE * 6;
    for (from, spoil, part) in [
        (
            last_file + 100,
            (|bytes| bytes[0] ^= 1) as fn(&mut [u8]),
            "a start refuses; told to salvage, it leaves this out",
        ),
        (last_file, |bytes| bytes.fill(0), "told to salvage it ends the log here"),
    ] {
        let disk = spoiled(&config, from, spoil);
        let verdict = {
            let handle = disk.handle("doctor") as Arc<dyn Disk>;
            let dir = StoreDir::open(handle, Path::new("/machine/store"), None).unwrap();
            dir.verify(&mut |_| {}).unwrap()
        };
        assert!(!verdict.is_sound() && say(&verdict).contains(part), "{}", say(&verdict));
        config.salvage = false;
        let refused = live(&disk, &config, async |_| {});
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{part}");
        config.salvage = true;
        live(&disk, &config, async |store| {
            assert_eq!(store.commit_log().max_offset(), verdict.max_phy_offset, "{part}");
            assert_eq!(store.recovery().dropped, verdict.dropped, "{part}");
            assert_eq!(readable(store), verdict.kept, "{part}");
        })
        .unwrap();
    }
}

#[test]
fn a_missing_file_is_named() {
    let config = small_config(FlushDiskType::SyncFlush);
    let disk = spoiled(&config, 0, |_| {});
    let path = log_path(LOG_FILE as u64);
    disk.handle("operator").remove(&path).unwrap();
    let handle = disk.handle("doctor") as Arc<dyn Disk>;
    let dir = StoreDir::open(handle, Path::new("/machine/store"), None).unwrap();
    let verdict = dir.verify(&mut |_| {}).unwrap();
    drop(dir);
    let error = live(&disk, &config, async |_| {}).unwrap_err();
    let text = format!("damage commitlog: a start refuses: {error}");
    assert!(say(&verdict).contains(&text), "{text} not in {}", say(&verdict));
    assert!(text.contains(&path.display().to_string()), "{text}");
}

#[test]
fn a_log_whose_oldest_files_are_gone_is_sound() {
    let config = small_config(FlushDiskType::SyncFlush);
    let disk = spoiled(&config, 0, |_| {});
    for file in 0..2 {
        disk.handle("operator").remove(&log_path(file * LOG_FILE as u64)).unwrap();
    }
    let handle = disk.handle("doctor") as Arc<dyn Disk>;
    let dir = StoreDir::open(handle, Path::new("/machine/store"), None).unwrap();
    let verdict = dir.verify(&mut |_| {}).unwrap();
    drop(dir);
    assert!(verdict.is_sound(), "{}", say(&verdict));
    live(&disk, &config, async |store| {
        assert_eq!(store.commit_log().min_offset(), verdict.min_phy_offset);
        assert_eq!(store.commit_log().max_offset(), verdict.max_phy_offset);
    })
    .unwrap();
}

#[test]
fn what_is_no_store_is_refused() {
    let disk = on_os(|env| env.disk.clone());
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| StoreDir::open(Arc::clone(&disk), path, None).map(|_| ());
    assert!(matches!(open(dir.path()), Err(DoctorError::NotAStore(_))));
    assert!(matches!(open(&dir.path().join("no")), Err(DoctorError::NotAStore(_))));
    // A store without files is an empty one.
    let empty = tempfile::tempdir().unwrap();
    disk.create_dir_all(&empty.path().join("commitlog")).unwrap();
    let verdict = StoreDir::open(Arc::clone(&disk), empty.path(), None).unwrap();
    let verdict = verdict.verify(&mut |_| {}).unwrap();
    assert!(verdict.is_sound());
    assert_eq!((verdict.kept, verdict.end_reason.as_str()), (0, "no files"));
}
