//! How fast a gigabyte is examined, recovered and looked up: `cargo bench -p mq-store --bench doctor`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use mq_env::Env;
use mq_env::probe::Probe;
use mq_store::config::StoreConfig;
use mq_store::doctor::{DoctorError, StoreDir};
use mq_store::{MessageInner, MessageStore};

/// Messages of 1 KiB; with their heads a little more than 1 GiB in all.
const MESSAGES: u32 = 920_000;

fn main() {
    divan::main();
}

struct Gigabyte {
    _dir: tempfile::TempDir,
    root: PathBuf,
    runtime: tokio::runtime::Runtime,
    log_bytes: u64,
}

static STORE: LazyLock<Gigabyte> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("store");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let log_bytes = runtime.block_on(async {
        let store = MessageStore::open(env(), Arc::new(config(&root))).await.expect("a store");
        for number in 0..MESSAGES {
            let put = store.put_message(&message(number));
            if number.is_multiple_of(1024) {
                put.await;
                while store.dispatch_behind_bytes() > 64 << 20 {
                    tokio::task::yield_now().await;
                }
            }
        }
        let log_bytes = store.commit_log().max_offset();
        store.shutdown().await;
        log_bytes
    });
    Gigabyte { _dir: dir, root, runtime, log_bytes }
});

fn env() -> Env {
    Env { probe: Probe::silent(), ..Env::os() }
}

fn config(root: &std::path::Path) -> StoreConfig {
    let mut config = StoreConfig::at(root);
    config.mapped_file_size_commit_log = 256 << 20;
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

#[divan::bench(sample_count = 3, sample_size = 1)]
fn verify(bencher: Bencher<'_, '_>) {
    let bytes = BytesCount::new(STORE.log_bytes);
    bencher.counter(bytes).bench_local(examine(|dir| {
        let verdict = dir.verify(&mut |_| {}).expect("it can be read");
        assert!(verdict.is_sound() && verdict.kept == u64::from(MESSAGES), "{verdict:?}");
    }));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn dump(bencher: Bencher<'_, '_>) {
    let bytes = BytesCount::new(STORE.log_bytes);
    bencher.counter(bytes).bench_local(examine(|dir| {
        let mut sink =
            |_: &str| -> Result<Box<dyn Write>, DoctorError> { Ok(Box::new(std::io::sink())) };
        dir.dump(&mut sink, &mut |_| {}).expect("it can be read");
    }));
}

/// A start that has to walk, index and dispatch everything: a store without marks, not closed in order.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn recover_everything(bencher: Bencher<'_, '_>) {
    let bytes = BytesCount::new(STORE.log_bytes);
    let gigabyte = &*STORE;
    bencher
        .with_inputs(|| {
            let _entered = gigabyte.runtime.enter();
            let disk = env().disk;
            for file in ["durable", "checkpoint"] {
                let _ = disk.remove(&gigabyte.root.join(file));
            }
            disk.write(&gigabyte.root.join("abort"), b"").expect("the store is ours");
        })
        .counter(bytes)
        .bench_local_values(|()| {
            gigabyte.runtime.block_on(async {
                let config = Arc::new(config(&gigabyte.root));
                let store = MessageStore::open(env(), config).await.expect("a store");
                assert_eq!(store.commit_log().max_offset(), gigabyte.log_bytes);
                store.shutdown().await;
            });
        });
}

#[divan::bench(sample_count = 20, sample_size = 1000)]
fn query_by_key(bencher: Bencher<'_, '_>) {
    let gigabyte = &*STORE;
    let store = gigabyte.runtime.block_on(async {
        MessageStore::open(env(), Arc::new(config(&gigabyte.root))).await.expect("a store")
    });
    let mut number = 0_u32;
    bencher.bench_local(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = format!("k{}", number % MESSAGES);
        black_box(store.query_message("BenchTopic", &key, 32, 0, i64::MAX).messages.len())
    });
    gigabyte.runtime.block_on(store.shutdown());
}
