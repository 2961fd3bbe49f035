//! Starts after clean ends, kills and damage; truncation.

use super::*;
use crate::config::{FlushDiskType, UpstreamSwitch};
use crate::durable_mark::{DurableMark, Mark};
use crate::index_service::IndexMark;

const LEN: u64 = 192;

#[tokio::test]
async fn the_numbered_record_has_192_bytes() {
    assert_eq!(record_len(100), LEN);
}

#[tokio::test]
async fn a_store_comes_back_after_a_clean_end() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..300).await;
    store.shutdown().await;
    drop(store);
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..300).collect::<Vec<_>>());
    put_numbers(&store, 300..310).await;
    until_dispatched(&store).await;
    assert_eq!(read_numbers(&store), (0..310).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_store_comes_back_after_a_kill() {
    for flush_disk_type in [FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush] {
        let machine = Machine::with(|config| config.flush_disk_type = flush_disk_type);
        for round in 0..4 {
            let store = machine.open().await;
            put_numbers(&store, round * 77..(round + 1) * 77).await;
            machine.kill(store).await;
        }
        let store = machine.open().await;
        assert_eq!(read_numbers(&store), (0..308).collect::<Vec<_>>());
        assert_eq!(store.commit_log().flushed_offset(), store.commit_log().max_offset());
    }
}

#[tokio::test]
async fn a_kill_right_after_the_roll_leaves_an_empty_last_file() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..42).await;
    machine.kill(store).await;
    // The blank is written and the next file made, but nothing is in it.
    let room = (LOG_FILE as u64 - 42 * LEN) as u32;
    machine.edit(&machine.log_file(0), |log| {
        let blank = [room.to_be_bytes(), 0xCBD4_3194_u32.to_be_bytes()].concat();
        log[42 * LEN as usize..][..8].copy_from_slice(&blank);
    });
    machine.disk.write(&machine.log_file(LOG_FILE as u64), &[]).unwrap();
    let store = machine.open().await;
    assert_eq!(store.commit_log().max_offset(), LOG_FILE as u64);
    put_numbers(&store, 42..43).await;
    until_dispatched(&store).await;
    assert_eq!(read_numbers(&store), (0..43).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_blank_at_the_very_end_is_written_over() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..42).await;
    machine.kill(store).await;
    machine.edit(&machine.log_file(0), |log| {
        log[42 * LEN as usize + 4..][..4].copy_from_slice(&0xCBD4_3194_u32.to_be_bytes());
    });
    machine.disk.remove(&machine.log_file(LOG_FILE as u64)).unwrap();
    let store = machine.open().await;
    assert_eq!(store.commit_log().max_offset(), 42 * LEN);
    put(&store, b"x").await;
    assert_eq!(store.commit_log().max_offset(), 42 * LEN + record_len(1));
}

