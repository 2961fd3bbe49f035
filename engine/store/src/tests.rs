//! The store as a whole, on files of the operating system; syncs are counted, held back and made to
//! fail by a disk in between.

mod ahead;
mod damage;
mod flush;
mod get;
mod index;
mod put;
mod record_bytes;
mod recover;
mod replica;
mod roles;
mod small_parts;
mod transient_pool;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mq_env::clock::Clock;
use mq_env::disk::{Disk, DiskLayer, DiskSpace, MappedRegion, not_attempted};
use mq_env::probe::{Event, Observer, Probe};
use mq_env::watched::Watched;
use mq_env::{BoxFuture, Env};
use mq_protocol::message_codec::decode_record;

use crate::config::StoreConfig;
use crate::sync::lock;
use crate::{MessageFilter, MessageInner, MessageStore, PutMessageResult, StoreError};

/// Size of a CommitLog file here: syncs are told apart by the size of their region.
const LOG_FILE: usize = 8 << 10;
/// A hundred units.
const QUEUE_FILE: usize = 2000;

/// A clock that stands still: milliseconds, and seconds of its zone east of UTC.
pub(crate) struct At(pub(crate) u64, pub(crate) i32);

impl Clock for At {
    fn now_millis(&self) -> u64 {
        self.0
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        self.1
    }
}

/// A machine on which a store can be opened again and again.
struct Machine {
    dir: tempfile::TempDir,
    disk: Arc<TestDisk>,
    clock: Arc<TestClock>,
    observer: Arc<Recorder>,
    config: StoreConfig,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::at(dir.path().join("store"));
        config.mapped_file_size_commit_log = LOG_FILE;
        config.mapped_file_size_consume_queue = QUEUE_FILE;
        (config.max_hash_slot_num, config.max_index_num) = (50, 100);
        Machine {
            disk: Arc::new(TestDisk::new(Env::os().disk)),
            dir,
            clock: Arc::new(TestClock(AtomicU64::new(1_700_000_000_000))),
            observer: Arc::default(),
            config,
        }
    }

    fn with(change: impl FnOnce(&mut StoreConfig)) -> Self {
        let mut machine = Machine::new();
        change(&mut machine.config);
        machine
    }

    async fn try_open(&self) -> Result<Arc<MessageStore>, StoreError> {
        let env = Env {
            disk: Arc::clone(&self.disk) as Arc<dyn Disk>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            probe: Probe::to(Arc::clone(&self.observer) as Arc<dyn Observer>),
            ..Env::os()
        };
        MessageStore::open(env, Arc::new(self.config.clone())).await
    }

    async fn open(&self) -> Arc<MessageStore> {
        self.try_open().await.unwrap()
    }

    /// Ends the store as a kill does: files stay as they are, the tasks go.
    async fn kill(&self, store: Arc<MessageStore>) {
        store.tasks.shutdown().await;
        assert_eq!(Arc::strong_count(&store), 1);
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn log_file(&self, from: u64) -> PathBuf {
        self.root().join(format!("commitlog/{from:020}"))
    }

    fn queue_file(&self, topic: &str, queue_id: u32, from: u64) -> PathBuf {
        self.root().join(format!("consumequeue/{topic}/{queue_id}/{from:020}"))
    }

    /// A directory for what a store gives up.
    fn aside(&self) -> PathBuf {
        let aside = self.root().join("aside");
        self.disk.create_dir_all(&aside).unwrap();
        aside
    }

    /// Changes a file behind the store's back.
    fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = self.disk.read(path).unwrap();
        change(&mut content);
        self.disk.write(path, &content).unwrap();
    }

    fn events(&self) -> Vec<String> {
        lock(&self.observer.0).clone()
    }

    fn saw(&self, part: &str) -> bool {
        self.events().iter().any(|event| event.contains(part))
    }
}

/// A message of topic T, queue 0, with this body.
fn message(body: &[u8]) -> MessageInner {
    MessageInner {
        topic: "T".to_owned(),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        body: Bytes::copy_from_slice(body),
        properties: String::new(),
        born_timestamp_ms: 1_600_000_000_000,
        born_host: "10.0.0.1:1234".parse().unwrap(),
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: true,
    }
}

/// Length of the record of `message(body)`.
fn record_len(body_len: usize) -> u64 {
    91 + 1 + body_len as u64
}

async fn put(store: &MessageStore, body: &[u8]) -> PutMessageResult {
    store.put_message(&message(body)).await
}

/// Puts messages `range` with their numbers as bodies, padded to 100 bytes.
async fn put_numbers(store: &MessageStore, range: Range<u32>) {
    for number in range {
        let result = put(store, &numbered(number)).await;
        assert!(result.append.is_some(), "{result:?}");
    }
}

fn numbered(number: u32) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(100, 7);
    body
}

