//! Stores that RocketMQ 4.9.7 wrote, sound and damaged: ours finds in them what Java's own recovery
//! found, but for the cases where it is to do better, and reads them as Java does.

use mq_protocol::message::java_hash_code;
use mq_store::GetMessageStatus;
use serde_json::Value;

use super::*;
use crate::vectors::fixture::json_lines;
use mq_tests::archive::{gunzip, untar};

const KILLED: &[u8] = include_bytes!("../../fixtures/golden/killed-store.tar.gz");
const PLAIN: &[u8] = include_bytes!("../../fixtures/golden/plain-store.tar.gz");
const QUERIES: &[u8] = include_bytes!("../../fixtures/golden/plain-queries.jsonl.gz");

/// A disk with the named set under `/machine/store`, and the settings it was written with.
pub(super) fn disk_with(base: &str) -> (Arc<SimDisk>, StoreConfig) {
    let (archive, log_file) = match base {
        "killed" => (KILLED, 65_536),
        _ => (PLAIN, 262_144),
    };
    let mut config = StoreConfig::at("/machine/store");
    config.mapped_file_size_commit_log = log_file;
    config.mapped_file_size_consume_queue = 6_000;
    (config.max_hash_slot_num, config.max_index_num) = (100, 400);
    let disk = new_disk(1);
    let handle = disk.handle("tar");
    for (name, content) in untar(&gunzip(archive)) {
        let path = Path::new("/machine").join(name);
        handle.create_dir_all(path.parent().unwrap()).unwrap();
        handle.write(&path, &content).unwrap();
    }
    disk.settle();
    disk.process_died(handle.epoch());
    (disk, config)
}

/// Damages files as a case says.
pub(super) fn damage(disk: &Arc<SimDisk>, operations: &Value) {
    let handle = disk.handle("doctor");
    for operation in operations.as_array().unwrap() {
        let path = Path::new("/machine/store").join(operation["file"].as_str().unwrap());
        let number = |name: &str| operation[name].as_u64().unwrap() as usize;
        if operation["op"] == "delete" {
            delete(&*handle, &path);
            continue;
        }
        let mut content = handle.read(&path).unwrap_or_default();
        match operation["op"].as_str().unwrap() {
            "truncate" => content.truncate(number("length")),
            "zero" => content[number("offset")..][..number("count")].fill(0),
            "xor" => {
                let mask = operation["mask"].as_str().unwrap();
                content[number("offset")] ^= u8::from_str_radix(mask, 16).unwrap();
            }
            other => panic!("{other}"),
        }
        handle.write(&path, &content).unwrap();
    }
    disk.settle();
    disk.process_died(handle.epoch());
}

pub(super) fn delete(disk: &dyn Disk, path: &Path) {
    if !disk.stat(path).unwrap().is_dir {
        return disk.remove(path).unwrap();
    }
    for entry in disk.list(path).unwrap() {
        delete(disk, &path.join(entry.name));
    }
    disk.remove_dir(path).unwrap();
}

#[test]
fn reads_answer_as_java_does() {
    let (disk, config) = disk_with("plain");
    let status = |name: &str| match name {
        "FOUND" => GetMessageStatus::Found,
        "NO_MATCHED_MESSAGE" => GetMessageStatus::NoMatchedMessage,
        "NO_MESSAGE_IN_QUEUE" => GetMessageStatus::NoMessageInQueue,
        "OFFSET_OVERFLOW_BADLY" => GetMessageStatus::OffsetOverflowBadly,
        "OFFSET_OVERFLOW_ONE" => GetMessageStatus::OffsetOverflowOne,
        other => panic!("{other}"),
    };
    live(&disk, &config, async |store| {
        let (mut asked, mut same_offset) = (0, 0);
        for query in json_lines(QUERIES) {
            let (Some(topic), Some(id)) = (query["topic"].as_str(), query["queueId"].as_u64())
            else {
                continue;
            };
            let id = id as u32;
            let Some(offset) =
                query["offset"].as_i64().map_or(Some(0), |it| u64::try_from(it).ok())
            else {
                continue;
            };
            asked += 1;
            match query["op"].as_str().unwrap() {
                "minmax" => {
                    assert_eq!(store.min_offset_in_queue(topic, id), query["min"], "{query}");
                    assert_eq!(store.max_offset_in_queue(topic, id), query["max"], "{query}");
                    let earliest = store.earliest_message_time(topic, id);
                    let expected = query["earliestMessageTime"].as_i64().unwrap();
                    assert_eq!(earliest, u64::try_from(expected).ok(), "{query}");
                }
                "storeTime" => {
                    let stored = store.message_store_timestamp(topic, id, offset);
                    assert_eq!(stored, query["result"].as_u64(), "{query}");
                }
                "get" => {
                    let filter = query["tags"].as_str().map_or(MessageFilter::All, |tags| {
                        let codes = tags.split("||").map(|tag| java_hash_code(tag.trim()));
                        MessageFilter::TagsCodes(codes.collect())
                    });
                    let max_num = query["maxNum"].as_u64().unwrap() as usize;
                    let result = store.get_message(topic, id, offset, max_num, &filter);
                    assert_eq!(result.status, status(query["status"].as_str().unwrap()), "{query}");
                    assert_eq!(result.next_begin_offset, query["nextBeginOffset"], "{query}");
                    assert_eq!(result.buffer_total_bytes, query["bufferTotalSize"], "{query}");
                    let phy = result.messages.iter().map(|message| message.start_offset());
                    assert_eq!(Value::from(phy.collect::<Vec<_>>()), query["phy"], "{query}");
                }
                "offsetByTime" => {
                    // Java takes any of several messages of one time, and looks only into the file
                    // that modification times point at. Ours is never farther off.
                    let timestamp = query["timestamp"].as_u64().unwrap();
                    let distance = |offset| {
                        let stored = store.message_store_timestamp(topic, id, offset);
                        stored.map(|stored| stored.abs_diff(timestamp))
                    };
                    let found = store.offset_in_queue_by_time(topic, id, timestamp);
                    let javas = query["result"].as_u64().unwrap();
                    assert!(distance(found) <= distance(javas), "{query}: {found}");
                    same_offset += usize::from(found == javas);
                }
                other => panic!("{other}"),
            }
        }
        assert!(asked > 400 && same_offset > 0, "{asked} {same_offset}");
    })
    .unwrap();
}