type Damage = (&'static str, fn(&mut [u8]));

/// Each spoils the record that is the given slice.
const DAMAGES: [Damage; 7] = [
    ("cut off in the body", |record| record[90..].fill(0)),
    ("a bit of the body", |record| record[100] ^= 1),
    ("the size", |record| record[3] ^= 1),
    ("the magic", |record| record[5] ^= 1),
    ("another place", |record| record[35] ^= 1),
    ("the topic", |record| record[189] = 0xff),
    ("nothing there", |record| record.fill(0)),
];

#[tokio::test]
async fn a_torn_record_above_the_watermark_is_the_end() {
    for (damage, spoil) in DAMAGES {
        let machine = Machine::new();
        let store = machine.open().await;
        put_numbers(&store, 0..100).await;
        until_dispatched(&store).await;
        machine.kill(store).await;
        machine.edit(&machine.log_file(LOG_FILE as u64), |log| {
            spoil(&mut log[10 * LEN as usize..11 * LEN as usize]);
        });
        let store = machine.open().await;
        let kept = 42 + 10;
        let end = LOG_FILE as u64 + 10 * LEN;
        assert_eq!(store.commit_log().max_offset(), end, "{damage}");
        assert_eq!(read_numbers(&store), (0..kept).collect::<Vec<_>>(), "{damage}");
        let log = machine.disk.read(&machine.log_file(LOG_FILE as u64)).unwrap();
        assert!(log[10 * LEN as usize..].iter().all(|byte| *byte == 0), "{damage}: erased");
        assert!(machine.disk.stat(&machine.log_file(2 * LOG_FILE as u64)).is_err());
        let stored = put(&store, &numbered(kept)).await.append.unwrap();
        assert_eq!(stored.queue_offset, u64::from(kept), "{damage}: dense");
        until_dispatched(&store).await;
        assert_eq!(read_numbers(&store), (0..=kept).collect::<Vec<_>>(), "{damage}");
    }
}

#[tokio::test]
async fn a_record_cut_off_in_its_properties_is_torn() {
    let machine = Machine::new();
    let store = machine.open().await;
    let mut with_properties = message(b"x");
    with_properties.properties = "KEY\u{1}value".to_owned();
    let first = store.put_message(&with_properties).await.append.unwrap();
    store.put_message(&with_properties).await;
    machine.kill(store).await;
    let len = first.wrote_bytes as usize;
    machine.edit(&machine.log_file(0), |log| log[2 * len - 3..2 * len].fill(0));
    let store = machine.open().await;
    assert_eq!(store.commit_log().max_offset(), len as u64);
}

#[tokio::test]
async fn damage_below_the_watermark_stops_the_start() {
    for (damage, spoil) in DAMAGES {
        let machine = Machine::with(|config| config.flush_disk_type = FlushDiskType::SyncFlush);
        let store = machine.open().await;
        put_numbers(&store, 0..100).await;
        store.shutdown().await;
        drop(store);
        let path = machine.log_file(LOG_FILE as u64);
        machine.edit(&path, |log| spoil(&mut log[10 * LEN as usize..11 * LEN as usize]));
        let before = machine.disk.read(&path).unwrap();
        match machine.try_open().await.map(|_| ()).unwrap_err() {
            StoreError::Damaged { file, phy_offset, durable_end, .. } => {
                assert_eq!(file, path, "{damage}");
                assert_eq!(phy_offset, LOG_FILE as u64 + 10 * LEN, "{damage}");
                assert_eq!(durable_end, 2 * LOG_FILE as u64 + 16 * LEN, "{damage}");
            }
            other => panic!("{damage}: {other}"),
        }
        assert_eq!(machine.disk.read(&path).unwrap(), before, "{damage}: nothing was changed");
    }
}

#[tokio::test]
async fn a_missing_log_below_the_watermark_stops_the_start() {
    let machine = Machine::with(|config| config.flush_disk_type = FlushDiskType::SyncFlush);
    let store = machine.open().await;
    put_numbers(&store, 0..100).await;
    store.shutdown().await;
    drop(store);
    for file in [2, 1, 0] {
        machine.disk.remove(&machine.log_file(file * LOG_FILE as u64)).unwrap();
        let error = machine.try_open().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

fn mark_of(log_end: u64, logics_end: u64) -> Mark {
    Mark { log_end, logics_end, units: Some(7), index: IndexMark::default() }
}

#[tokio::test]
async fn the_watermark_file_survives_a_torn_write() {
    let machine = Machine::new();
    let path = machine.dir.path().join("durable");
    let disk = || Arc::clone(&machine.disk) as Arc<dyn Disk>;
    let (durable, mark) = DurableMark::open(disk(), &path).unwrap();
    assert_eq!(mark, None);
    for end in 1..=4 {
        durable.advance(mark_of(end * 100, end)).await.unwrap();
    }
    durable.advance(mark_of(1, 5)).await.unwrap();
    let index = IndexMark { file: 1, entries: 2, end: 3 };
    durable.advance(Mark { index: IndexMark { end: 9, ..index }, ..mark_of(1, 1) }).await.unwrap();
    durable.lower(350, index).await.unwrap();
    drop(durable);
    let mark = |torn: &[usize]| {
        machine.edit(&path, |page| torn.iter().for_each(|at| page[*at] ^= 1));
        DurableMark::open(disk(), &path).unwrap().1
    };
    assert_eq!(mark(&[]), Some(Mark { index, ..mark_of(350, 5) }));
    // Seven writes: the seventh is in the second slot, the sixth in the first.
    let before = Mark { index: IndexMark { end: 9, ..index }, ..mark_of(400, 5) };
    assert_eq!(mark(&[532]), Some(before));
    assert_eq!(mark(&[20]), None);
}

#[tokio::test]
async fn a_store_without_marks_is_read_by_javas_rules() {
    let machine = Machine::with(|config| config.flush_disk_type = FlushDiskType::SyncFlush);
    let store = machine.open().await;
    put_numbers(&store, 0..200).await;
    store.shutdown().await;
    drop(store);
    machine.disk.remove(&machine.root().join("durable")).unwrap();
    machine.disk.write(&machine.root().join("abort"), b"").unwrap();
    // The same damage that stops a store with a watermark ends one without.
    machine.edit(&machine.log_file(3 * LOG_FILE as u64), |log| log[10 * LEN as usize + 100] ^= 1);
    let store = machine.open().await;
    let kept = 3 * 42 + 10;
    assert_eq!(read_numbers(&store), (0..kept).collect::<Vec<_>>());
    let end = 3 * LOG_FILE as u64 + 10 * LEN;
    let mark = store.durable_mark();
    // The log is walked from its start: units count as durable once they are synced again.
    assert_eq!((mark.log_end, mark.logics_end, mark.units), (end, 0, Some(0)));
    // None of them has a key.
    assert_eq!(mark.index, IndexMark::default());
}

#[tokio::test]
async fn an_aborted_store_without_marks_dispatches_again_from_the_checkpoint() {
    let machine = Machine::new();
    let store = machine.open().await;
    for number in 0..200 {
        put_numbers(&store, number..number + 1).await;
        machine.clock.advance(100);
    }
    until_dispatched(&store).await;
    store.shutdown().await;
    drop(store);
    machine.disk.remove(&machine.root().join("durable")).unwrap();
    machine.disk.write(&machine.root().join("abort"), &[]).unwrap();
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..200).collect::<Vec<_>>());
    let again =
        machine.events().iter().rev().take_while(|event| !event.contains("Recovered")).count();
    // The checkpoint minus three seconds is after number 168 was stored, which begins the fifth file.
    assert_eq!(again, 200 - 168);
}

/// Opens a killed store without marks and calls `while_held` while the sync of its log's second file
/// does not end.
async fn open_while_the_log_is_synced(
    flush_disk_type: FlushDiskType,
    while_held: impl Fn(&Machine),
) {
    let machine = Machine::with(|config| config.flush_disk_type = flush_disk_type);
    let store = machine.open().await;
    put_numbers(&store, 0..100).await;
    machine.kill(store).await;
    machine.disk.remove(&machine.root().join("durable")).unwrap();
    lock(&machine.observer.0).clear();
    let second_file = machine.log_file(LOG_FILE as u64);
    let synced = machine.disk.sync_count(&second_file);
    machine.disk.hold_sync(&second_file);
    let release = async {
        until(|| machine.disk.sync_count(&second_file) > synced).await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        while_held(&machine);
        let (_, mark) = DurableMark::open(Env::os().disk, &machine.root().join("durable")).unwrap();
        assert_eq!(mark, None, "nothing is claimed before it is synced");
        machine.disk.release();
    };
    let (store, ()) = tokio::join!(machine.open(), release);
    assert_eq!(read_numbers(&store), (0..100).collect::<Vec<_>>());
    assert_eq!(store.durable_mark().log_end, store.commit_log().max_offset());
}

fn dispatched(machine: &Machine) -> usize {
    machine.events().iter().filter(|event| event.starts_with("Dispatched")).count()
}

#[tokio::test]
async fn a_log_is_dispatched_while_it_is_synced() {
    let all = |machine: &Machine| assert_eq!(dispatched(machine), 100);
    open_while_the_log_is_synced(FlushDiskType::AsyncFlush, all).await;
}

#[tokio::test]
async fn under_sync_flush_a_start_shows_only_what_is_synced() {
    let first_file = |machine: &Machine| assert_eq!(dispatched(machine), LOG_FILE / LEN as usize);
    open_while_the_log_is_synced(FlushDiskType::SyncFlush, first_file).await;
}

#[tokio::test]
async fn deleted_consume_queues_are_built_again() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..150).await;
    until_dispatched(&store).await;
    store.shutdown().await;
    drop(store);
    for from in [0, QUEUE_FILE as u64] {
        machine.disk.remove(&machine.queue_file("T", 0, from)).unwrap();
    }
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..150).collect::<Vec<_>>());
}

