//! What RocketMQ 4.9.7 stored is put again, message by message, with the same clock, hosts and properties:
//! CommitLog, ConsumeQueue and index files come out byte for byte.
//!
//! Every put is taken from a stored record: the broker's share of its properties (`CLUSTER`,
//! `REAL_TOPIC`, …) is the broker's business and comes in as it was stored. Records of a batch go in as a
//! batch, delayed messages under their own topics.
//!
//! What Java creates ahead of time has no message to stand for it: the zeroed file behind the last one.
//! Everything else is compared whole, tails, blanks and names of files included. Not in here: the index
//! of `killed-recovered`, in which Java's recovery entered a record twice, and DLedger's stores, which
//! are another format; their records are decoded and encoded again.

use std::collections::BTreeMap;

use mq_protocol::message::{MessageConst, PropertiesView};
use mq_protocol::message_codec::{
    BatchEntry, RecordCheck, RecordRules, RecordView, check_record, encode_batch_entry,
};
use mq_store::delay_level::SCHEDULE_TOPIC;

use super::*;
use crate::vectors::records::encode_again;
use mq_tests::archive::{gunzip, untar};

/// Bits of a record's flags that say how long its hosts are.
const HOST_BITS: i32 = 0x30;
const DAY_MS: u64 = 86_400_000;
/// Header of a DLedger entry.
const ENTRY_HEADER_BYTES: usize = 48;
/// Files by their path below the store's root.
type Files = BTreeMap<String, Vec<u8>>;

macro_rules! archives {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../../fixtures/golden/", $name, "-store.tar.gz"))),)*]
    };
}

/// Sets in which nothing but puts left its bytes, with their messages.
const WRITTEN_BY_PUTS: [(&str, &[u8], usize); 5] = {
    let [plain, features, killed, master, slave]: [(&str, &[u8]); 5] =
        archives!("plain" "features" "killed" "pair-master" "pair-slave");
    [
        (plain.0, plain.1, 2143),
        (features.0, features.1, 251),
        (killed.0, killed.1, 487),
        (master.0, master.1, 453),
        (slave.0, slave.1, 453),
    ]
};

const DLEDGER: [(&str, &[u8]); 3] = archives!("dledger-n0" "dledger-n1" "dledger-n2");

/// A message on its way in, when it was stored, and where Java put it.
struct Put {
    message: MessageInner,
    is_batch: bool,
    stored_ms: u64,
    phy_offset: i64,
    end_offset: i64,
}

fn files_of(archive: &[u8]) -> Files {
    let below = |path: String| path.strip_prefix("store/").map(str::to_owned);
    let files = untar(&gunzip(archive)).into_iter();
    files.filter_map(|(path, content)| Some((below(path)?, content))).collect()
}

fn in_dir<'a>(files: &'a Files, dir: &'static str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let files = files.iter().filter(move |(path, _)| path.starts_with(dir));
    files.map(|(path, content)| (&**path, &**content))
}

/// Shows every record of the CommitLog, in order.
fn for_each_record<'a>(files: &'a Files, mut visit: impl FnMut(RecordView<'a>)) {
    for (path, content) in in_dir(files, "commitlog/") {
        let mut at = 0;
        loop {
            match check_record(&content[at..], &RecordRules::upstream(true)) {
                RecordCheck::Valid(record) => {
                    at += record.size();
                    visit(record);
                }
                RecordCheck::Blank { .. } => break,
                other => {
                    assert!(content[at..].iter().all(|byte| *byte == 0), "{path} {at}: {other:?}");
                    break;
                }
            }
        }
    }
}

/// The puts that the records came from.
fn puts_of(files: &Files) -> Vec<Put> {
    let mut batches: Vec<Vec<RecordView<'_>>> = Vec::new();
    for_each_record(files, |record| {
        let last = batches.last_mut().filter(|batch| is_of_batch(&batch[0], &record));
        match last {
            Some(batch) => batch.push(record),
            None => batches.push(vec![record]),
        }
    });
    batches.iter().map(|records| put_of(records)).collect()
}

/// The broker adds its properties to those of a batch's message, `WAIT` for a second time.
fn batch_properties(record: &RecordView<'_>) -> Option<(String, String)> {
    let properties = record.properties().into_owned();
    let at = properties.rfind("\u{2}CLUSTER\u{1}")?;
    let (own, added) = (&properties[..at], &properties[at + 1..]);
    (own.contains("WAIT\u{1}") && added.contains("\u{2}WAIT\u{1}"))
        .then(|| (own.to_owned(), added.to_owned()))
}

