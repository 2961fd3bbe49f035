//! The store on the simulated disk: every point of a run at which a process may be killed or a machine
//! lose power is tried, and what the store then finds must keep its promises.

mod corruptions;
mod crash_points;
mod deleted_topics;
mod doctor;
mod doctor_dledger;
mod doctor_dledger_recover;
mod enumerated;
mod faults;
mod golden_replay;
mod java_stores;
mod metadata_files;
mod model;
mod recovery_table;
mod refusals;
mod retention;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mq_env::Env;
use mq_env::clock::Clock;
use mq_env::disk::Disk;
use mq_env::probe::Probe;
use mq_env::rng::Rng;
use mq_protocol::message_codec::decode_record;
use mq_store::config::{FlushDiskType, StoreConfig};
use mq_store::{MessageFilter, MessageInner, MessageStore, PutMessageStatus, StoreError};
use staticfire_world::disk::{DiskHandle, LatencyProfile, SimDisk, SimDiskConfig};

/// Two pages, so that records tear across pages and files roll often.
const LOG_FILE: usize = 8 << 10;

/// A wall clock that runs ahead by a millisecond whenever it is read.
struct TickingClock(AtomicU64);

impl Clock for TickingClock {
    fn now_millis(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        0
    }
}

/// A wall clock that stands where the test puts it.
struct HandClock {
    now_ms: AtomicU64,
    offset_seconds: i32,
}

impl Clock for HandClock {
    fn now_millis(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        self.offset_seconds
    }
}

fn new_disk(seed: u64) -> Arc<SimDisk> {
    let config = SimDiskConfig { latency: LatencyProfile::uniform(1..=3), ..Default::default() };
    let clock = Arc::new(TickingClock(AtomicU64::new(1_700_000_000_000)));
    SimDisk::new(config, clock, Rng::from_seed(seed))
}

/// Small files and short intervals: everything happens in a few messages.
fn small_config(flush_disk_type: FlushDiskType) -> StoreConfig {
    let mut config = StoreConfig::at("/machine/store");
    config.mapped_file_size_commit_log = LOG_FILE;
    config.mapped_file_size_consume_queue = 400;
    (config.max_hash_slot_num, config.max_index_num) = (20, 30);
    config.flush_disk_type = flush_disk_type;
    config.flush_interval_commit_log_ms = 20;
    config.flush_commit_log_thorough_interval_ms = 60;
    config.flush_interval_consume_queue_ms = 15;
    config.flush_consume_queue_thorough_interval_ms = 30;
    config
}

fn log_path(from: u64) -> PathBuf {
    PathBuf::from(format!("/machine/store/commitlog/{from:020}"))
}

/// Runs one life of a broker process: opens the store, runs `body`, and kills the process.
fn live<T>(
    disk: &Arc<SimDisk>,
    config: &StoreConfig,
    body: impl AsyncFnOnce(&Arc<MessageStore>) -> T,
) -> Result<T, StoreError> {
    let clock = Arc::new(TickingClock(AtomicU64::new(1_700_000_000_000)));
    live_by(disk, config, clock, Probe::silent(), body)
}

/// The same with a clock and a probe.
fn live_by<T>(
    disk: &Arc<SimDisk>,
    config: &StoreConfig,
    clock: Arc<dyn Clock>,
    probe: Probe,
    body: impl AsyncFnOnce(&Arc<MessageStore>) -> T,
) -> Result<T, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let handle: Arc<DiskHandle> = disk.handle("broker");
    let epoch = handle.epoch();
    let outcome = runtime.block_on(async {
        let env = Env { disk: handle as Arc<dyn Disk>, clock, probe, ..Env::os() };
        let store = MessageStore::open(env, Arc::new(config.clone())).await?;
        Ok(body(&store).await)
    });
    disk.process_died(epoch);
    drop(runtime);
    outcome
}

/// What producers know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sent {
    /// In the order of the log.
    stored: Vec<u32>,
    acked: BTreeSet<u32>,
}

#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Sent>>);

impl Ledger {
    fn change(&self, change: impl FnOnce(&mut Sent)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn now(&self) -> Sent {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A message whose body is its number, of a length that varies.
fn message(number: u32) -> MessageInner {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(4 + (number as usize * 131) % 900, number as u8 | 1);
    MessageInner {
        topic: "T".to_owned(),
        queue_id: number % 2,
        flag: 0,
        sys_flag: 0,
        body: Bytes::from(body),
        properties: format!("KEYS\u{1}{number}\u{2}TAGS\u{1}tag"),
        born_timestamp_ms: 1,
        born_host: "10.0.0.1:1234".parse().unwrap(),
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}

/// Puts numbers, two at a time, and notes what the producer may rely on.
async fn put_numbers(store: &MessageStore, ledger: &Ledger, numbers: Range<u32>) {
    let numbers: Vec<u32> = numbers.collect();
    for pair in numbers.chunks(2) {
        let mut waiting = Vec::new();
        for number in pair {
            ledger.change(|sent| sent.stored.push(*number));
            waiting.push((*number, store.put_message(&message(*number))));
        }
        for (number, waiting) in waiting {
            if waiting.await.status == PutMessageStatus::PutOk {
                ledger.change(|sent| _ = sent.acked.insert(number));
            }
        }
    }
}

/// Every number that consumers can read, in the order of the log. Offsets must be dense.
fn read_all(store: &MessageStore) -> Vec<u32> {
    let mut found = Vec::new();
    for queue_id in [0, 1] {
        let mut offset = store.min_offset_in_queue("T", queue_id);
        loop {
            let result = store.get_message("T", queue_id, offset, 32, &MessageFilter::All);
            if result.messages.is_empty() {
                assert_eq!(offset, store.max_offset_in_queue("T", queue_id), "a hole");
                break;
            }
            for record in &result.messages {
                let record = decode_record(record).unwrap();
                let (number, _) = record.body().split_first_chunk().unwrap();
                let number = u32::from_be_bytes(*number);
                assert_eq!(record.queue_offset() as u64, offset, "queue {queue_id}");
                assert_eq!(record.body(), message(number).body, "number {number}");
                assert_eq!(record.queue_id() as u32, queue_id);
                found.push((record.phy_offset(), number));
                offset += 1;
            }
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, number)| number).collect()
}

fn is_durable_file(disk: &SimDisk, path: &str) -> bool {
    disk.exists_durably(Path::new(path))
}