#[tokio::test]
async fn units_that_were_not_durable_are_made_again() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..150).await;
    until_dispatched(&store).await;
    machine.kill(store).await;
    // As a power loss leaves them: a page of zeros, and behind it units that point anywhere.
    machine.edit(&machine.queue_file("T", 0, 0), |units| {
        units[200..400].fill(0);
        units[400..420]
            .copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..150).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_directory_is_open_once() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..1).await;
    let error = machine.try_open().await.map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "Lock failed,MQ already started");
    put_numbers(&store, 1..2).await;
    store.shutdown().await;
    machine.open().await;
}

#[tokio::test]
async fn truncation_cuts_log_and_queues_for_good() {
    for is_in_memory in [false, true] {
        let machine = Machine::with(|config| {
            if is_in_memory {
                config.upstream.insert(UpstreamSwitch::TruncateInMemory);
            }
        });
        let store = machine.open().await;
        put_numbers(&store, 0..100).await;
        until_dispatched(&store).await;
        store.marks.flush_all_queues().await;
        let end = LOG_FILE as u64 + 10 * LEN;
        store.truncate_to(end, "test").await.unwrap();
        assert_eq!(store.commit_log().max_offset(), end);
        assert_eq!(read_numbers(&store), (0..52).collect::<Vec<_>>());
        assert!(store.durable_mark().logics_end <= end);
        assert!(machine.saw("Truncated"));
        store.truncate_to(end + 1000, "behind the end").await.unwrap();
        // One record more: what lay behind it must not come back.
        put_numbers(&store, 1000..1001).await;
        machine.kill(store).await;
        let store = machine.open().await;
        let numbers = read_numbers(&store);
        let expected: Vec<_> = (0..52).chain([1000]).collect();
        if is_in_memory {
            assert_eq!(numbers.len(), 84, "upstream: the old tail of the file is back");
        } else {
            assert_eq!(numbers, expected);
        }
    }
}