fn is_of_batch(first: &RecordView<'_>, record: &RecordView<'_>) -> bool {
    let of = |record: &RecordView<'_>| {
        (record.topic().into_owned(), record.queue_id(), record.born_host())
    };
    let times = |record: &RecordView<'_>| (record.born_timestamp(), record.store_timestamp());
    batch_properties(first).is_some()
        && batch_properties(record).is_some()
        && (of(first), times(first)) == (of(record), times(record))
}

fn put_of(records: &[RecordView<'_>]) -> Put {
    let (first, last) = (&records[0], &records[records.len() - 1]);
    let mut message = MessageInner {
        topic: first.topic().into_owned(),
        queue_id: first.queue_id() as u32,
        flag: first.flag(),
        sys_flag: first.sys_flag() & !HOST_BITS,
        body: Bytes::copy_from_slice(first.body()),
        properties: first.properties().into_owned(),
        born_timestamp_ms: first.born_timestamp(),
        born_host: first.born_host(),
        store_host: first.store_host(),
        reconsume_times: first.reconsume_times(),
        prepared_transaction_offset: first.prepared_transaction_offset(),
        wait_store_ok: true,
    };
    let of_batch = batch_properties(first);
    if let Some((_, added)) = &of_batch {
        let mut body = Vec::new();
        for record in records {
            let own = batch_properties(record).unwrap().0;
            let entry = BatchEntry { flag: record.flag(), body: record.body(), properties: &own };
            encode_batch_entry(&entry, &mut body).unwrap();
        }
        (message.flag, message.body) = (0, body.into());
        message.properties.clone_from(added);
    }
    Put {
        message,
        is_batch: of_batch.is_some(),
        stored_ms: first.store_timestamp() as u64,
        phy_offset: first.phy_offset(),
        end_offset: last.phy_offset() + last.size() as i64,
    }
}

/// When Java made the index file whose first entry is of that put: its name says so.
fn index_made_ms(files: &Files, put: &Put) -> Option<u64> {
    in_dir(files, "index/").find_map(|(path, content)| {
        let begin = i64::from_be_bytes(content[16..24].try_into().unwrap());
        let number = |digits: Range<usize>| path["index/".len()..][digits].parse::<u64>().unwrap();
        let seconds = number(8..10) * 3600 + number(10..12) * 60 + number(12..14);
        let today_ms = put.stored_ms - put.stored_ms % DAY_MS;
        (put.phy_offset..put.end_offset)
            .contains(&begin)
            .then(|| today_ms + seconds * 1000 + number(14..17))
    })
}

/// Puts everything into an empty store of that layout; the files of the store after it is closed.
fn put_again(golden: &Files, puts: &[Put]) -> Files {
    let clock = Arc::new(HandClock { now_ms: AtomicU64::new(0), offset_seconds: 0 });
    let set = |now_ms| clock.now_ms.store(now_ms, Ordering::Relaxed);
    set(puts[0].stored_ms);
    let latency = LatencyProfile::uniform(0..=0);
    let disk_config = SimDiskConfig { latency, ..Default::default() };
    let disk = SimDisk::new(disk_config, Arc::clone(&clock) as _, Rng::from_seed(1));
    let mut config = StoreConfig::at("/machine/store").on_any_disk();
    config.mapped_file_size_commit_log = in_dir(golden, "commitlog/").next().unwrap().1.len();
    config.mapped_file_size_consume_queue = 6_000;
    (config.max_hash_slot_num, config.max_index_num) = (100, 400);
    live_by(&disk, &config, Arc::clone(&clock) as _, Probe::silent(), async |store| {
        for put in puts {
            set(put.stored_ms);
            let answer = start(store, put);
            // It is dispatched, and an index file made for it, while the answer is awaited.
            set(index_made_ms(golden, put).unwrap_or(put.stored_ms));
            assert_eq!(answer.await.status, PutMessageStatus::PutOk);
            while store.dispatch_behind_bytes() > 0 {
                tokio::task::yield_now().await;
            }
        }
        store.shutdown().await;
    })
    .unwrap();
    let mut files = Files::new();
    collect(&*disk.handle("reader"), Path::new("/machine/store"), "", &mut files);
    files
}

fn start(store: &MessageStore, put: &Put) -> mq_store::PutFuture {
    let message = &put.message;
    if put.is_batch {
        return store.put_messages(message);
    }
    if message.topic != SCHEDULE_TOPIC {
        return store.put_due_message(message);
    }
    // The store leaves what is there in its place.
    let properties = PropertiesView::new(&message.properties);
    let real = |name| properties.get(name).unwrap();
    let topic = real(MessageConst::REAL_TOPIC).to_owned();
    let queue_id = real(MessageConst::REAL_QID).parse().unwrap();
    store.put_message(&MessageInner { topic, queue_id, ..message.clone() })
}

fn collect(disk: &dyn Disk, root: &Path, below: &str, files: &mut Files) {
    for entry in disk.list(&root.join(below)).unwrap() {
        let path = if below.is_empty() { entry.name } else { format!("{below}/{}", entry.name) };
        if entry.is_dir {
            collect(disk, root, &path, files);
        } else {
            files.insert(path.clone(), disk.read(&root.join(&path)).unwrap());
        }
    }
}

/// The files that are not the same; one that was made ahead of time may be missing.
fn differences(golden: &Files, ours: &Files) -> Vec<String> {
    let mut differ = Vec::new();
    for dir in ["commitlog/", "consumequeue/", "index/"] {
        let paths: BTreeSet<&str> =
            in_dir(golden, dir).chain(in_dir(ours, dir)).map(|(path, _)| path).collect();
        for path in paths {
            let is_same = match (golden.get(path), ours.get(path)) {
                (Some(golden), Some(ours)) => golden == ours,
                (Some(alone), None) | (None, Some(alone)) => {
                    dir == "commitlog/" && alone.iter().all(|byte| *byte == 0)
                }
                (None, None) => false,
            };
            if !is_same {
                differ.push(path.to_owned());
            }
        }
    }
    differ
}

#[test]
fn the_same_sends_give_the_same_bytes() {
    let mut batches = 0;
    for (name, archive, messages) in WRITTEN_BY_PUTS {
        let golden = files_of(archive);
        let mut records = 0;
        for_each_record(&golden, |_| records += 1);
        assert_eq!(records, messages, "{name}");
        let puts = puts_of(&golden);
        batches += puts.iter().filter(|put| put.is_batch).count();
        let ours = put_again(&golden, &puts);
        assert_eq!(differences(&golden, &ours), Vec::<String>::new(), "{name}");
        println!("{name}: {records} records of {} puts", puts.len());
    }
    assert!(batches > 10, "{batches} batches");
}

/// The comparison sees the order of two properties, and a clock that is off by a millisecond.
#[test]
fn a_property_at_another_place_is_seen() {
    let golden = files_of(WRITTEN_BY_PUTS[1].1);
    let mut puts = puts_of(&golden);
    let changed = puts.len() / 2;
    let swapped = {
        let properties = &puts[changed].message.properties;
        let (first, rest) = properties.split_once('\u{2}').unwrap();
        let (second, rest) = rest.split_once('\u{2}').unwrap();
        format!("{second}\u{2}{first}\u{2}{rest}")
    };
    let original = std::mem::replace(&mut puts[changed].message.properties, swapped);
    let log = "commitlog/00000000000000000000";
    assert_eq!(differences(&golden, &put_again(&golden, &puts)), [log]);
    puts[changed].message.properties = original;
    puts[changed].stored_ms += 1;
    assert_eq!(differences(&golden, &put_again(&golden, &puts)), [log]);
}

#[test]
fn every_record_is_written_again_byte_for_byte() {
    let mut records = 0;
    let mut check = |record: RecordView<'_>| {
        assert_eq!(encode_again(&record), record.bytes());
        records += 1;
    };
    for (_, archive, _) in WRITTEN_BY_PUTS {
        for_each_record(&files_of(archive), &mut check);
    }
    for (name, archive) in DLEDGER {
        for_each_entry(&files_of(archive), name, &mut check);
    }
    assert_eq!(records, 2143 + 251 + 487 + 453 + 453 + 3 * 286);
}

/// Shows the record of every entry of a DLedger log.
fn for_each_entry(files: &Files, name: &str, mut visit: impl FnMut(RecordView<'_>)) {
    let logs = files.iter().filter(|(path, _)| path.contains("/data/"));
    for (path, content) in logs {
        let mut at = 0;
        while let Some(header) = content.get(at..at + ENTRY_HEADER_BYTES) {
            let number = |at: usize| i32::from_be_bytes(header[at..at + 4].try_into().unwrap());
            // A file ends with an entry of magic -1, a log with zeros.
            if number(0) != 1 {
                break;
            }
            let record = &content[at + ENTRY_HEADER_BYTES..];
            let record =
                decode_record(record).unwrap_or_else(|e| panic!("{name} {path} {at}: {e}"));
            visit(record);
            at += number(4) as usize;
        }
    }
}