/// Every number that a consumer of T-0 reads from the minimum on.
fn read_numbers(store: &MessageStore) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut offset = store.min_offset_in_queue("T", 0);
    loop {
        let result = store.get_message("T", 0, offset, 32, &MessageFilter::All);
        if result.next_begin_offset == offset {
            return numbers;
        }
        for record in &result.messages {
            let record = decode_record(record).unwrap();
            assert_eq!(record.queue_offset() as u64, offset);
            let (number, _) = record.body().split_first_chunk().unwrap();
            numbers.push(u32::from_be_bytes(*number));
            offset += 1;
        }
        assert_eq!(result.next_begin_offset, offset);
    }
}

/// Lets the services run until `done`; fails after a while.
async fn until(done: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("did not come true");
}

async fn until_dispatched(store: &MessageStore) {
    until(|| store.dispatch_behind_bytes() == 0).await;
}

/// A clock that is set by hand.
struct TestClock(AtomicU64);

impl TestClock {
    fn advance(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        0
    }
}

/// Writes events down.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn event(&self, event: &Event<'_>) {
        lock(&self.0).push(format!("{event:?}"));
    }
}

/// The operating system's disk with syncs that cost nothing, can be held back and can fail.
struct TestDisk {
    os: Arc<dyn Disk>,
    flushes: Mutex<Vec<(usize, Range<usize>)>>,
    failing: Mutex<BTreeSet<usize>>,
    held: Watched<Option<usize>>,
    /// Syncs by name that were begun.
    syncs: Mutex<Vec<PathBuf>>,
    failing_sync: Mutex<Option<PathBuf>>,
    held_sync: Watched<Option<PathBuf>>,
    /// No name can be opened to be synced.
    has_no_descriptor: AtomicBool,
    /// No CommitLog file is made, and how often.
    is_full: AtomicBool,
    refused: AtomicU64,
    /// Used share of the disk, percent: the machine that runs the tests has its own.
    used_percent: AtomicU64,
}

impl TestDisk {
    fn new(os: Arc<dyn Disk>) -> Self {
        TestDisk {
            os,
            flushes: Mutex::default(),
            failing: Mutex::default(),
            held: Watched::new(None),
            syncs: Mutex::default(),
            failing_sync: Mutex::default(),
            held_sync: Watched::new(None),
            has_no_descriptor: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            used_percent: AtomicU64::new(10),
        }
    }

    /// The next sync of a region of `len` bytes fails.
    fn fail_next_flush(&self, len: usize) {
        lock(&self.failing).insert(len);
    }

    /// Syncs of regions of `len` bytes wait until [`TestDisk::release`].
    fn hold(&self, len: usize) {
        self.held.set(Some(len));
    }

    fn release(&self) {
        self.held.set(None);
        self.held_sync.set(None);
    }

    /// The next sync of `path` fails.
    fn fail_next_sync(&self, path: &Path) {
        *lock(&self.failing_sync) = Some(path.to_path_buf());
    }

    /// Syncs of `path` wait until [`TestDisk::release`].
    fn hold_sync(&self, path: &Path) {
        self.held_sync.set(Some(path.to_path_buf()));
    }

    /// How many syncs of `path` were begun.
    fn sync_count(&self, path: &Path) -> usize {
        lock(&self.syncs).iter().filter(|synced| *synced == path).count()
    }

    /// How many syncs of regions of `len` bytes were begun.
    fn flush_count(&self, len: usize) -> usize {
        lock(&self.flushes).iter().filter(|(region, _)| *region == len).count()
    }
}

impl DiskLayer for TestDisk {
    fn below(&self) -> &dyn Disk {
        &*self.os
    }

    fn flush<'a>(
        &'a self,
        region: &'a MappedRegion,
        range: Range<usize>,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let len = region.len();
            lock(&self.flushes).push((len, range));
            self.held.wait_for(|held| *held != Some(len)).await;
            if lock(&self.failing).remove(&len) {
                return Err(io::Error::from_raw_os_error(5));
            }
            Ok(())
        })
    }

    fn map(&self, path: &Path, len: usize) -> io::Result<MappedRegion> {
        if len == LOG_FILE && self.is_full.load(Ordering::Relaxed) && self.os.stat(path).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.os.write(path, &[])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.os.map(path, len)
    }

    fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        lock(&self.syncs).push(path.to_path_buf());
        Box::pin(async move {
            self.held_sync.wait_for(|held| held.as_deref() != Some(path)).await;
            let fails = lock(&self.failing_sync).take_if(|failing| failing == path).is_some();
            if self.has_no_descriptor.load(Ordering::Relaxed) {
                return Err(not_attempted(io::Error::from_raw_os_error(24)));
            }
            if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        })
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let free = 100 - self.used_percent.load(Ordering::Relaxed);
        self.os.space(dir).map(|_| DiskSpace { total_bytes: 100, free_bytes: free })
    }
}
