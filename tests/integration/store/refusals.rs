//! A start that is refused has written nothing: every kind of refusal, on the simulated disk and on the
//! operating system's, with the reason that `verify` foretells.

use mq_store::doctor::StoreDir;

use super::doctor::{on_os, say};
use super::java_stores::{delete, disk_with};
use super::*;

type Files = std::collections::BTreeMap<PathBuf, Vec<u8>>;

/// A store that is going to be spoiled.
struct Store {
    disk: Arc<dyn Disk>,
    config: StoreConfig,
}

/// What spoils it, and a part of why a start refuses then.
type Kind = (&'static str, fn(&mut Store), &'static str);

const KINDS: [Kind; 13] = [
    (
        "a file in the middle is missing",
        |store| store.remove("commitlog/00000000000000524288"),
        "commitlog/00000000000000524288 is missing; put it back, or have `staticfire store recover --salvage`",
    ),
    (
        "a key of another name, so that the size is the default one",
        |store| store.config.mapped_file_size_consume_queue = 6_000_000,
        "has 6000 bytes: length not matched message store config value 6000000; set the size",
    ),
    (
        "twice the size of ConsumeQueue files",
        |store| store.config.mapped_file_size_consume_queue = 12_000,
        "has 6000 bytes: length not matched message store config value 12000",
    ),
    (
        "half the size of ConsumeQueue files",
        |store| store.config.mapped_file_size_consume_queue = 3_000,
        "has 6000 bytes: length not matched message store config value 3000",
    ),
    (
        "twice the size of CommitLog files",
        |store| store.config.mapped_file_size_commit_log *= 2,
        "commitlog/00000000000000000000 has 262144 bytes: length not matched",
    ),
    (
        "a CommitLog file is cut short",
        |store| store.edit("commitlog/00000000000000000000", |bytes| bytes.truncate(100_000)),
        "commitlog/00000000000000000000 has 100000 bytes: length not matched",
    ),
    (
        "the last CommitLog file is cut short",
        |store| store.edit("commitlog/00000000000001310720", |bytes| bytes.truncate(4_096)),
        "commitlog/00000000000001310720 has 4096 bytes: length not matched",
    ),
    (
        "a file of the log has the name of another size",
        |store| store.edit("commitlog/00000000000001310721", |bytes| bytes.push(1)),
        "commitlog/00000000000001310721 is named as if files had another size than 262144 bytes",
    ),
    (
        "the watermark is garbage",
        |store| store.edit("durable", |bytes| *bytes = vec![7; 4_096]),
        "durable is damaged in both its copies; put it back, or move it away",
    ),
    (
        "the checkpoint is too long",
        |store| store.edit("checkpoint", |bytes| bytes.resize(5_000, 0)),
        "checkpoint has more than 4096 bytes; put it back, or move it away",
    ),
    (
        "the list of damage is damaged, and its backup",
        |store| {
            store.edit("damaged.json", |bytes| bytes.push(7));
            store.edit("damaged.json.bak", |bytes| bytes.push(7));
        },
        "damaged.json is damaged (",
    ),
    (
        "the log of DLedger mode",
        |store| store.edit("dledger-n0/data/00000000000000000000", |bytes| bytes.push(1)),
        "dledger-n0 is the log of DLedger mode: start this broker with enableDLegerCommitLog=true",
    ),
    (
        "damage below the watermark",
        |store| {
            start(store).unwrap();
            store.edit("commitlog/00000000000001310720", |bytes| bytes[100] ^= 1);
        },
        "commitlog/00000000000001310720 is damaged at offset 1310720 although everything below",
    ),
];

