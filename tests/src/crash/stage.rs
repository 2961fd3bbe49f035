//! [`Stage`]: one store on one simulated disk, life after life, and the camera.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use mq_env::Env;
use mq_env::clock::Clock;
use mq_env::disk::Disk;
use mq_env::probe::Probe;
use mq_env::rng::Rng;
use mq_store::config::{FlushDiskType, StoreConfig};
use mq_store::metadata_file::settle_metadata;
use mq_store::{MessageInner, MessageStore, PutMessageStatus};
use staticfire_world::disk::{DiskImage, EpochId, LatencyProfile, SimDisk, SimDiskConfig};

use super::known::{Knowledge, Known, Violation, violation};
use super::tables;

/// Where the store is.
pub const ROOT: &str = "/machine/store";

/// Two pages, so that records tear across pages and files roll often.
pub const LOG_FILE: usize = 8 << 10;

/// When the first life begins, in ms since the Unix epoch: midnight.
const BIRTH_MS: u64 = 1_699_920_000_000;

/// So much later does each further life begin.
pub const BETWEEN_LIVES_MS: u64 = 1_000_000;

/// A clock that moves on by a millisecond at each look, and when told to.
pub struct HandClock(AtomicU64);

impl HandClock {
    /// A clock that shows the beginning of life number `life`.
    #[must_use]
    pub fn of_life(life: u64) -> Arc<Self> {
        Arc::new(HandClock(AtomicU64::new(BIRTH_MS + life * BETWEEN_LIVES_MS)))
    }

    /// Moves it on.
    pub fn advance(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now_millis(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        0
    }
}

/// A disk with a store that may be alive.
pub struct Stage {
    /// The machine's disk.
    pub disk: Arc<SimDisk>,
    /// What is known.
    pub knowledge: Knowledge,
    /// The store's settings.
    pub config: StoreConfig,
    /// The clock of disk and store.
    pub clock: Arc<HandClock>,
    /// The store, in a life that [`Stage::live`] began.
    pub store: Arc<MessageStore>,
    /// The handles of that life.
    pub env: Env,
}

/// The disk after a micro-operation, and what was known then.
#[derive(Clone)]
pub struct Point<K = Known> {
    /// The disk.
    pub image: DiskImage,
    /// What was known.
    pub known: K,
}

/// Small files and short intervals: everything happens in a few messages.
#[must_use]
pub fn small_config(mode: FlushDiskType) -> StoreConfig {
    let mut config = StoreConfig::at(ROOT);
    config.mapped_file_size_commit_log = LOG_FILE;
    config.mapped_file_size_consume_queue = 240;
    (config.max_hash_slot_num, config.max_index_num) = (20, 30);
    config.flush_disk_type = mode;
    config.flush_interval_commit_log_ms = 20;
    config.flush_commit_log_thorough_interval_ms = 60;
    config.flush_interval_consume_queue_ms = 15;
    config.flush_consume_queue_thorough_interval_ms = 30;
    config.file_reserved_time_hours = 2;
    config.delete_when = "12".to_owned();
    config.destroy_mapped_file_interval_forcibly_ms = 1000;
    config
}

/// An empty disk.
#[must_use]
pub fn new_disk(seed: u64) -> Arc<SimDisk> {
    new_disk_by(seed, HandClock::of_life(0))
}

/// An empty disk whose files get their times from `clock`.
#[must_use]
pub fn new_disk_by(seed: u64, clock: Arc<HandClock>) -> Arc<SimDisk> {
    let config = SimDiskConfig { latency: LatencyProfile::uniform(1..=3), ..Default::default() };
    SimDisk::new(config, clock, Rng::from_seed(seed))
}

/// Runs `future` on a runtime of its own whose time is simulated.
///
/// # Panics
/// When there is no runtime to be had.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(future)
}

/// Plants the bugs of `config` also where no store's settings are looked at.
#[cfg(feature = "plants")]
pub fn plant_on_this_thread(config: &StoreConfig) {
    mq_store::plant::plant_on_this_thread(&config.plants);
}

/// Without the feature `plants` there is nothing to plant.
#[cfg(not(feature = "plants"))]
pub const fn plant_on_this_thread(_config: &StoreConfig) {}

