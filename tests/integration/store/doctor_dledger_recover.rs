//! `recover` of DLedger nodes: each of Java's three nodes, damaged in every way, becomes a sound copy that a node goes on with, and
//! what is not in it is named.
#![expect(clippy::disallowed_methods, reason = "damages files behind the back of every store")]

use std::fs::File;

use mq_dledger_log::{DLedgerLog, LogConfig};
use mq_protocol::dledger_entry::EntryHead;
use mq_store::config::DLedgerConfig;
use mq_store::doctor::{DoctorError, Recovered, StoreDir};

use super::doctor::{DLEDGER_SETS, on_os, say};
use super::doctor_dledger::{DATA_FILE, HEADER, Node, verify};
use super::*;

/// An entry in the middle of the second file.
const MIDDLE: usize = 100;

/// The copy of a node.
struct Copy {
    root: PathBuf,
    recovered: Recovered,
}

fn block_on<T>(body: impl AsyncFnOnce(Env) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    runtime.block_on(body(Env { probe: Probe::silent(), ..Env::os() }))
}

fn recover(node: &Node, config: Option<&StoreConfig>, salvage: bool) -> Result<Copy, DoctorError> {
    let copy = node.root.with_file_name(format!("copy-{salvage}"));
    block_on(async |env| {
        let dir = StoreDir::open(env.disk.clone(), &node.root, config)?;
        let recovered = dir.recover(env, &copy, salvage, &mut |_| {}).await?;
        Ok(Copy { root: copy.clone(), recovered })
    })
}

impl Copy {
    /// Whether it is sound, whether a node of ours goes on with it, and the entries that it has.
    fn entries(&self, node: &Node) -> Vec<(EntryHead, Vec<u8>)> {
        let verdict = verify(&self.root).unwrap();
        assert_eq!(say(&verdict), "", "{:?}", self.recovered);
        assert_eq!(verdict.max_phy_offset, self.recovered.max_phy_offset);
        let self_id = node.name.trim_start_matches("dledger-");
        let config = LogConfig {
            data_file_bytes: DATA_FILE as usize,
            ..LogConfig::of_node(&self.root, self_id)
        };
        let entries = block_on(async |env| {
            let opened = DLedgerLog::open(&env, config.clone()).await.unwrap();
            assert_eq!((opened.dropped_bytes, opened.end_reason.as_str()), (0, "no entry"));
            assert_eq!(opened.log.end_pos(), self.recovered.max_phy_offset);
            assert!(opened.term.is_some(), "it has its term");
            let entry = |index| {
                let entry = opened.log.entry(index).unwrap();
                (entry.head, entry.body().to_vec())
            };
            let entries: Vec<_> =
                (opened.log.begin_index()..=opened.log.end_index()).map(entry).collect();
            // It goes on.
            let (last, mut body) = entries.last().unwrap().clone();
            let appended = opened.log.append_as_leader(last.term + 1, &mut body).unwrap();
            assert_eq!(appended.index, last.index + 1);
            opened.log.sync().await.unwrap();
            opened.log.close(opened.committed_index).await.unwrap();
            entries
        });
        let reopened = verify(&self.root).unwrap();
        assert_eq!(reopened.kept, verdict.kept + 1);
        entries
    }

    /// Indexes of the entries that it has not, or has fillers for.
    fn lost(&self, node: &Node) -> Vec<usize> {
        let found = self.entries(node);
        let mut lost = Vec::new();
        for (index, (pos, bytes)) in node.entries.iter().enumerate() {
            let Some((head, body)) = found.get(index) else {
                lost.push(index);
                continue;
            };
            assert_eq!((head.index as usize, head.pos as u64), (index, *pos));
            if bytes[..HEADER] != head.encode() || bytes[HEADER..] != body[..] {
                assert_eq!(head.size as usize, bytes.len(), "entry {index} has its length");
                lost.push(index);
            }
        }
        lost
    }

    fn readable(&self) -> u64 {
        self.recovered.queues.iter().map(|queue| queue.readable).sum()
    }
}

/// Entries with a byte in that range of the log.
fn touched(node: &Node, range: std::ops::Range<u64>) -> Vec<usize> {
    let is_in = |(_, (pos, bytes)): &(usize, &(u64, Vec<u8>))| {
        *pos < range.end && pos + bytes.len() as u64 > range.start
    };
    node.entries.iter().enumerate().filter(is_in).map(|(index, _)| index).collect()
}

