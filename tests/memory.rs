//! How much memory the store doctor takes: windows, however large the store is. The test has the process for
//! itself, for it counts everything that is allocated.
#![expect(unsafe_code, reason = "a global allocator that counts")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use mq_env::Env;
use mq_env::probe::Probe;
use mq_store::config::StoreConfig;
use mq_store::doctor::StoreDir;
use mq_store::{MessageInner, MessageStore};
use tokio::runtime::Runtime;

/// Bytes of a body.
const BODY_BYTES: usize = 2_000;
/// What a message takes in the log.
const RECORD_BYTES: usize = BODY_BYTES + 120;
const SMALL_BYTES: usize = 8 << 20;
const LARGE_BYTES: usize = 64 << 20;
/// By so much the large store may take more, for the names of its files: a thousandth of what it is larger.
const GROWTH_MAX_BYTES: usize = 56 << 10;

#[global_allocator]
static COUNTING: Counting = Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Counts what is held, and the most that was.
struct Counting;

impl Counting {
    fn took(bytes: usize) {
        PEAK.fetch_max(HELD.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }
}

// SAFETY: everything is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::took(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::took(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Counting::took(bytes);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, bytes) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The most that was held at a time while `body` ran, beyond what was held before.
fn peak_of(body: impl FnOnce()) -> usize {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    body();
    PEAK.load(Relaxed) - before
}

fn env() -> Env {
    Env { probe: Probe::silent(), ..Env::os() }
}

/// A closed store with so much log in one file, in four queues, each message with a key.
fn write_store(runtime: &Runtime, root: &Path, log_bytes: usize) {
    runtime.block_on(async {
        let mut config = StoreConfig::at(root).on_any_disk();
        config.mapped_file_size_commit_log = log_bytes;
        config.mapped_file_size_consume_queue = 20_000;
        (config.max_hash_slot_num, config.max_index_num) = (1_000, 1_000);
        let store = MessageStore::open(env(), Arc::new(config)).await.unwrap();
        for number in 0..log_bytes / RECORD_BYTES {
            let message = MessageInner {
                topic: "T".to_owned(),
                queue_id: number as u32 % 4,
                flag: 0,
                sys_flag: 0,
                body: vec![number as u8; BODY_BYTES].into(),
                properties: format!("KEYS\u{1}k{number}"),
                born_timestamp_ms: 1,
                born_host: ([127, 0, 0, 1], 1_000).into(),
                store_host: ([127, 0, 0, 1], 10_911).into(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                wait_store_ok: true,
            };
            assert!(store.put_message(&message).await.append.is_some());
        }
        store.shutdown().await;
    });
}

/// What each of the doctor's works takes at its peak.
fn peaks(runtime: &Runtime, dir: &Path, log_bytes: usize) -> [(&'static str, usize); 4] {
    let root = dir.join(format!("store-{log_bytes}"));
    write_store(runtime, &root, log_bytes);
    let store = || {
        let store = StoreDir::open(env().disk, &root, None).unwrap();
        assert!(store.log_bytes().unwrap() >= log_bytes as u64);
        store
    };
    let quiet = &mut |_| {};
    let dump = peak_of(|| {
        let mut files = |_: &str| Ok(Box::new(io::sink()) as Box<dyn Write>);
        store().dump(&mut files, quiet).unwrap();
    });
    let list = peak_of(|| store().list(&mut io::sink(), quiet).unwrap());
    let verify = peak_of(|| {
        let verdict = store().verify(quiet).unwrap();
        assert!(verdict.is_sound(), "{:?}", verdict.findings);
        assert_eq!(verdict.kept, (log_bytes / RECORD_BYTES) as u64);
    });
    let recover = peak_of(|| {
        let copy = dir.join(format!("copy-{log_bytes}"));
        let recovered = async { store().recover(env(), &copy, false, quiet).await };
        runtime.block_on(recovered).unwrap();
    });
    [("dump", dump), ("list", list), ("verify", verify), ("recover", recover)]
}

#[test]
fn the_doctor_takes_no_more_memory_for_a_larger_store() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let [small, large] = [SMALL_BYTES, LARGE_BYTES].map(|bytes| peaks(&runtime, dir.path(), bytes));
    for ((name, small), (_, large)) in small.into_iter().zip(large) {
        println!("{name}: {small} bytes for {SMALL_BYTES} of log, {large} for {LARGE_BYTES}");
        let growth = large.saturating_sub(small);
        assert!(growth < GROWTH_MAX_BYTES, "{name} takes {growth} bytes more");
    }
}