impl Stage {
    /// One life of a store on `disk`: opened, `body` run, killed. A store that panics or does not start
    /// has broken a promise.
    ///
    /// # Errors
    /// That violation, or the one that `body` returns.
    pub fn live<T>(
        disk: &Arc<SimDisk>,
        config: &StoreConfig,
        life: u64,
        knowledge: &Knowledge,
        body: impl AsyncFnOnce(&Stage) -> Result<T, Violation>,
    ) -> Result<T, Violation> {
        let play = Stage::open(disk, config, life, knowledge, body);
        let outcome = catch_unwind(AssertUnwindSafe(|| run(play)));
        outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            violation("no-panic", text.unwrap_or_default())
        })
    }

    /// The same on the runtime that there is.
    ///
    /// # Errors
    /// As [`Stage::live`].
    pub async fn open<T>(
        disk: &Arc<SimDisk>,
        config: &StoreConfig,
        life: u64,
        knowledge: &Knowledge,
        body: impl AsyncFnOnce(&Stage) -> Result<T, Violation>,
    ) -> Result<T, Violation> {
        let handle = disk.handle("broker");
        let _end = EndOfLife(Arc::clone(disk), handle.epoch());
        let clock = HandClock::of_life(life);
        let env = Env {
            disk: handle as Arc<dyn Disk>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            probe: Probe::to(Arc::new(knowledge.clone())),
            ..Env::os()
        };
        let settled = settle_metadata(&*env.disk, &Path::new(ROOT).join("config")).await;
        let opened = MessageStore::open(env.clone(), Arc::new(config.clone())).await;
        let store = match (settled, opened) {
            (Ok(()), Ok(store)) => store,
            (Err(error), _) => return violation("start", error.to_string()),
            (_, Err(error)) => return violation("start", error.to_string()),
        };
        let stage = Stage {
            disk: Arc::clone(disk),
            knowledge: knowledge.clone(),
            config: config.clone(),
            clock,
            store,
            env,
        };
        body(&stage).await
    }

    /// Puts messages one after the other, each once the one before is answered.
    pub async fn put(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.put_one(message(number)).await;
        }
    }

    /// Puts messages at once, then waits for their answers.
    pub async fn put_together(&self, numbers: std::ops::Range<u32>) {
        let puts: Vec<_> = numbers.map(|number| self.begin(message(number))).collect();
        for put in puts {
            put.await;
        }
    }

    /// Puts messages while everybody else gets a turn, but no time passes; then waits for their answers.
    pub async fn put_at_one_instant(&self, numbers: std::ops::Range<u32>) {
        let mut puts = Vec::new();
        for number in numbers {
            puts.push(self.begin(message(number)));
            tokio::task::yield_now().await;
        }
        for put in puts {
            put.await;
        }
    }

    /// Puts a message.
    pub async fn put_one(&self, message: MessageInner) {
        self.begin(message).await;
    }

    /// Puts a batch of messages of queue 0.
    pub async fn put_batch(&self, numbers: std::ops::Range<u32>) {
        self.knowledge.learn(|known| known.attempted.extend(numbers.clone()));
        let result = self.store.put_messages(&batch(numbers)).await;
        if result.status == PutMessageStatus::PutOk {
            let places = result.append.map(|append| append.batch_phy_offsets).unwrap_or_default();
            self.knowledge.learn(|known| known.acked.extend(places));
        }
    }

    /// A message that no file of the log has room for.
    pub async fn put_too_large(&self) {
        let body = vec![7; LOG_FILE];
        let refused = MessageInner { body: body.into(), ..message(0) };
        assert_ne!(self.store.put_message(&refused).await.status, PutMessageStatus::PutOk);
    }

    /// Appends at once; the future waits for the answer.
    fn begin(&self, message: MessageInner) -> impl Future<Output = ()> + use<> {
        self.knowledge.learn(|known| known.attempted.insert(number_of(&message.body)));
        let put = self.store.put_message(&message);
        let knowledge = self.knowledge.clone();
        async move {
            let result = put.await;
            if let (PutMessageStatus::PutOk, Some(append)) = (result.status, result.append) {
                knowledge.learn(|known| known.acked.insert(append.phy_offset));
            }
        }
    }

    /// Deletes the topic of the messages.
    ///
    /// # Panics
    /// When the store does not.
    pub async fn delete_topic(&self) {
        self.knowledge.learn(|known| known.attempted.insert(DELETION));
        let status = self.store.delete_topic("T", message(0).store_host).await;
        assert_eq!(status, PutMessageStatus::PutOk);
        self.knowledge.learn(|known| {
            let newest = known.appended.iter().rev().find(|(_, (_, number))| *number == DELETION);
            let phy_offset = newest.map(|(phy_offset, _)| *phy_offset);
            known.acked.extend(phy_offset);
        });
    }

    /// Lets time pass for everybody.
    pub async fn pass(&self, duration_ms: u64) {
        let step_ms = (duration_ms / 20).max(1);
        for _ in 0..20 {
            self.clock.advance(step_ms);
            tokio::time::sleep(Duration::from_millis(step_ms)).await;
        }
    }

    /// Waits until everything that is put is consumable.
    ///
    /// # Panics
    /// When that has not come true after five seconds.
    pub async fn dispatched(&self) {
        let log = self.store.commit_log();
        let waits = || log.remain_how_many_data_to_commit().is_some_and(|bytes| bytes > 0);
        for _ in 0..5_000 {
            if !waits() && self.store.dispatch_behind_bytes() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (behind, end) = (self.store.dispatch_behind_bytes(), log.max_offset());
        panic!("{behind} bytes below {end} are never dispatched");
    }

    /// Writes the next version of a metadata file.
    pub async fn replace_table(&self, name: &'static str) {
        let version = self.knowledge.learn(|known| {
            let versions = known.tables.entry(name).or_default();
            versions.1 += 1;
            versions.1
        });
        tables::write(&*self.env.disk, name, version).await;
        self.knowledge.learn(|known| known.tables.entry(name).or_default().0 = version);
    }
}

