//! Metadata files, ConsumeQueue gaps, delay levels, names.

use mq_mapped_file::UnsyncedEntries;
use mq_protocol::consume_queue_unit::ConsumeQueueUnit;

use super::*;
use crate::checkpoint::StoreCheckpoint;
use crate::consume_queue::ConsumeQueue;
use crate::delay_level::DelayLevels;
use crate::metadata_file::{load_metadata, replace_metadata, store_metadata};
#[cfg(feature = "plants")]
use crate::plant::Plant;

fn parse(content: &[u8]) -> Result<u32, String> {
    let text = std::str::from_utf8(content).map_err(|error| error.to_string())?;
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

#[tokio::test]
async fn metadata_gives_way_to_its_backup() {
    let machine = Machine::new();
    let disk = &*machine.disk;
    let path = machine.root().join("config/number.json");
    let backup = machine.root().join("config/number.json.bak");
    assert_eq!(load_metadata(disk, &path, parse).unwrap(), None);
    store_metadata(disk, &path, b"1").await.unwrap();
    assert_eq!(load_metadata(disk, &path, parse).unwrap(), Some(1));
    store_metadata(disk, &path, b"2").await.unwrap();
    assert_eq!(disk.read(&backup).unwrap(), b"1");
    assert_eq!(load_metadata(disk, &path, parse).unwrap(), Some(2));
    for damaged in [&b""[..], b"2x"] {
        disk.write(&path, damaged).unwrap();
        assert_eq!(load_metadata(disk, &path, parse).unwrap(), Some(1));
    }
    disk.remove(&path).unwrap();
    assert_eq!(load_metadata(disk, &path, parse).unwrap(), Some(1));
    disk.write(&backup, b"").unwrap();
    assert_eq!(load_metadata(disk, &path, parse).unwrap(), None);
}

#[tokio::test]
async fn damaged_metadata_never_becomes_the_backup() {
    let machine = Machine::new();
    let disk = &*machine.disk;
    let path = machine.root().join("config/number.json");
    let backup = machine.root().join("config/number.json.bak");
    store_metadata(disk, &path, b"1").await.unwrap();
    store_metadata(disk, &path, b"2").await.unwrap();
    for damaged in [&b""[..], &[0; 40], b"{\"a\":1", b"2\0\0", b"\xff"] {
        disk.write(&path, damaged).unwrap();
        store_metadata(disk, &path, b"3").await.unwrap();
        assert_eq!(disk.read(&backup).unwrap(), b"1", "{damaged:?}");
        assert_eq!(disk.read(&path).unwrap(), b"3");
    }
    store_metadata(disk, &path, br#"{"offsetTable":{0:12}}"#).await.unwrap();
    assert_eq!(disk.read(&backup).unwrap(), b"3");
    store_metadata(disk, &path, b"4").await.unwrap();
    assert_eq!(disk.read(&backup).unwrap(), br#"{"offsetTable":{0:12}}"#);
}

fn queue(machine: &Machine) -> ConsumeQueue {
    let disk = Arc::clone(&machine.disk) as Arc<dyn Disk>;
    ConsumeQueue::new(disk, &machine.root(), 200, UnsyncedEntries::default(), "T", 0)
}

fn unit(phy_offset: i64) -> ConsumeQueueUnit {
    ConsumeQueueUnit { phy_offset, size: 10, tags_code: 0 }
}

#[tokio::test]
async fn a_record_gets_one_unit_however_often_it_is_dispatched() {
    let machine = Machine::new();
    let queue = queue(&machine);
    for _ in 0..2 {
        for number in 0..15 {
            queue.put_message_position_info(unit(number * 10), number as u64).unwrap();
        }
    }
    assert_eq!((queue.min_offset_in_queue(), queue.max_offset_in_queue()), (0, 15));
    assert_eq!(queue.unit(12), Some(unit(120)));
    assert_eq!(queue.unit(15), None);
    assert_eq!((queue.roll_next_file(3), queue.roll_next_file(10)), (10, 20));
    queue.put_message_position_info(unit(500), 3).unwrap();
    assert_eq!(queue.max_offset_in_queue(), 15, "a repeated queue offset gets no unit");
}

#[tokio::test]
async fn missing_units_are_filled_so_that_offsets_agree() {
    let machine = Machine::new();
    let queue = queue(&machine);
    queue.put_message_position_info(unit(0), 0).unwrap();
    queue.put_message_position_info(unit(900), 25).unwrap();
    assert_eq!(queue.max_offset_in_queue(), 26);
    assert_eq!(queue.unit(25), Some(unit(900)));
    assert_eq!(queue.unit(12), Some(ConsumeQueueUnit::FILLER));
    assert_eq!(queue.max_physic_offset(), 910);
}

#[tokio::test]
async fn a_queue_that_begins_late_is_filled_up_to_its_first_unit() {
    let machine = Machine::new();
    let queue = queue(&machine);
    queue.put_message_position_info(unit(5_000), 17).unwrap();
    assert_eq!((queue.min_offset_in_queue(), queue.max_offset_in_queue()), (17, 18));
    assert!(queue.units_from(16).is_none());
    let file = machine.disk.read(&machine.queue_file("T", 0, 200)).unwrap();
    assert_eq!(file[..20], ConsumeQueueUnit::FILLER.encode());
    queue.settle(queue.truncate(5_000, true)).await.unwrap();
    let again = self::queue(&machine);
    again.load(&again.plan_load(false).unwrap()).unwrap();
    let _ = again.recover(10_000, true);
    again.correct_min_offset(4_000);
    assert_eq!(again.max_offset_in_queue(), 17, "fillers stay");
}

/// A crash may leave the first file without a unit while the next message belongs behind it.
#[tokio::test]
async fn a_queue_with_an_empty_first_file_goes_on_behind_it() {
    let machine = Machine::new();
    let queue = queue(&machine);
    for number in 0..25 {
        queue.put_message_position_info(unit(number * 10), number as u64).unwrap();
    }
    queue.retire_first_below(10_000).unwrap();
    queue.retire_first_below(10_000).unwrap();
    queue.remove_retired().await.unwrap();
    queue.settle(queue.truncate(200, true)).await.unwrap();
    assert_eq!(queue.max_offset_in_queue(), 20, "the file of 20 to 29 is empty");
    queue.put_message_position_info(unit(900), 35).unwrap();
    assert_eq!((queue.max_offset_in_queue(), queue.unit(35)), (36, Some(unit(900))));
}

#[tokio::test]
async fn a_queue_whose_files_expired_keeps_its_end_when_it_is_cut() {
    let machine = Machine::new();
    let queue = queue(&machine);
    for number in 0..25 {
        queue.put_message_position_info(unit(number * 10), number as u64).unwrap();
    }
    assert_eq!(queue.retire_first_below(90), None, "its last unit points at 90");
    for from in [0, 200] {
        let retired = queue.retire_first_below(201);
        assert_eq!(retired, Some(machine.queue_file("T", 0, from)));
        assert!(machine.disk.stat(&machine.queue_file("T", 0, from)).is_ok());
    }
    assert_eq!(queue.retire_first_below(10_000), None, "the last file stays");
    queue.remove_retired().await.unwrap();
    assert!(machine.disk.stat(&machine.queue_file("T", 0, 200)).is_err());
    assert_eq!((queue.unit(19), queue.unit(20)), (None, Some(unit(200))));

    queue.settle(queue.truncate(200, true)).await.unwrap();
    assert_eq!((queue.max_offset_in_queue(), queue.max_physic_offset()), (20, 0));
    let again = self::queue(&machine);
    again.load(&again.plan_load(false).unwrap()).unwrap();
    let _ = again.recover(10_000, true);
    again.correct_min_offset(200);
    assert_eq!((again.min_offset_in_queue(), again.max_offset_in_queue()), (20, 20));
    again.put_message_position_info(unit(300), 20).unwrap();
    assert_eq!(again.unit(20), Some(unit(300)));

    again.settle(again.clear()).await.unwrap();
    again.put_message_position_info(unit(400), 3).unwrap();
    assert_eq!((again.min_offset_in_queue(), again.max_offset_in_queue()), (3, 4));
}

#[test]
fn delay_levels_are_javas() {
    let text = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
    assert_eq!(DelayLevels::parse(text), Ok(DelayLevels::default()));
    let levels = DelayLevels::parse("2s 1d").unwrap();
    assert_eq!((levels.deliver_time_ms(1, 10), levels.deliver_time_ms(9, 0)), (2_010, 86_400_000));
    assert_eq!(levels.deliver_time_ms(0, 10), 1_010);
    for text in ["5", "s", "5x", "-1s", "5ä"] {
        assert!(DelayLevels::parse(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn what_was_written_last_is_kept_without_a_look_at_it() {
    let (dir, env) = (tempfile::tempdir().unwrap(), Env::os());
    let (disk, path) = (&*env.disk, dir.path().join("table.json"));
    // No JSON: only who wrote it can know that it is whole.
    disk.write(&path, b"{table").unwrap();
    replace_metadata(disk, &path, Some(b"{table"), b"1").await.unwrap();
    assert_eq!(disk.read(&dir.path().join("table.json.bak")).unwrap(), b"{table");
    disk.write(&path, b"{damaged").unwrap();
    replace_metadata(disk, &path, Some(b"1"), b"2").await.unwrap();
    assert_eq!(disk.read(&dir.path().join("table.json.bak")).unwrap(), b"{table", "still");
    assert_eq!(disk.read(&path).unwrap(), b"2");
}

#[cfg(feature = "plants")]
#[test]
fn plants_are_found_by_name() {
    for plant in Plant::all() {
        assert_eq!(plant.name().parse(), Ok(plant));
        assert_eq!(plant.to_string(), plant.name());
    }
    assert!("no-such-plant".parse::<Plant>().is_err());
}

/// What is shipped is built without the feature.
#[cfg(not(feature = "plants"))]
#[test]
fn a_build_without_plants_refuses_them() {
    let mut config = crate::config::StoreConfig::at("unused");
    assert_eq!(config.plant(&[]), Ok(()));
    let refusal = config.plant(&["send-ok-before-flush".to_owned()]).unwrap_err();
    assert!(refusal.contains("no planted bugs"), "{refusal}");
}

/// The page of a store that RocketMQ 4.9.7 stopped, and what its own classes read from it.
#[tokio::test]
async fn a_checkpoint_of_java_is_read_and_written_byte_for_byte() {
    let (physic, logics, index) = (1_795_247_493_227_u64, 1_795_247_493_227, 1_795_247_469_245);
    let mut page = vec![0; 4096];
    page[..8].copy_from_slice(&[0, 0, 1, 0xa1, 0xfd, 0x16, 0xd0, 0x6b]);
    page[8..16].copy_from_slice(&[0, 0, 1, 0xa1, 0xfd, 0x16, 0xd0, 0x6b]);
    page[16..24].copy_from_slice(&[0, 0, 1, 0xa1, 0xfd, 0x16, 0x72, 0xbd]);

    let machine = Machine::new();
    let path = machine.root().join("checkpoint");
    machine.disk.create_dir_all(&machine.root()).unwrap();
    let mut only_index = vec![0; 4096];
    only_index[16..24].copy_from_slice(&u64::to_be_bytes(index));
    for found in [&page, &only_index] {
        machine.disk.write(&path, found).unwrap();
        let disk = Arc::clone(&machine.disk) as Arc<dyn Disk>;
        let checkpoint = StoreCheckpoint::open(disk, &path).unwrap();
        checkpoint.advance(physic, logics, index).await.unwrap();
        assert_eq!(checkpoint.index_msg_timestamp_ms(), index);
        let times = checkpoint.times();
        let [physic, logics] = [physic, logics].map(|ms| ms as i64);
        assert_eq!((times.physic_msg_timestamp, times.logics_msg_timestamp), (physic, logics));
        assert_eq!(machine.disk.read(&path).unwrap(), page);
    }
}
