//! The same kinds of outcome on the simulated disk: stores under both flush types, cut at random.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::Env;
use mq_env::clock::Clock;
use mq_env::rng::Rng;
use mq_store::config::{FlushDiskType, StoreConfig};
use mq_store::metadata_file::store_metadata;
use mq_store::{MessageInner, MessageStore};
use mq_tests::outcome::{FileSizes, outcomes};
use rand::Rng as _;
use staticfire_world::disk::{SimDisk, SimDiskConfig};

/// Sizes of the files, as the broker under test has them.
pub(crate) const SIZES: FileSizes =
    FileSizes { commit_log: 65_536, consume_queue: 2_000, index: 40 + 4 * 100 + 20 * 400 };

/// Cuts simulated.
const CUTS: u64 = 400;

/// Longest life before a cut, with one message a millisecond.
const LIFE_MS_MAX: u64 = 3_000;

/// Messages a millisecond where senders are faster than the disk: a file is full before the one that was
/// made ahead of it is durable.
const BURST: u32 = 40;

struct SteadyClock;

impl Clock for SteadyClock {
    fn now_millis(&self) -> u64 {
        1_700_000_000_000
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        0
    }
}

/// Every kind of outcome that some power loss has on the simulated disk.
pub(crate) fn outcomes_of_simulated_power_losses() -> BTreeSet<String> {
    (0..CUTS).flat_map(cut).collect()
}

fn cut(seed: u64) -> BTreeSet<String> {
    let rng = Rng::from_seed(seed);
    let mut dice = rng.stream("cut");
    let flush_disk_type = FlushDiskType::ALL[dice.random_range(0..2)];
    let per_ms = if seed.is_multiple_of(8) { BURST } else { 1 };
    let life = Duration::from_millis(dice.random_range(1..LIFE_MS_MAX / u64::from(per_ms)));
    let appended = Mutex::default();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let image = runtime.block_on(async {
        let disk = SimDisk::new(SimDiskConfig::default(), Arc::new(SteadyClock), rng);
        let writeback = write_back(&disk, seed);
        let life = tokio::time::timeout(life, async {
            tokio::join!(live(&disk, flush_disk_type, per_ms, &appended), writeback)
        });
        assert!(life.await.is_err(), "it ended by itself");
        disk.image()
    });
    let disk = SimDisk::from_image(&image);
    disk.power_loss(&mut dice);
    outcomes(&*disk.handle("look"), Path::new("/store"), SIZES, &appended.into_inner().unwrap())
}

async fn write_back(disk: &Arc<SimDisk>, seed: u64) {
    let mut dice = Rng::from_seed(seed).stream("writeback");
    loop {
        tokio::time::sleep(Duration::from_millis(dice.random_range(1..1_000))).await;
        disk.writeback(&mut dice);
    }
}

/// A store under steady traffic on two topics and a new one now and then, with its metadata.
async fn live(
    disk: &Arc<SimDisk>,
    flush_disk_type: FlushDiskType,
    per_ms: u32,
    appended: &Mutex<Vec<u64>>,
) {
    let mut config = StoreConfig::at("/store");
    config.mapped_file_size_commit_log = usize::try_from(SIZES.commit_log).unwrap();
    config.mapped_file_size_consume_queue = usize::try_from(SIZES.consume_queue).unwrap();
    (config.max_hash_slot_num, config.max_index_num) = (100, 400);
    config.flush_disk_type = flush_disk_type;
    let handle = disk.handle("broker");
    let env = Env { disk: handle.clone(), clock: Arc::new(SteadyClock), ..Env::os() };
    let store = MessageStore::open(env, Arc::new(config)).await.unwrap();
    for number in 0_u32.. {
        let topic = match number % 50 {
            0 => {
                let text = format!("{{\"topics\":{number}}}");
                let path = Path::new("/store/config/topics.json");
                store_metadata(&*handle, path, text.as_bytes()).await.unwrap();
                format!("New{number}")
            }
            other => format!("T{}", other % 2),
        };
        let put = store.put_message(&message(&topic, number)).await;
        appended.lock().unwrap().push(put.append.unwrap().phy_offset);
        if number.is_multiple_of(per_ms) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn message(topic: &str, number: u32) -> MessageInner {
    MessageInner {
        topic: topic.to_owned(),
        queue_id: number / 2 % 4,
        flag: 0,
        sys_flag: 0,
        body: vec![7; 300].into(),
        properties: format!("UNIQ_KEY\u{1}{number}\u{2}"),
        born_timestamp_ms: 1_600_000_000_000,
        born_host: "10.0.0.1:1234".parse().unwrap(),
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}