/// Kills the process when its life is over, before its tasks are dropped with the runtime.
struct EndOfLife(Arc<SimDisk>, EpochId);

impl Drop for EndOfLife {
    fn drop(&mut self) {
        self.0.process_died(self.1);
    }
}

/// Takes an image after each micro-operation until it is stopped.
pub struct Camera<K = Known> {
    disk: Arc<SimDisk>,
    points: Arc<Mutex<Vec<Point<K>>>>,
    known: Arc<dyn Fn() -> K + Send + Sync>,
}

impl Camera {
    /// Begins with an image of what is there.
    #[must_use]
    pub fn start(disk: &Arc<SimDisk>, knowledge: &Knowledge) -> Self {
        let knowledge = knowledge.clone();
        Camera::film(disk, move || knowledge.now())
    }
}

impl<K: Send + 'static> Camera<K> {
    /// Begins with an image of what is there, and asks at each what is known.
    #[must_use]
    pub fn film(disk: &Arc<SimDisk>, known: impl Fn() -> K + Send + Sync + 'static) -> Self {
        let known: Arc<dyn Fn() -> K + Send + Sync> = Arc::new(known);
        let points = Arc::new(Mutex::new(vec![Point { image: disk.image(), known: known() }]));
        let (subject, film): (Weak<SimDisk>, _) = (Arc::downgrade(disk), Arc::clone(&points));
        let asked = Arc::clone(&known);
        disk.observe_micro_ops(Some(Arc::new(move |_, _| {
            let Some(disk) = subject.upgrade() else { return };
            let point = Point { image: disk.image(), known: asked() };
            film.lock().unwrap().push(point);
        })));
        Camera { disk: Arc::clone(disk), points, known }
    }

    /// The points, with what is known in the end as one more.
    #[must_use]
    pub fn stop(self) -> Vec<Point<K>> {
        self.disk.observe_micro_ops(None);
        let mut points = std::mem::take(&mut *self.points.lock().unwrap());
        points.push(Point { image: self.disk.image(), known: (self.known)() });
        points
    }
}

/// What counts as the number of a record that says that its topic was deleted.
pub const DELETION: u32 = u32::MAX;

/// The number that a body begins with; [`DELETION`] of none.
#[must_use]
pub fn number_of(body: &[u8]) -> u32 {
    body.first_chunk().map_or(DELETION, |number| u32::from_be_bytes(*number))
}

/// The body of a message, of a length that varies.
#[must_use]
pub fn body(number: u32) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(4 + (number as usize * 131) % 900, number as u8 | 1);
    body
}

/// Keys of a message: one of its own, and some that it shares with others.
#[must_use]
pub fn keys(number: u32) -> Vec<String> {
    let mut keys = vec![format!("k{number}"), format!("all{}", number % 3)];
    keys.extend((0..number % 4).map(|more| format!("m{number}x{more}")));
    keys
}

/// Properties of a message.
#[must_use]
pub fn properties(number: u32) -> String {
    let keys = keys(number).join(" ");
    format!("KEYS\u{1}{keys}\u{2}UNIQ_KEY\u{1}{number}\u{2}TAGS\u{1}tag{}", number % 5)
}

/// A message.
#[must_use]
pub fn message(number: u32) -> MessageInner {
    MessageInner {
        topic: "T".to_owned(),
        queue_id: number % 2,
        flag: 0,
        sys_flag: 0,
        body: body(number).into(),
        properties: properties(number),
        born_timestamp_ms: 1,
        born_host: ([10, 0, 0, 1], 1234).into(),
        store_host: ([10, 0, 0, 2], 10911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}

fn batch(numbers: std::ops::Range<u32>) -> MessageInner {
    use mq_protocol::message_codec::{BatchEntry, encode_batch_entry};
    let mut entries = Vec::new();
    for number in numbers {
        let (body, properties) = (body(number), properties(number));
        let entry = BatchEntry { flag: 0, body: &body, properties: &properties };
        encode_batch_entry(&entry, &mut entries).unwrap();
    }
    MessageInner { body: entries.into(), properties: String::new(), ..message(0) }
}