#[test]
fn queries_by_key_answer_as_java_does() {
    let (disk, config) = disk_with("plain");
    live(&disk, &config, async |store| {
        let mut asked = 0;
        for query in json_lines(QUERIES).into_iter().filter(|query| query["op"] == "key") {
            asked += 1;
            let text = |name: &str| query[name].as_str().unwrap();
            let number = |name: &str| query[name].as_i64().unwrap();
            let found = store.query_message(
                text("topic"),
                text("key"),
                number("maxNum") as usize,
                number("begin"),
                number("end"),
            );
            let phy: Vec<_> = found.messages.iter().map(|message| message.start_offset()).collect();
            assert_eq!(Value::from(phy), query["phy"], "{query}");
            assert_eq!(found.index_last_update_timestamp, number("indexLastUpdateTimestamp"));
            assert_eq!(found.index_last_update_phy_offset, number("indexLastUpdatePhyoffset"));
        }
        assert!(asked > 500, "{asked}");
    })
    .unwrap();
}

/// The index files of a disk, in order, without their names.
fn index_files(disk: &Arc<SimDisk>) -> Vec<Vec<u8>> {
    let handle = disk.handle("reader");
    let dir = Path::new("/machine/store/index");
    let names = handle.list(dir).unwrap();
    names.iter().map(|entry| handle.read(&dir.join(&entry.name)).unwrap()).collect()
}

fn assert_same(found: &[Vec<u8>], expected: &[Vec<u8>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!(differs, None, "{what}: first byte that differs in file {index}");
    }
}

/// Made again from the log, the index has Java's bytes; so it has when its tail is made again.
#[test]
fn an_index_made_again_has_javas_bytes() {
    let (disk, config) = disk_with("plain");
    let javas = index_files(&disk);
    assert_eq!(javas.len(), 11);
    for removed in [0..0, 0..11, 3..11, 10..11] {
        let (disk, config) = (disk_with("plain").0, config.clone());
        let handle = disk.handle("operator");
        let dir = Path::new("/machine/store/index");
        for entry in &handle.list(dir).unwrap()[removed.clone()] {
            handle.remove(&dir.join(&entry.name)).unwrap();
        }
        live(&disk, &config, async |store| store.shutdown().await).unwrap();
        assert_same(&index_files(&disk), &javas, &format!("{removed:?}"));
        disk.power_loss_worst();
        live(&disk, &config, async |_| {}).unwrap();
        assert_same(&index_files(&disk), &javas, &format!("{removed:?} and a power loss"));
    }
}

/// Java indexes the record at the end of its last full file again after a kill. Ours does not.
#[test]
fn the_index_of_a_killed_broker_is_made_whole_without_doubles() {
    let (disk, config) = disk_with("killed");
    let expected = {
        let (disk, _) = disk_with("killed");
        delete(&*disk.handle("operator"), Path::new("/machine/store/index"));
        live(&disk, &config, async |_| {}).unwrap();
        index_files(&disk)
    };
    assert_eq!(expected.len(), 3);
    live(&disk, &config, async |_| {}).unwrap();
    assert_same(&index_files(&disk), &expected, "killed");
}