/// What is done to a node, and which entries that costs.
type Damage = fn(&Node) -> Vec<usize>;

/// Whether it takes an operator who salvages.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    Salvage,
}

const DAMAGES: [(&str, Takes, Damage); 14] = [
    ("nothing", Takes::Nothing, |_| Vec::new()),
    ("the tail is torn", Takes::Nothing, |node| {
        let (pos, bytes) = node.entries.last().unwrap();
        node.write(pos + 60, &vec![0; bytes.len() - 60]);
        vec![node.entries.len() - 1]
    }),
    ("the header at the tail is torn", Takes::Nothing, |node| {
        let (pos, bytes) = node.entries.last().unwrap();
        node.write(pos + 20, &vec![0; bytes.len() - 20]);
        vec![node.entries.len() - 1]
    }),
    ("a bit in the size of a header", Takes::Nothing, |node| {
        node.flip(node.entries[MIDDLE].0 + 7);
        Vec::new()
    }),
    ("a bit in the term of the last header", Takes::Nothing, |node| {
        node.flip(node.entries.last().unwrap().0 + 16);
        Vec::new()
    }),
    ("a bit in a body", Takes::Salvage, |node| {
        node.flip(node.entries[MIDDLE].0 + 48 + 91);
        vec![MIDDLE]
    }),
    ("a bit in the place that the first message states", Takes::Salvage, |node| {
        node.flip(node.entries[0].0 + 48 + 35);
        vec![0]
    }),
    ("no index", Takes::Nothing, |node| {
        std::fs::remove_file(node.index_path()).unwrap();
        Vec::new()
    }),
    ("no index, and a bit in a body", Takes::Salvage, |node| {
        std::fs::remove_file(node.index_path()).unwrap();
        node.flip(node.entries[MIDDLE].0 + 48 + 91);
        vec![MIDDLE]
    }),
    ("no data file in the middle", Takes::Salvage, |node| {
        std::fs::remove_file(node.data_path(DATA_FILE)).unwrap();
        touched(node, DATA_FILE..2 * DATA_FILE)
    }),
    ("no first data file", Takes::Nothing, |node| {
        std::fs::remove_file(node.data_path(0)).unwrap();
        Vec::new()
    }),
    ("a file that was only begun", Takes::Nothing, |node| {
        std::fs::write(node.data_path(4 * DATA_FILE), [0; 100]).unwrap();
        Vec::new()
    }),
    ("a last file that is short", Takes::Nothing, |node| {
        let path = node.data_path(3 * DATA_FILE);
        let (pos, bytes) = node.entries.last().unwrap();
        let len = pos + bytes.len() as u64 - 10;
        File::options().write(true).open(path).unwrap().set_len(len % DATA_FILE).unwrap();
        vec![node.entries.len() - 1]
    }),
    ("a page of zeros", Takes::Salvage, |node| {
        let page = DATA_FILE + 8 * 4_096;
        node.write(page, &[0; 4_096]);
        touched(node, page..page + 4_096)
    }),
];

#[test]
fn every_damage_leaves_a_sound_copy_and_is_named() {
    for set in &DLEDGER_SETS {
        let whole = recover(&Node::of(set), None, false).unwrap().readable();
        for (what, takes, damage) in DAMAGES {
            let node = Node::of(set);
            let lost = damage(&node);
            let name = format!("{}: {what}", set.name);
            if takes == Takes::Salvage {
                let refused = recover(&node, None, false).err();
                let Some(DoctorError::Refused(text)) = refused else {
                    panic!("{name}: {refused:?}")
                };
                assert!(text.contains("sound ones follow, the first with index"), "{name}: {text}");
            }
            let copy = recover(&node, None, takes == Takes::Salvage).unwrap();
            if what == "no first data file" {
                // As if it had expired.
                assert_eq!(copy.recovered.min_phy_offset, DATA_FILE, "{name}");
                assert_eq!(say(&verify(&copy.root).unwrap()), "", "{name}");
                continue;
            }
            assert_eq!(copy.lost(&node), lost, "{name}");
            let dropped = &copy.recovered.report.dropped;
            assert_eq!(dropped.len(), lost.len(), "{name}: {dropped:?}");
            for (dropped, index) in dropped.iter().zip(&lost) {
                let (pos, bytes) = &node.entries[*index];
                assert_eq!(dropped.phy_offset, pos + HEADER as u64, "{name}");
                assert_eq!(dropped.size, Some((bytes.len() - HEADER) as u64), "{name}");
                assert!(dropped.reason.starts_with(&format!("entry {index}: ")), "{dropped:?}");
            }
            assert_eq!(copy.readable(), whole - lost.len() as u64, "{name}");
        }
    }
}