#[tokio::test]
async fn a_cut_that_cannot_be_synced_is_final_and_made_again_after_a_start() {
    let machine = Machine::with(|config| config.flush_disk_type = FlushDiskType::SyncFlush);
    let store = machine.open().await;
    put_numbers(&store, 0..20).await;
    machine.disk.fail_next_flush(LOG_FILE);
    let error = store.truncate_to(10 * LEN, "it diverged").await.unwrap_err();
    assert!(matches!(error, StoreError::Flush(_)), "{error}");
    assert!(store.commit_log().is_poisoned() && !store.is_writeable());
    assert_eq!(store.commit_log().max_offset(), 10 * LEN);
    machine.kill(store).await;

    // Had the start read zeros, nobody would erase what the disk still has.
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..20).collect::<Vec<_>>());
    store.truncate_to(10 * LEN, "it diverged").await.unwrap();
    assert_eq!(read_numbers(&store), (0..10).collect::<Vec<_>>());
    put_numbers(&store, 10..12).await;
    machine.kill(store).await;
    let store = machine.open().await;
    assert_eq!(read_numbers(&store), (0..12).collect::<Vec<_>>());
}

#[tokio::test]
async fn recovery_reports_what_it_dropped() {
    let machine = Machine::new();
    let store = machine.open().await;
    put_numbers(&store, 0..10).await;
    machine.kill(store).await;
    machine.edit(&machine.log_file(0), |log| log[8 * LEN as usize + 100] ^= 1);
    machine.open().await;
    // The last two bytes, the length of no properties, are zero.
    let dropped = 2 * LEN - 2;
    let expected =
        format!("min_phy_offset: 0, max_phy_offset: {}, dropped_bytes: {dropped}", 8 * LEN);
    assert!(machine.saw(&expected), "{:?}", machine.events().last());
    assert!(machine.saw("CRC"));
}

#[cfg(feature = "plants")]
mod plants {
    use super::*;
    use crate::PutMessageStatus::PutOk;
    use crate::config::BrokerRole;
    use crate::plant::Plant;

    #[tokio::test]
    async fn a_promoted_slave_with_stale_offsets_loses_messages() {
        let mut machine = Machine::new();
        let master = machine.open().await;
        put_numbers(&master, 0..20).await;
        machine.config.plants.insert(Plant::StaleQueueOffsetsOnPromotion);
        machine.config.store_path_root_dir = machine.dir.path().join("other");
        machine.config.broker_role = BrokerRole::Slave;
        let slave = machine.open().await;
        slave.commit_log().append_raw(0, &master.commit_log().data(0).unwrap()).unwrap();
        until_dispatched(&slave).await;
        slave.shutdown().await;
        drop(slave);
        machine.config.broker_role = BrokerRole::AsyncMaster;
        let promoted = machine.open().await;
        assert_eq!(put(&promoted, &numbered(20)).await.status, PutOk);
        until_dispatched(&promoted).await;
        assert_eq!(read_numbers(&promoted).len(), 20, "number 20 is acked and unreachable");
    }

    #[tokio::test]
    async fn the_other_plants_bite() {
        let plant = |plant| {
            Machine::with(|config| {
                config.flush_disk_type = FlushDiskType::SyncFlush;
                config.plants.insert(plant);
            })
        };
        let machine = plant(Plant::SendOkBeforeFlush);
        let store = machine.open().await;
        machine.disk.hold(LOG_FILE);
        assert_eq!(put(&store, b"x").await.status, PutOk);
        assert_eq!(store.commit_log().flushed_offset(), 0);

        let machine = plant(Plant::SyncedOnFlushError);
        let store = machine.open().await;
        machine.disk.fail_next_flush(LOG_FILE);
        assert_eq!(put(&store, b"x").await.status, PutOk);

        let machine = plant(Plant::DispatchAboveSynced);
        let store = machine.open().await;
        machine.disk.hold(LOG_FILE);
        let _waiting = store.put_message(&message(b"x"));
        until(|| store.max_offset_in_queue("T", 0) == 1).await;

        let machine = plant(Plant::TruncateInMemoryOnly);
        let store = machine.open().await;
        put_numbers(&store, 0..10).await;
        store.truncate_to(0, "test").await.unwrap();
        machine.kill(store).await;
        assert_eq!(read_numbers(&*machine.open().await).len(), 10);
    }
}
