//! The store on the simulated disk, crashed after every persistence micro-operation: whatever was
//! acknowledged under SYNC_FLUSH by then is read back after a kill and after power loss, and nothing
//! is read that was not sent.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mq_env::Env;
use mq_env::clock::Clock;
use mq_env::disk::Disk;
use mq_env::rng::Rng;
use mq_protocol::message_codec::decode_record;
use mq_store::config::{FlushDiskType, StoreConfig};
use mq_store::{MessageFilter, MessageInner, MessageStore, PutMessageStatus};
use mq_tests::crash::stage::run;
use staticfire_world::disk::{DiskImage, SimDisk, SimDiskConfig};

const MESSAGES: u32 = 60;

/// Moves on a second at each look, so that no two files are of one age.
struct TickingClock(AtomicU64);

impl Clock for TickingClock {
    fn now_millis(&self) -> u64 {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        0
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(TickingClock(AtomicU64::new(1_700_000_000_000)))
}

fn message(number: u32) -> MessageInner {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(300, 7);
    MessageInner {
        topic: "T".to_owned(),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        body: body.into(),
        properties: String::new(),
        born_timestamp_ms: 1_600_000_000_000,
        born_host: "10.0.0.1:1234".parse().unwrap(),
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}

async fn open(disk: &Arc<SimDisk>) -> Arc<MessageStore> {
    let mut config = StoreConfig::at("/store");
    config.mapped_file_size_commit_log = 8 << 10;
    config.mapped_file_size_consume_queue = 500;
    (config.max_hash_slot_num, config.max_index_num) = (20, 30);
    config.flush_disk_type = FlushDiskType::SyncFlush;
    let env = Env { disk: disk.handle("broker"), clock: clock(), ..Env::os() };
    MessageStore::open(env, Arc::new(config)).await.unwrap()
}

/// The numbers of queue 0 from its minimum on.
fn numbers(store: &MessageStore) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut offset = store.min_offset_in_queue("T", 0);
    loop {
        let result = store.get_message("T", 0, offset, 32, &MessageFilter::All);
        for record in &result.messages {
            let record = decode_record(record).unwrap();
            let (number, rest) = record.body().split_first_chunk().unwrap();
            assert!(rest.iter().all(|byte| *byte == 7), "a body that nobody sent");
            numbers.push(u32::from_be_bytes(*number));
        }
        if result.next_begin_offset == offset {
            return numbers;
        }
        offset = result.next_begin_offset;
    }
}

/// Has an image taken after each micro-operation, together with what `acked` counts by then.
fn film(disk: &Arc<SimDisk>, acked: &Arc<AtomicU32>) -> Arc<Mutex<Vec<(DiskImage, u32)>>> {
    let points = Arc::new(Mutex::new(vec![(disk.image(), acked.load(Ordering::Relaxed))]));
    let subject = Arc::downgrade(disk);
    let (camera, count) = (Arc::clone(&points), Arc::clone(acked));
    disk.observe_micro_ops(Some(Arc::new(move |_, _| {
        let image = subject.upgrade().unwrap().image();
        camera.lock().unwrap().push((image, count.load(Ordering::Relaxed)));
    })));
    points
}

/// Sends all messages one after the other; per micro-operation the image and what was acked by then.
fn crash_points() -> Vec<(DiskImage, u32)> {
    run(async {
        let disk = SimDisk::new(SimDiskConfig::default(), clock(), Rng::from_seed(1));
        disk.handle("setup").create_dir_all(Path::new("/store")).unwrap();
        disk.settle();
        let acked = Arc::default();
        let points = film(&disk, &acked);
        let store = open(&disk).await;
        for number in 0..MESSAGES {
            let result = store.put_message(&message(number)).await;
            assert_eq!(result.status, PutMessageStatus::PutOk);
            acked.store(number + 1, Ordering::Relaxed);
        }
        disk.observe_micro_ops(None);
        std::mem::take(&mut *points.lock().unwrap())
    })
}

/// Recovers the store of `disk` and holds it against what was acknowledged.
fn check(what: &str, disk: &Arc<SimDisk>, acked: u32) {
    let found = run(async {
        let store = open(disk).await;
        while store.dispatch_behind_bytes() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        numbers(&store)
    });
    assert!(found.iter().copied().eq(0..found.len() as u32), "{what}: {found:?}");
    assert!(found.len() as u32 >= acked, "{what}: {} of {acked} acked", found.len());
}

/// The disk after power loss at `image`, and words for it.
fn cut(image: &DiskImage, seed: usize) -> (Arc<SimDisk>, String) {
    let mut rng = Rng::from_seed(seed as u64).stream("cut");
    let (disk, report) = image.after_power_loss(&mut rng);
    (disk, format!("power loss after operation {seed}, {report}"))
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_any_point() {
    let points = crash_points();
    assert!(points.len() > 3 * MESSAGES as usize);
    assert_eq!(points.last().unwrap().1, MESSAGES - 1, "the last ack follows the last operation");
    for (number, (image, acked)) in points.iter().enumerate() {
        check(&format!("kill after operation {number}"), &image.after_kill(), *acked);
        let (disk, what) = cut(image, number);
        check(&what, &disk, *acked);
    }
}

#[test]
fn what_was_acknowledged_survives_a_crash_during_recovery() {
    for (number, (image, acked)) in crash_points().iter().enumerate().step_by(7) {
        let (disk, what) = cut(image, number);
        let recovery = film(&disk, &Arc::new(AtomicU32::new(*acked)));
        check(&what, &disk, *acked);
        disk.observe_micro_ops(None);
        for (step, (image, acked)) in recovery.lock().unwrap().iter().enumerate() {
            check(&format!("{what}, killed after {step} of recovery"), &image.after_kill(), *acked);
            let (disk, again) = cut(image, number + step);
            check(&format!("{what}; in its recovery {again}"), &disk, *acked);
        }
    }
}
