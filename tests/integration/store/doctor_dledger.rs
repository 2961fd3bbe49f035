//! The store doctor over the logs of DLedger nodes: Java's own are sound, and what is done to them is
//! found.
#![expect(clippy::disallowed_methods, reason = "damages files behind the back of every store")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use mq_protocol::message_codec::RecordView;
use mq_store::doctor::{DoctorError, StoreDir, Verdict};

use super::doctor::{DLEDGER_SETS, GoldenSet, SETS, on_os, say, unpacked, verify_sound};
use super::*;

pub(super) const DATA_FILE: u64 = 65_536;
pub(super) const HEADER: usize = 48;
const CUT: &str = "note dledger-n0: what a start cuts the group's leader sends again, if it has it";

/// A node that was closed in order, somewhere on this machine.
pub(super) struct Node {
    pub(super) root: PathBuf,
    /// Its directory.
    pub(super) name: &'static str,
    /// Each entry: where it is, and its bytes.
    pub(super) entries: Vec<(u64, Vec<u8>)>,
    _dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Node {
        Node::of(&DLEDGER_SETS[0])
    }

    pub(super) fn of(set: &GoldenSet) -> Node {
        let (dir, root) = unpacked(set);
        let (name, mut entries) = (set.name, Vec::new());
        for start in [0, 1, 2, 3].map(|number| number * DATA_FILE) {
            let path = root.join(format!("{name}/data/{start:020}"));
            let file = on_os(|env| env.disk.read(&path)).unwrap();
            let mut at = 0;
            while file[at..at + 4] == 1_i32.to_be_bytes() {
                let size = i32::from_be_bytes(file[at + 4..at + 8].try_into().unwrap()) as usize;
                entries.push((start + at as u64, file[at..at + size].to_vec()));
                at += size;
            }
        }
        assert_eq!(entries.len(), 286);
        Node { root, name, entries, _dir: dir }
    }

    pub(super) fn verify(&self) -> Verdict {
        verify(&self.root).unwrap()
    }

    /// The last entry, and where the next one begins.
    fn last(&self) -> (u64, Vec<u8>, u64) {
        let (pos, bytes) = self.entries.last().unwrap();
        (*pos, bytes.clone(), pos + bytes.len() as u64)
    }

    pub(super) fn write(&self, pos: u64, bytes: &[u8]) {
        write(&self.data_path(pos), pos % DATA_FILE, bytes);
    }

    /// An entry like the last one, of that index and term, behind it.
    fn append(&self, index: i64, term: i64) {
        let (_, mut bytes, pos) = self.last();
        bytes[8..16].copy_from_slice(&index.to_be_bytes());
        bytes[16..24].copy_from_slice(&term.to_be_bytes());
        bytes[24..32].copy_from_slice(&pos.to_be_bytes());
        let record = &mut bytes[HEADER..];
        let offset = RecordView::queue_offset(&decode_record(record).unwrap()) + 1;
        record[20..28].copy_from_slice(&offset.to_be_bytes());
        record[28..36].copy_from_slice(&(pos + HEADER as u64).to_be_bytes());
        self.write(pos, &bytes);
        let size = &bytes[4..8];
        let record = [&bytes[..4], &bytes[24..32], size, &bytes[8..24]].concat();
        write(&self.index_path(), index as u64 * 32, &record);
    }

    fn claim(&self, end_index: i64, committed_index: i64) {
        let text = format!("committedIndex={committed_index}\nendIndex={end_index}\n");
        on_os(|env| env.disk.write(&self.root.join("dledger-n0/checkpoint"), text.as_bytes()))
            .unwrap();
    }

    fn abort(&self) {
        on_os(|env| env.disk.write(&self.root.join("abort"), b"")).unwrap();
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.root.join(format!("{}/index/00000000000000000000", self.name))
    }

    /// The data file that holds `pos`.
    pub(super) fn data_path(&self, pos: u64) -> PathBuf {
        self.root.join(format!("{}/data/{:020}", self.name, pos - pos % DATA_FILE))
    }

    pub(super) fn flip(&self, pos: u64) {
        flip(&self.data_path(pos), pos % DATA_FILE);
    }
}