#[test]
fn a_copy_of_what_is_sound_is_what_it_was() {
    for set in &DLEDGER_SETS {
        let node = Node::of(set);
        let copy = recover(&node, None, false).unwrap();
        let read =
            |root: &Path, file: &str| std::fs::read(root.join(node.name).join(file)).unwrap();
        for number in 0..4 {
            let file = format!("data/{:020}", number * DATA_FILE);
            assert!(read(&copy.root, &file) == read(&node.root, &file), "{file}");
        }
        let index = "index/00000000000000000000";
        assert!(read(&copy.root, index) == read(&node.root, index), "the index");
        assert_eq!(read(&copy.root, "currterm"), read(&node.root, "currterm"));
        assert_eq!(read(&copy.root, "checkpoint"), b"committedIndex=285\nendIndex=285\n");
        assert_eq!((&copy.recovered.mended[..], &copy.recovered.kept[..]), (&[][..], &[][..]));
    }
}

#[test]
fn entries_elsewhere_are_found_by_the_settings() {
    let node = Node::of(&DLEDGER_SETS[0]);
    let elsewhere = node.root.with_file_name("entries");
    std::fs::rename(node.root.join("dledger-n0/data"), &elsewhere).unwrap();
    let mut config = StoreConfig::at(&node.root);
    config.mapped_file_size_commit_log = DATA_FILE as usize;
    config.mapped_file_size_consume_queue = 20 * 300;
    (config.max_hash_slot_num, config.max_index_num) = (100, 400);
    config.dledger = Some(DLedgerConfig {
        group: "g".to_owned(),
        peers: "n0-h:1".to_owned(),
        self_id: "n0".to_owned(),
        preferred_leader_ids: Vec::new(),
        java_peers: Vec::new(),
        store_path: Some(elsewhere.clone()),
    });
    let open = |config: &StoreConfig| {
        let disk = on_os(|env| env.disk.clone());
        StoreDir::open(disk, &node.root, Some(config))
    };
    let verdict = open(&config).unwrap().verify(&mut |_| {}).unwrap();
    assert_eq!((verdict.kept, verdict.max_phy_offset > 3 * DATA_FILE), (286, true));
    let copy = recover(&node, Some(&config), false).unwrap();
    assert_eq!(copy.lost(&node), Vec::<usize>::new());
    std::fs::remove_dir_all(&elsewhere).unwrap();
    assert!(matches!(open(&config).err(), Some(DoctorError::NoLog(dir)) if dir == elsewhere));
}

/// Our nodes write down what they have synced.
#[test]
fn what_was_synced_is_given_up_only_by_who_salvages() {
    let node = Node::of(&DLEDGER_SETS[0]);
    let config =
        LogConfig { data_file_bytes: DATA_FILE as usize, ..LogConfig::of_node(&node.root, "n0") };
    block_on(async |env| {
        let opened = DLedgerLog::open(&env, config).await.unwrap();
        opened.log.close(285).await.unwrap();
    });
    node.flip(node.entries[285].0 + 48 + 91);
    let Some(DoctorError::Refused(text)) = recover(&node, None, false).err() else {
        panic!("it was synced")
    };
    assert!(text.contains("although everything below"), "{text}");
    let copy = recover(&node, None, true).unwrap();
    assert_eq!(copy.lost(&node), [285]);
}

#[test]
fn a_vote_that_is_forgotten_is_said() {
    let node = Node::of(&DLEDGER_SETS[0]);
    std::fs::write(node.root.join("dledger-n0/currterm"), "voteLeader=n1\ncurrTerm=x\n").unwrap();
    let Some(DoctorError::Refused(text)) = recover(&node, None, false).err() else {
        panic!("its vote is forgotten")
    };
    assert!(text.contains("currterm is damaged or missing"), "{text}");
    let copy = recover(&node, None, true).unwrap();
    let term = std::fs::read(copy.root.join("dledger-n0/currterm")).unwrap();
    assert_eq!(term, b"voteLeader=\ncurrTerm=2\n");
    assert_eq!(copy.recovered.mended.len(), 1);
    assert_eq!(copy.lost(&node), Vec::<usize>::new());
}
