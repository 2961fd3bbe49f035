//! Logs of three nodes of Java's: opened as they are, read entry by entry, gone on with, and written again.

use std::path::PathBuf;

use mq_dledger_log::StoredTerm;
use mq_protocol::dledger_entry::{EntryHead, INDEX_FILE_BYTES, INDEX_RECORD_BYTES};
use mq_protocol::message_codec::patch_phy_offset;
use mq_tests::archive::{gunzip, untar};

use super::*;

const GOLDEN_FILE: usize = 65_536;

/// Name, store, for whom the node voted.
const NODES: [(&str, &[u8], &str); 3] = [
    ("n0", include_bytes!("../fixtures/golden/dledger-n0-store.tar.gz"), "n1"),
    ("n1", include_bytes!("../fixtures/golden/dledger-n1-store.tar.gz"), "n1"),
    ("n2", include_bytes!("../fixtures/golden/dledger-n2-store.tar.gz"), "n2"),
];

/// A node as Java left it.
struct Node {
    config: LogConfig,
    /// What is in its files, by path.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Header and body of each entry, in order.
    entries: Vec<(EntryHead, Vec<u8>)>,
}

impl Node {
    fn of(name: &str, archive: &[u8]) -> Self {
        let config =
            LogConfig { data_file_bytes: GOLDEN_FILE, ..LogConfig::of_node(Path::new(ROOT), name) };
        let files = untar(&gunzip(archive)).into_iter();
        let files = files.map(|(name, content)| (Path::new("/machine").join(name), content));
        let mut files: Vec<_> = files.filter(|(path, _)| path.starts_with(&config.dir)).collect();
        for (path, content) in &mut files {
            // A sparse file came without its end.
            if path.parent() == Some(&config.data_dir) {
                content.resize(GOLDEN_FILE, 0);
            }
        }
        let mut node = Node { config, files, entries: Vec::new() };
        node.entries = node.data_files().flat_map(|(_, file)| entries(file)).collect();
        assert_eq!(node.entries.len(), 286);
        node
    }

    fn data_files(&self) -> impl Iterator<Item = &(PathBuf, Vec<u8>)> {
        self.files.iter().filter(|(path, _)| path.parent() == Some(&self.config.data_dir))
    }

    fn disk(&self) -> Arc<SimDisk> {
        let disk = new_disk(1);
        let handle = disk.handle("java");
        for (path, content) in &self.files {
            handle.create_dir_all(path.parent().unwrap()).unwrap();
            handle.write(path, content).unwrap();
        }
        disk.settle();
        disk.process_died(handle.epoch());
        disk
    }

    /// Whether data and index on `disk` are Java's to the byte, as far as entries go.
    fn assert_bytes_on(&self, disk: &Arc<SimDisk>) {
        for (path, expected) in self.data_files() {
            let found = disk.live_bytes(path, 0..GOLDEN_FILE as u64).unwrap();
            assert!(found == *expected, "{}", path.display());
        }
        let path = self.config.dir.join("index/00000000000000000000");
        assert_eq!(disk.live_len(&path), Some(INDEX_FILE_BYTES as u64));
        let expected: Vec<u8> =
            self.entries.iter().flat_map(|(head, _)| head.index_record().encode()).collect();
        let found = disk.live_bytes(&path, 0..expected.len() as u64 + 32).unwrap();
        assert!(found[..expected.len()] == expected, "the index");
        assert_eq!(found[expected.len()..], [0; INDEX_RECORD_BYTES], "behind the index");
    }
}

fn entries(file: &[u8]) -> Vec<(EntryHead, Vec<u8>)> {
    let (mut entries, mut at) = (Vec::new(), 0);
    while let Some(head) = EntryHead::decode(&file[at..]).filter(|head| head.magic == 1) {
        let end = at + head.size as usize;
        entries.push((head, file[at + 48..end].to_vec()));
        at = end;
    }
    entries
}

fn nodes() -> impl Iterator<Item = (Node, &'static str)> {
    NODES.into_iter().map(|(name, archive, vote)| (Node::of(name, archive), vote))
}

#[test]
fn a_log_of_javas_is_read_entry_by_entry_and_stays_as_it_is() {
    for (node, vote) in nodes() {
        let disk = node.disk();
        live(&disk, &node.config, async |opened| {
            let term = StoredTerm { term: 1, vote_leader: Some(vote.to_owned()), is_blank: false };
            assert_eq!((opened.term, opened.committed_index), (Some(term), 285));
            assert_eq!((opened.dropped_bytes, opened.end_reason.as_str()), (0, "no entry"));
            let log = opened.log;
            assert_eq!((log.begin_index(), log.end_index()), (0, 285));
            for (head, body) in &node.entries {
                let entry = log.entry(head.index).unwrap();
                assert_eq!((entry.head, entry.body()), (*head, &body[..]));
            }
            let view = log.view().unwrap();
            assert_eq!((view.end_index(), view.end_term(), view.synced_index()), (285, 1, 285));
        })
        .unwrap();
        node.assert_bytes_on(&disk);
    }
}

#[test]
fn a_log_of_javas_is_gone_on_with() {
    for (node, _) in nodes() {
        let disk = node.disk();
        let appended = live(&disk, &node.config, async |opened| {
            let mut appended = Vec::new();
            for number in 0..400 {
                appended.push(opened.log.append_as_leader(2, &mut record(number)).unwrap());
            }
            opened.log.sync().await.unwrap();
            appended
        });
        let appended = appended.unwrap();
        let last = &node.entries.last().unwrap().0;
        assert_eq!(
            (appended[0].index, appended[0].pos as i64),
            (286, last.pos + i64::from(last.size))
        );
        disk.power_loss_worst();
        live(&disk, &node.config, async |opened| {
            assert_eq!((opened.log.end_index(), opened.committed_index), (685, 285));
            for (number, appended) in (0..).zip(&appended) {
                let entry = opened.log.entry(appended.index).unwrap();
                let mut expected = record(number);
                patch_phy_offset(&mut expected, appended.phy_offset() as i64);
                assert_eq!((entry.head.term, entry.head.pos as u64), (2, appended.pos));
                assert!(entry.body() == expected, "entry {}", appended.index);
            }
        })
        .unwrap();
    }
}

#[test]
fn what_java_appended_has_its_bytes_when_it_is_appended_again() {
    for (node, _) in nodes() {
        for as_leader in [true, false] {
            let disk = disk();
            live(&disk, &node.config, async |opened| {
                for (head, body) in &node.entries {
                    if as_leader {
                        let mut body = body.clone();
                        patch_phy_offset(&mut body, 0);
                        let appended = opened.log.append_as_leader(head.term, &mut body).unwrap();
                        assert_eq!((appended.index, appended.pos as i64), (head.index, head.pos));
                    } else {
                        opened.log.append_as_follower(head, body).unwrap();
                    }
                }
                let term =
                    StoredTerm { term: 1, vote_leader: Some("n1".to_owned()), is_blank: false };
                opened.log.persist_term(&term).await.unwrap();
                opened.log.close(285).await.unwrap();
            })
            .unwrap();
            node.assert_bytes_on(&disk);
            let read = |name| disk.live_bytes(&node.config.dir.join(name), 0..25).unwrap();
            assert_eq!(read("currterm"), b"voteLeader=n1\ncurrTerm=1\n");
            assert_eq!(&read("checkpoint")[..], b"committedIndex=285\nendInd");
        }
    }
}
