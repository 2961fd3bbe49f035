//! How fast a large store is examined, recovered and looked up, beside the limit: reading its bytes and
//! doing nothing with them. `cargo bench -p mq-store --bench doctor`; 64 MiB of log, or as many as
//! `STORE_MIB` says (`STORE_MIB=1024` for a gibibyte).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use mq_env::Env;
use mq_env::probe::Probe;
use mq_store::config::StoreConfig;
use mq_store::doctor::{DoctorError, StoreDir};
use mq_store::{MessageInner, MessageStore};

/// What a message of 1 KiB takes in the log.
const RECORD_BYTES: u64 = 1_190;
/// How much is read at once.
const READ_AT_ONCE_BYTES: usize = 4 << 20;

fn main() {
    divan::main();
    // Statics are not dropped.
    let dir = DIR.lock().expect("nobody panicked").take();
    drop(dir);
}

/// What holds the store.
static DIR: Mutex<Option<tempfile::TempDir>> = Mutex::new(None);

/// The store that is examined.
struct Large {
    root: PathBuf,
    runtime: tokio::runtime::Runtime,
    messages: u32,
    /// Where each message starts.
    phy_offsets: Vec<u64>,
    log_end: u64,
    /// Bytes of all its files.
    bytes: u64,
}

static STORE: LazyLock<Large> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("store");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let messages = (log_mib() * (1 << 20) / RECORD_BYTES) as u32;
    let mut phy_offsets = Vec::new();
    let log_end = runtime.block_on(async {
        let store = MessageStore::open(env(), Arc::new(config(&root))).await.expect("a store");
        for number in 0..messages {
            let put = store.put_message(&message(number)).await;
            phy_offsets.push(put.append.expect("a message that is stored").phy_offset);
            while number.is_multiple_of(1024) && store.dispatch_behind_bytes() > 64 << 20 {
                tokio::task::yield_now().await;
            }
        }
        let log_end = store.commit_log().max_offset();
        store.shutdown().await;
        log_end
    });
    let bytes = {
        let _entered = runtime.enter();
        read_plainly(&root)
    };
    *DIR.lock().expect("nobody panicked") = Some(dir);
    Large { root, runtime, messages, phy_offsets, log_end, bytes }
});

#[expect(clippy::disallowed_methods, reason = "a benchmark has no other arguments")]
fn log_mib() -> u64 {
    std::env::var("STORE_MIB").map_or(64, |mib| mib.parse().expect("a number of mebibytes"))
}

/// Reads every file below `dir`; returns how many bytes.
fn read_plainly(dir: &Path) -> u64 {
    let disk = env().disk;
    let mut bytes = 0;
    for entry in disk.list(dir).expect("a directory") {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            bytes += read_plainly(&path);
            continue;
        }
        let mut at = 0;
        while at < entry.len {
            let read = disk.read_at(&path, at, READ_AT_ONCE_BYTES).expect("it can be read");
            at += black_box(&read).len() as u64;
        }
        bytes += at;
    }
    bytes
}

fn env() -> Env {
    Env { probe: Probe::silent(), ..Env::os() }
}

fn config(root: &Path) -> StoreConfig {
    let mut config = StoreConfig::at(root).on_any_disk();
    config.mapped_file_size_commit_log = 16 << 20;
    (config.max_hash_slot_num, config.max_index_num) = (100_000, 400_000);
    config
}

fn message(number: u32) -> MessageInner {
    MessageInner {
        topic: "BenchTopic".to_owned(),
        queue_id: number % 8,
        flag: 0,
        sys_flag: 0,
        body: vec![number as u8; 1024].into(),
        properties: format!(
            "KEYS\u{1}k{number}\u{2}UNIQ_KEY\u{1}7F000001111E124E0E2F2A68{number:08X}"
        ),
        born_timestamp_ms: 1,
        born_host: ([127, 0, 0, 1], 1000).into(),
        store_host: ([127, 0, 0, 1], 10_911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        wait_store_ok: false,
    }
}

fn examine(body: impl Fn(&StoreDir)) -> impl Fn() {
    move || {
        let _entered = STORE.runtime.enter();
        let dir = StoreDir::open(env().disk, &STORE.root, None).expect("a store");
        body(&dir);
    }
}

/// The limit of all others.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn a_plain_read(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(STORE.bytes)).bench_local(|| {
        let _entered = STORE.runtime.enter();
        read_plainly(&STORE.root)
    });
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn verify(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(STORE.bytes)).bench_local(examine(|dir| {
        let verdict = dir.verify(&mut |_| {}).expect("it can be read");
        assert!(verdict.is_sound() && verdict.kept == u64::from(STORE.messages), "{verdict:?}");
    }));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn dump(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(STORE.bytes)).bench_local(examine(|dir| {
        let mut sink =
            |_: &str| -> Result<Box<dyn Write>, DoctorError> { Ok(Box::new(std::io::sink())) };
        dir.dump(&mut sink, &mut |_| {}).expect("it can be read");
    }));
}

/// A start that has to walk, index and dispatch everything, and its end, which syncs it: a store without
/// marks, not closed in order. The bytes are the log's alone.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn recover_everything(bencher: Bencher<'_, '_>) {
    let large = &*STORE;
    bencher
        .with_inputs(|| {
            let _entered = large.runtime.enter();
            let disk = env().disk;
            for file in ["durable", "checkpoint"] {
                let _ = disk.remove(&large.root.join(file));
            }
            disk.write(&large.root.join("abort"), b"").expect("the store is ours");
        })
        .counter(BytesCount::new(large.log_end))
        .bench_local_values(|()| {
            large.runtime.block_on(async {
                let config = Arc::new(config(&large.root));
                let store = MessageStore::open(env(), config).await.expect("a store");
                assert_eq!(store.commit_log().max_offset(), large.log_end);
                store.shutdown().await;
            });
        });
}

/// One message of many, by its key.
#[divan::bench(sample_count = 20, sample_size = 1000)]
fn query_by_key(bencher: Bencher<'_, '_>) {
    look_up(bencher, |store, number| {
        let key = format!("k{number}");
        // Only hashes are kept: another key's message may come with it.
        let found = store.query_message("BenchTopic", &key, 32, 0, i64::MAX);
        assert!(!found.messages.is_empty(), "{key}");
    });
}

/// The limit of `query_by_key`: the message's place is known.
#[divan::bench(sample_count = 20, sample_size = 1000)]
fn look_message_by_offset(bencher: Bencher<'_, '_>) {
    look_up(bencher, |store, number| {
        let phy_offset = STORE.phy_offsets[number as usize];
        assert!(black_box(store.look_message_by_offset(phy_offset)).is_some());
    });
}

/// Has `find` find messages of the whole store, one after another, in no order.
fn look_up(bencher: Bencher<'_, '_>, find: impl Fn(&MessageStore, u32)) {
    let large = &*STORE;
    let store = large.runtime.block_on(async {
        MessageStore::open(env(), Arc::new(config(&large.root))).await.expect("a store")
    });
    let mut number = 0_u32;
    bencher.bench_local(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The low bits of such a sequence repeat early.
        find(&store, (number >> 8) % large.messages);
    });
    large.runtime.block_on(store.shutdown());
}