impl Store {
    fn path(&self, name: &str) -> PathBuf {
        self.config.store_path_root_dir.join(name)
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path(name);
        let mut bytes = self.disk.read(&path).unwrap_or_default();
        edit(&mut bytes);
        self.disk.create_dir_all(path.parent().unwrap()).unwrap();
        self.disk.write(&path, &bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        delete(&*self.disk, &self.path(name));
    }

    fn files(&self) -> Files {
        fn read(disk: &dyn Disk, dir: &Path, files: &mut Files) {
            for entry in disk.list(dir).unwrap() {
                let path = dir.join(entry.name);
                if entry.is_dir {
                    files.insert(path.clone(), Vec::new());
                    read(disk, &path, files);
                } else {
                    files.insert(path.clone(), disk.read(&path).unwrap());
                }
            }
        }
        let mut files = Files::new();
        read(&*self.disk, &self.config.store_path_root_dir, &mut files);
        files
    }
}

/// A start that ends in order.
fn start(store: &Store) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let env = Env { disk: Arc::clone(&store.disk), probe: Probe::silent(), ..Env::os() };
        let opened = MessageStore::open(env, Arc::new(store.config.clone())).await;
        let opened = opened.map_err(|error| error.to_string())?;
        opened.shutdown().await;
        Ok(())
    })
}

/// The golden store on the operating system's disk, below `dir`.
fn on_disk(dir: &Path) -> Store {
    let (simulated, mut config) = disk_with("plain");
    let from = simulated.handle("reader");
    let of = Store { disk: from as Arc<dyn Disk>, config: config.clone() };
    config.store_path_root_dir = dir.join("store");
    let disk = on_os(|env| env.disk.clone());
    for (path, bytes) in of.files() {
        let to = dir.join(path.strip_prefix("/machine").unwrap());
        let is_dir = of.disk.stat(&path).unwrap().is_dir;
        disk.create_dir_all(if is_dir { &to } else { to.parent().unwrap() }).unwrap();
        if !is_dir {
            disk.write(&to, &bytes).unwrap();
        }
    }
    Store { disk, config: config.on_any_disk() }
}

fn check(kind: &Kind, mut store: Store) {
    let (what, spoil, part) = kind;
    // The lock is what an examination and a start may leave.
    store.edit("lock", |bytes| *bytes = b"lock".to_vec());
    let right = store.config.clone();
    spoil(&mut store);
    let before = store.files();
    let root = store.config.store_path_root_dir.clone();
    let foretold = {
        let dir = StoreDir::open(Arc::clone(&store.disk), &root, Some(&store.config)).unwrap();
        let is_dledger = part.contains("DLedger");
        let verdict = (!is_dledger).then(|| dir.verify(&mut |_| {}).unwrap());
        verdict.map(|verdict| {
            assert!(!verdict.is_sound(), "{what}");
            verdict.refusal.clone().unwrap_or_else(|| panic!("{what}: {}", say(&verdict)))
        })
    };
    let refusal = start(&store).unwrap_err();
    assert!(refusal.contains(part), "{what}: {part} not in {refusal}");
    assert!(foretold.is_none_or(|foretold| foretold == refusal), "{what}: {refusal}");
    assert!(refusal.contains(&root.display().to_string()), "{what}: {refusal}");
    assert!(store.files() == before, "{what}: the refused start changed the store");
    // A wrong setting is forgotten once it is right.
    if store.config.mapped_file_size_consume_queue != right.mapped_file_size_consume_queue {
        store.config = right;
        start(&store).unwrap();
    }
}

#[test]
fn a_refused_start_changes_nothing_on_the_simulated_disk() {
    for kind in &KINDS {
        let (disk, config) = disk_with("plain");
        let disk = disk.handle("broker") as Arc<dyn Disk>;
        check(kind, Store { disk, config: config.on_any_disk() });
    }
}

#[test]
fn a_refused_start_changes_nothing_on_the_systems_disk() {
    for kind in &KINDS {
        let dir = tempfile::tempdir().unwrap();
        check(kind, on_disk(dir.path()));
    }
}

/// What each case of an operator's says.
fn verify(spoil: impl FnOnce(&mut Store)) -> mq_store::doctor::Verdict {
    let (disk, config) = disk_with("plain");
    let mut store = Store { disk: disk.handle("doctor") as Arc<dyn Disk>, config };
    spoil(&mut store);
    let root = store.config.store_path_root_dir.clone();
    let dir = StoreDir::open(Arc::clone(&store.disk), &root, Some(&store.config)).unwrap();
    dir.verify(&mut |_| {}).unwrap()
}