fn data_path(root: &Path, start: u64) -> PathBuf {
    root.join(format!("dledger-n0/data/{start:020}"))
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

pub(super) fn verify(root: &Path) -> Result<Verdict, DoctorError> {
    let disk = on_os(|env| env.disk.clone());
    StoreDir::open(disk, root, None).unwrap().verify(&mut |_| {})
}

#[test]
fn nodes_of_java_are_sound() {
    for set in &DLEDGER_SETS {
        let (verdict, read) = verify_sound(set);
        assert_eq!(verdict.findings, [], "{}", set.name);
        assert_eq!((verdict.kept, verdict.min_phy_offset), (286, 0), "{}", set.name);
        assert_eq!(verdict.end_reason, "no record", "{}", set.name);
        assert!(read >= 3 * DATA_FILE, "{}: all of the log was read", set.name);
    }
}

/// A name, what is done to the node, and parts of what is said of it.
type Case = (&'static str, fn(&Node), &'static [&'static str]);

#[test]
fn damage_of_a_node_is_found() {
    let cases: [Case; 15] = [
        (
            "the last entry's header is torn",
            |node| node.write(node.last().0 + 20, &vec![0; node.last().1.len() - 20]),
            &[
                ": the entry says that it is at 0\n",
                CUT,
                "says that the log reaches to entry 285, and is committed to 285; its last entry is 284",
                "2 entries are of records behind the end of the log; a start leaves them",
            ],
        ),
        (
            "the last entry's record is torn",
            |node| node.write(node.last().2 - 40, &[0; 40]),
            &["a start does not look and serves it as it is"],
        ),
        (
            "a byte of a body",
            |node| flip(&data_path(&node.root, 0), node.entries[3].0 + 48 + 90),
            &["the body's CRC is ", "; a start does not look and serves it as it is"],
        ),
        (
            "the place that a record states",
            |node| flip(&data_path(&node.root, 0), node.entries[3].0 + 48 + 35),
            &["serves it as it is"],
        ),
        (
            "a CRC of an entry that has one",
            |node| flip(&data_path(&node.root, 0), node.entries[3].0 + 43),
            &["the body of the entry does not match the entry's CRC"],
        ),
        (
            "an old entry's header",
            |node| flip(&data_path(&node.root, 0), node.entries[3].0 + 15),
            &["entry 2 is followed by entry 2, up to ", "; a start does not look there"],
        ),
        (
            "an entry's header in the second last file",
            |node| flip(&data_path(&node.root, 2 * DATA_FILE), 7),
            &["dropped 131120: the entry has ", ": behind the end of the log\n", CUT],
        ),
        (
            "an entry's header in the third last file",
            |node| {
                let pos = |entry: &&(u64, Vec<u8>)| entry.0 > DATA_FILE;
                let (pos, _) = node.entries.iter().find(pos).unwrap();
                flip(&data_path(&node.root, DATA_FILE), pos - DATA_FILE + 7);
            },
            &["the log ends at ", "; a start refuses to cut so much"],
        ),
        (
            "no index",
            |node| on_os(|env| env.disk.remove(&node.index_path())).unwrap(),
            &["286 entries are not in it, the first with index 0; a start sets it right"],
        ),
        (
            "an old index record",
            |node| flip(&node.index_path(), 32 + 11),
            &[
                "1 entries are elsewhere than it says, the first with index 1; a start does not look",
            ],
        ),
        (
            "an index record",
            |node| flip(&node.index_path(), 285 * 32 + 11),
            &[
                "1 entries are elsewhere than it says, the first with index 285; a start sets it right",
            ],
        ),
        (
            "a unit that points elsewhere",
            |node| flip(&node.root.join("consumequeue/DlA/0/00000000000000000000"), 7),
            &["consumequeue/DlA/0: 1 units do not point at their records, the first at 0"],
        ),
        (
            "a queue that is not there",
            |node| {
                let path = node.root.join("consumequeue/DlB/2/00000000000000000000");
                on_os(|env| env.disk.remove(&path)).unwrap();
            },
            &[
                "consumequeue/DlB/2: ",
                " units are missing, the first at 0; a start does not add them",
            ],
        ),
        (
            "a data file that is not there",
            |node| on_os(|env| env.disk.remove(&data_path(&node.root, DATA_FILE))).unwrap(),
            &["dledger-n0/data/00000000000000065536: is missing; a start refuses"],
        ),
        (
            "a short data file",
            |node| {
                let path = data_path(&node.root, DATA_FILE);
                File::options().write(true).open(path).unwrap().set_len(60_000).unwrap();
            },
            &["dledger-n0/data/00000000000000065536: has 60000 of 65536 bytes; a start refuses"],
        ),
    ];
    for (name, spoil, parts) in cases {
        let node = Node::new();
        spoil(&node);
        let verdict = node.verify();
        let said = say(&verdict);
        assert!(!verdict.is_sound(), "{name}: {said}");
        for part in parts {
            assert!(said.contains(part), "{name}: {part} not in\n{said}");
        }
    }
}

#[test]
fn what_a_cut_drops_is_named() {
    let node = Node::new();
    let (pos, bytes, _) = node.last();
    node.write(pos + 28, &[0; 4]);
    let verdict = node.verify();
    let record = decode_record(&bytes[HEADER..]).unwrap();
    assert_eq!((verdict.kept, verdict.max_phy_offset), (285, pos));
    assert_eq!(verdict.dropped.len(), 1, "{}", say(&verdict));
    let dropped = &verdict.dropped[0];
    assert_eq!(dropped.phy_offset, pos + HEADER as u64);
    assert_eq!(dropped.topic.as_deref(), Some(&*record.topic()));
    assert_eq!(dropped.queue_offset, Some(record.queue_offset()));
    assert!(dropped.uniq_key.is_some());
}

#[test]
fn what_is_left_of_a_longer_log_is_no_loss() {
    // The leader had the node cut entries of term 0; their bytes stay.
    let node = Node::new();
    node.append(286, 0);
    assert_eq!(say(&node.verify()), "");
    assert_eq!(node.verify().end_reason, "term 1 is followed by term 0");
    node.abort();
    assert_eq!(say(&node.verify()), "");
    // Entries that were cut, whatever their term.
    let node = Node::new();
    node.append(287, 1);
    assert_eq!(say(&node.verify()), "");
    // Nobody knows where a killed node's log ended.
    node.abort();
    let said = say(&node.verify());
    assert!(said.contains(": entry 285 is followed by entry 287\n"), "{said}");
}

#[test]
fn entries_that_are_not_committed_need_not_be_in_their_queues() {
    let node = Node::new();
    node.append(286, 1);
    node.claim(286, 285);
    let verdict = node.verify();
    assert!(verdict.is_sound(), "{}", say(&verdict));
    assert_eq!(verdict.kept, 287);
    node.claim(286, 286);
    let said = say(&node.verify());
    assert!(said.contains("damage consumequeue/"), "{said}");
    assert!(said.contains(": 1 units are missing, the first at "), "{said}");
    // A kill may come before the unit, and before the index record.
    node.abort();
    write(&node.index_path(), 286 * 32, &[0; 32]);
    let verdict = node.verify();
    assert!(verdict.is_sound(), "{}", say(&verdict));
    let note = "note dledger-n0/index: 1 entries are not in it, the first with index 286";
    assert!(say(&verdict).contains(note), "{}", say(&verdict));
}

/// A store that was written without DLedger, and one entry behind it.
#[test]
fn a_log_from_before_dledger_is_walked_first() {
    const FILE: u64 = 262_144;
    let entry = |pos: u64, root: &Path| {
        let archive = on_os(|env| env.disk.read(&root.join("commitlog/00000000000000000000")));
        let mut body = decode_record(&archive.unwrap()).unwrap().bytes().to_vec();
        // Rolled back: in no queue, in no index.
        body[28..36].copy_from_slice(&(pos + HEADER as u64).to_be_bytes());
        body[36..40].copy_from_slice(&0xC_i32.to_be_bytes());
        let size = (HEADER + body.len()) as i32;
        let index = [1, size, 0, 0, 0, 1].map(i32::to_be_bytes).concat();
        let crcs = [0, 0, 0, body.len() as i32].map(i32::to_be_bytes).concat();
        [index, pos.to_be_bytes().to_vec(), crcs, body].concat()
    };
    let store = |pos: u64| {
        let (dir, root) = unpacked(&SETS[0]);
        let (data, index) = (root.join("dledger-n0/data"), root.join("dledger-n0/index"));
        let bytes = entry(pos, &root);
        on_os(|env| {
            let disk = &env.disk;
            disk.create_dir_all(&data).unwrap();
            disk.create_dir_all(&index).unwrap();
            disk.write(&data.join(format!("{pos:020}")), &bytes).unwrap();
            let record = [&bytes[..4], &bytes[24..32], &bytes[4..8], &bytes[8..24]].concat();
            disk.write(&index.join("00000000000000000000"), &record).unwrap();
        });
        let set_len = |path: PathBuf, len| {
            File::options().write(true).open(path).unwrap().set_len(len).unwrap();
        };
        set_len(data.join(format!("{pos:020}")), FILE);
        set_len(index.join("00000000000000000000"), 167_772_160);
        (dir, root)
    };
    let (_dir, root) = store(6 * FILE);
    let verdict = verify(&root).unwrap();
    assert!(verdict.is_sound(), "{}", say(&verdict));
    assert_eq!((verdict.kept, verdict.min_phy_offset), (2_143 + 1, 0));
    assert!(verdict.max_phy_offset > 6 * FILE);
    flip(&root.join("commitlog/00000000000000000000"), 88);
    let said = say(&verify(&root).unwrap());
    assert!(said.contains("damage commitlog, offset "), "{said}");
    assert!(said.contains("; a start does not look there"), "{said}");

    let (_dir, root) = store(7 * FILE);
    let said = say(&verify(&root).unwrap());
    let gap = "damage commitlog: ends at 1572864, but the entries begin at 1835008";
    assert!(said.contains(gap), "{said}");
}

#[test]
fn two_nodes_are_not_told_apart() {
    let node = Node::new();
    let disk = on_os(|env| env.disk.clone());
    disk.create_dir_all(&node.root.join("dledger-n1")).unwrap();
    assert!(matches!(verify(&node.root), Err(DoctorError::SeveralLogs(_))));
    // Without files it is empty.
    let dir = tempfile::tempdir().unwrap();
    disk.create_dir_all(&dir.path().join("dledger-n0/data")).unwrap();
    let verdict = verify(dir.path()).unwrap();
    assert!(verdict.is_sound());
    assert_eq!((verdict.kept, verdict.end_reason.as_str()), (0, "no files"));
    // But not if it says that there were some.
    disk.write(&dir.path().join("dledger-n0/checkpoint"), b"endIndex=7\n").unwrap();
    assert!(!verify(dir.path()).unwrap().is_sound());
}