#[test]
fn an_emptied_log_shows_in_queues_and_offsets() {
    let verdict = verify(|store| {
        for entry in store.disk.list(&store.path("commitlog")).unwrap() {
            store.remove(&format!("commitlog/{}", entry.name));
        }
    });
    let said = say(&verdict);
    assert!(
        said.contains("damage consumequeue/GoldenA/2: 182 units from 0 on point behind"),
        "{said}"
    );
    assert!(said.contains("in GoldenA/2; a start moves it to 0"), "{said}");
    assert!(verdict.queues.iter().all(|queue| (queue.min, queue.max) == (0, 0)));
    assert!(verdict.moved_offsets.iter().all(|moved| moved.to == 0));
    assert!(!verdict.moved_offsets.is_empty() && verdict.refusal.is_none(), "{said}");
}

#[test]
fn what_salvaging_would_keep_of_a_log_with_a_hole_is_told() {
    let verdict = verify(|store| store.remove("commitlog/00000000000000524288"));
    let refusal = verdict.refusal.clone().unwrap();
    assert!(refusal.contains("00000000000000524288 is missing; put it back"), "{refusal}");
    let said = say(&verdict);
    assert!(verdict.is_salvageable && verdict.kept > 1_400, "{}", verdict.kept);
    assert!(said.contains("the file is missing, up to 786432; a start that salvages"), "{said}");
    assert!(said.contains(" units point into damage, the first at "), "{said}");
    assert!(!said.contains("serves it as it is"), "{said}");
    assert_eq!(verdict.max_phy_offset, verify(|_| ()).max_phy_offset, "both sides of the hole");
}

#[test]
fn tables_of_which_nothing_is_left_are_a_refusal() {
    let spoil = |store: &mut Store| {
        for name in ["topics", "consumerOffset", "subscriptionGroup"] {
            for suffix in ["json", "json.bak"] {
                store.edit(&format!("config/{name}.{suffix}"), |bytes| *bytes = vec![0; 300]);
            }
        }
    };
    let verdict = verify(spoil);
    let refusal = verdict.refusal.clone().unwrap();
    assert!(refusal.starts_with("/machine/store/config/topics.json is damaged ("), "{refusal}");
    assert!(refusal.ends_with("begin without it (beginWithEmptyTables=true)"), "{refusal}");
    let said = say(&verdict);
    assert!(said.contains("damage config/topics.json.bak: is damaged"), "{said}");
    let verdict = verify(|store| {
        spoil(store);
        store.config.begin_with_empty_tables = true;
    });
    assert_eq!(verdict.refusal, None, "{}", say(&verdict));
    assert!(!verdict.is_sound());
}

#[test]
fn what_is_none_of_the_stores_and_what_is_missing_is_named() {
    let verdict = verify(|store| {
        store.remove("config");
        store.edit("commitlog/notes.txt", |bytes| bytes.push(1));
        store.edit("index/notes.txt", |bytes| bytes.push(1));
        store.edit("consumequeue/GoldenA/x/notes.txt", |bytes| bytes.push(1));
        store.edit("notes.txt", |bytes| bytes.push(1));
    });
    let said = say(&verdict);
    for part in [
        "note config: is missing; a start begins with empty tables",
        "note commitlog/notes.txt: is no file of the store's",
        "note index/notes.txt: ",
        "note consumequeue/GoldenA/x: ",
        "note notes.txt: ",
    ] {
        assert!(said.contains(part), "{part} not in {said}");
    }
    assert!(verdict.is_sound(), "{said}");
    let verdict = verify(|store| {
        store.edit("checkpoint", |bytes| bytes[..24].fill(0x55));
        store.edit("config/topics.json.bak", |bytes| bytes.truncate(20));
    });
    let said = say(&verdict);
    assert!(said.contains("damage checkpoint: says that messages stored up to "), "{said}");
    assert!(said.contains("damage config/topics.json.bak: is damaged ("), "{said}");
    assert!(said.contains("a start takes the file itself"), "{said}");
}
